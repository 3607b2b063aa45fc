"""A study is complete only by evidence: holders whose counts and lists are not true, on sockets."""

import json

import pytest

from s4s_notebook.connection.completeness import lower_bound
from s4s_notebook.errors import HTTPStatusError, Incomplete, IntegrityError, NotFound
from s4s_notebook.store import Store
from tests.store import dicom

from .holder import Holder
from .test_download import UID, contents, folder_of, many


@pytest.fixture
def twelve(holder):
    """A study of twelve instances whose first transfer is cut after seven."""
    holder.studies[UID] = dicom.study_of(12, size=3000)
    holder.cut_after = 7
    return holder


def problems(me):
    return " ".join(map(str, me.problems().to_numpy().ravel()))


@pytest.mark.fault("J01")
@pytest.mark.parametrize("pieces", [True, False], ids=["pieces", "no pieces"])
@pytest.mark.parametrize("limit", [1, 7, 11, 12])
@pytest.mark.parametrize("kind", ["pages", "silent pages", "first page only"])
def test_a_limited_list_and_no_count_never_end_short(twelve, connect, kind, limit, pieces):
    twelve.announces, twelve.offers_pieces = False, pieces
    twelve.list_limit, twelve.list_warns = limit, kind == "pages"
    twelve.list_offset = kind != "first page only"
    me = connect()
    assert contents(me.download(UID).result().paths) == twelve.studies[UID]
    endless = kind == "first page only"
    assert folder_of(me).evidence == ("transfer" if endless else "list")
    if pieces and not endless:
        assert set(twelve.sent.values()) == {1}
    before = len(twelve.requests)
    me.download(UID).result()
    assert len(twelve.requests) == before


@pytest.mark.fault("J01")
def test_no_list_and_no_count_need_the_complete_transfer(twelve, connect):
    twelve.announces = twelve.offers_qidotoo = False
    me = connect()
    assert len(me.download(UID).result().paths) == 12
    assert folder_of(me).evidence == "transfer"


@pytest.mark.fault("J01", "J02")
def test_a_cut_that_never_heals_is_never_complete(twelve, connect):
    twelve.announce = {UID: 7}
    twelve.offers_pieces = twelve.offers_qidotoo = False
    me = connect()
    twelve.reset_share = 1.0
    twelve.cut_after = None
    twelve.chance.random = iter([0.9 + 0.2 * (n < 7) for n in range(999)]).__next__
    with pytest.raises(IntegrityError):
        me.download(UID).result()
    assert not folder_of(me).complete()


@pytest.mark.fault("J02")
@pytest.mark.parametrize("pieces", [True, False], ids=["pieces", "no pieces"])
def test_a_study_that_grew_since_its_download_is_downloaded_again(holder, connect, pieces):
    whole = dicom.study_of(12, size=3000)
    holder.studies[UID] = dict([*whole.items()][:9])
    holder.offers_pieces, holder.announce = pieces, {UID: 9}
    me = connect()
    assert len(me.download(UID).result().paths) == 9
    holder.studies[UID], holder.announce = whole, {UID: 12}
    before = len(holder.requests)
    me.download(UID).result()  # nothing says yet that it grew
    assert len(holder.requests) == before
    me.update()
    assert contents(me.download(UID).result().paths) == whole


@pytest.mark.fault("J02")
@pytest.mark.parametrize("pieces", [True, False], ids=["pieces", "no pieces"])
@pytest.mark.parametrize("count", [1, 7, 11])
def test_a_stale_count_is_a_lower_bound(twelve, connect, count, pieces):
    twelve.announce, twelve.offers_pieces = {UID: count}, pieces
    twelve.list_limit = 5
    me = connect()
    assert contents(me.download(UID).result().paths) == twelve.studies[UID]
    assert "the holder has 12 instances; all of them are stored" in problems(me)
    assert folder_of(me).complete()


@pytest.mark.fault("J03")
@pytest.mark.parametrize("count", [None, 6, 12])
@pytest.mark.parametrize("qido", [True, False])
def test_a_study_that_lists_one_series_of_two(twelve, connect, monkeypatch, count, qido):
    twelve.lists_instances, twelve.offers_qidotoo = True, qido
    full = twelve.study_resource

    def partial(uid):
        resource = full(uid) | {"numberOfInstances": count}
        return resource | {"series": resource["series"][:1]}

    monkeypatch.setattr(twelve, "study_resource", partial)
    assert contents(connect().download(UID).result().paths) == twelve.studies[UID]


@pytest.mark.fault("J03")
def test_a_listed_series_that_does_not_come_is_incomplete(holder, connect, monkeypatch):
    full = holder.study_resource
    other = {"uid": f"{UID}.9", "numberOfInstances": 2}
    monkeypatch.setattr(
        holder,
        "study_resource",
        lambda uid: full(uid) | {"series": [other], "numberOfInstances": 2},
    )
    with pytest.raises(Incomplete, match="nothing shows"):
        connect().download(UID).result()


def test_lower_bounds_of_studies():
    series = {"uid": "1.2.1", "numberOfInstances": 3, "instance": [{"uid": "1.2.1.1"}]}
    bound = lower_bound({"numberOfInstances": 2, "series": [series, {"uid": "1.2.2"}, {}]})
    assert (bound.count, len(bound.instances), bound.series) == (3, 1, {"1.2.1"})
    assert lower_bound({"numberOfInstances": True}).count is None


@pytest.mark.fault("J09")
@pytest.mark.parametrize("percent", [95, 60, 50])
@pytest.mark.parametrize("count", [True, False])
def test_an_instance_that_was_cut_before_it_was_sent(holder, connect, percent, count):
    """The multipart closes in order and states no length."""
    holder.announces, holder.lengths = count, False
    sop = sorted(holder.studies[UID])[2]
    good = holder.studies[UID][sop]
    holder.replace = {sop: good[: len(good) * percent // 100]}
    me = connect()
    with pytest.raises(IntegrityError, match=r"instances end too early.*; 5 "):
        me.download(UID).result()
    assert not folder_of(me).complete()
    assert sop not in folder_of(me).instances()
    assert len(list((me.store.root / "quarantine").rglob("*.truncated"))) == 1
    assert "set aside: truncated" in problems(me)
    holder.replace, sent = {}, dict(holder.sent)
    assert contents(me.download(UID).result().paths) == holder.studies[UID]
    assert dict(holder.sent) == sent | {sop: 2}


@pytest.mark.parametrize("count", [True, False])
def test_a_foreign_part_leaves_a_study_completable(holder, connect, count):
    holder.announces = count
    holder.foreign = [(b"text/plain", b"sent by gateway 7")]
    me = connect()
    assert contents(me.download(UID).result().paths) == holder.studies[UID]
    assert folder_of(me).complete()
    assert "set aside: foreign" in problems(me)


@pytest.fixture
def archives(holder, monkeypatch):
    """A study of which two archives have a series each, each with an ImagingStudy."""
    first, second = (f"{UID}.{number}" for number in (1, 2))
    full, files = holder.study_resource, holder.studies[UID]
    holder.lists_instances, holder.announces = True, False

    def resource(uid, series, address):
        copy = json.loads(json.dumps(full(uid)).replace(f"{holder.root}/wado", address))
        return copy | {
            "id": f"study-{series}",
            "series": [each for each in copy.get("series", []) if each["uid"].endswith(series)],
        }

    with Holder() as other:
        other.studies[UID] = {sop: data for sop, data in files.items() if sop.startswith(second)}
        holder.studies[UID] = {sop: data for sop, data in files.items() if sop.startswith(first)}
        holder.other, holder.all = other, files

        def resources(kind, query):
            if kind != "ImagingStudy":
                return []
            whole = [resource(UID, first, f"{holder.root}/wado")]
            holder.studies[UID], kept = other.studies[UID], holder.studies[UID]
            whole.append(resource(UID, second, f"{other.root}/wado"))
            holder.studies[UID] = kept
            return whole if not holder.reverse else whole[::-1]

        holder.reverse = False
        monkeypatch.setattr(holder, "resources", resources)
        yield holder


@pytest.mark.fault("J10")
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lists", [True, False])
def test_both_archives_of_a_study_give_their_series(archives, connect, reverse, lists):
    archives.reverse, archives.lists_instances = reverse, True
    if not lists:
        archives.lists_instances = False
    me = connect(allow_origins=[archives.other.root])
    assert contents(me.download(UID).result().paths) == archives.all
    assert set(archives.sent.values()) == set(archives.other.sent.values()) == {1}
    assert folder_of(me).complete()


@pytest.mark.fault("J10")
@pytest.mark.parametrize("reverse", [False, True])
def test_a_study_is_not_complete_while_one_archive_is_away(archives, connect, reverse):
    archives.reverse = reverse
    archives.other.fail["/wado/"] = [500] * 3
    me = connect(allow_origins=[archives.other.root])
    with pytest.raises(HTTPStatusError):
        me.download(UID).result()
    assert len(folder_of(me).instances()) == 3
    assert not folder_of(me).complete()
    archives.other.fail.clear()
    assert contents(me.download(UID).result().paths) == archives.all
    assert set(archives.sent.values()) == {1}


@pytest.mark.fault("J10")
def test_a_correction_at_the_same_archive_is_requested_once(holder, connect, monkeypatch):
    full = holder.resources
    monkeypatch.setattr(
        holder,
        "resources",
        lambda kind, query: [
            resource | {"id": f"{resource['id']}-{copy}"}
            for resource in full(kind, query)
            for copy in (1, 2)
        ],
    )
    me = connect()
    assert contents(me.download(UID).result().paths) == holder.studies[UID]
    assert len(holder.asked("/wado/")) == 1


@pytest.mark.fault("J08")
def test_a_study_of_somebody_else_is_not_downloaded(holder, connect, monkeypatch):
    full = holder.study_resource
    owner = {"reference": "Patient/somebody-else"}
    me = connect()
    monkeypatch.setattr(holder, "study_resource", lambda uid: full(uid) | {"patient": owner})
    with pytest.raises(NotFound):
        me.download(UID).result()
    assert not holder.asked("/wado/")
    assert not list(me.store.root.rglob("*.dcm"))


@pytest.mark.fault("J08")
def test_another_dicom_patient_in_the_next_study_is_reported(holder, connect):
    many(holder, 3)
    files = holder.studies["1.2.3.3"]
    for sop in files:
        series = sop.rpartition(".")[0]
        files[sop] = dicom.make(sop, study="1.2.3.3", series=series, patient="OTHER")
    me = connect()
    me.download(UID).result()
    me.download("1.2.3.2").result()
    assert "PatientID" not in problems(me)
    me.download("1.2.3.3").result()
    rows = me.problems().query("path == 'PatientID'")
    assert rows["resource"].tolist() == ["ImagingStudy/1.2.3.3"]
    assert "OTHER" not in problems(me)


@pytest.fixture
def old(holder, connect, store):
    """A store in which version 0.1 recorded five of six instances as complete."""
    holder.drop = {sorted(holder.studies[UID])[0]}
    holder.announces = False
    connect().download(UID).result()
    holder.drop = set()
    participant = store.participant(holder.fhir, "p1")

    def without_evidence(record):
        return {name: value for name, value in record.items() if name != "evidence"}

    participant.rewrite(without_evidence)
    assert (folder_of(connect()).complete(), folder_of(connect()).evidence) == (True, "")
    return holder


def test_a_study_of_0_1_is_held_against_the_list(old, connect):
    me = connect()
    sent = dict(old.sent)
    assert len(me.download(UID).result().paths) == 6
    assert folder_of(me).evidence == "list"
    assert dict(old.sent) == sent | {sorted(old.studies[UID])[0]: 1}


@pytest.mark.parametrize("how", ["no list", "a list without an end"])
def test_a_study_of_0_1_stands_where_there_is_no_list(old, connect, how):
    old.offers_qidotoo, old.list_offset = how != "no list", False
    old.list_limit = 3
    me = connect()
    sent = dict(old.sent)
    assert len(me.download(UID).result().paths) == 5
    assert dict(old.sent) == sent
    assert "recorded by version 0.1" in problems(me)


def test_the_evidence_is_in_the_journal(holder, connect, tmp_path):
    me = connect()
    me.download(UID).result()
    [record] = me.participant.folder.path.glob("record.ndjson")
    lines = map(json.loads, record.read_text().splitlines())
    assert [line["evidence"] for line in lines if line["t"] == "study"] == ["transfer"]
    root = me.store.root
    me.store.close()
    (root / "index.sqlite").unlink()
    with Store(root) as again:
        study = again.study(again.participant(holder.fhir, "p1"), UID)
        assert (study.complete(), study.evidence) == (True, "transfer")
