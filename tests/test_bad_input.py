"""Bad input, end to end: its own error, the request, the next step, and nothing half-written."""

from __future__ import annotations

import re
import socket

import pandas as pd
import pytest

import s4s_notebook as s4s
from s4s_notebook.http.retry import WaitPolicy
from tests.connection.holder import Holder
from tests.faultserver import FaultServer, scripts
from tests.store import dicom

QUICK = WaitPolicy(floor=0.01, first=0.01, jitter=0.0, tries=2)
CALLBACK = "http://127.0.0.1:1/callback"


@pytest.fixture(scope="module")
def sandbox():
    with s4s.Sandbox(retry_after=0.1) as sandbox:
        yield sandbox


@pytest.fixture
def store(tmp_path):
    with s4s.Store(tmp_path / "store") as store:
        yield store


@pytest.fixture
def web():
    """Serve one page for everything: what a wrong address gives."""
    pages = {"status": 200, "type": "text/html", "body": b"<!doctype html><title>Portal</title>"}

    def send(talk):
        answer = scripts.reply(pages["status"], pages["body"], Content_Type=pages["type"])
        answer(talk)

    with FaultServer().on("*", send) as server:
        yield server.origin, pages


def explains(error: s4s.S4SError) -> None:
    """The error names the request and the next step."""
    assert error.request is not None
    assert re.match(r"(GET|POST) http://127\.0\.0\.1:\d+/", str(error.request))
    assert error.hint


def no_file(store: s4s.Store) -> bool:
    """Nothing that could be taken for a downloaded image, whole or half."""
    return not [path for path in store.root.rglob("*") if ".dcm" in path.name]


def test_a_wrong_url(web, store):
    url, pages = web
    pages["status"] = 404
    with pytest.raises(s4s.DiscoveryError) as caught:
        s4s.connect(url, store=store, waits=QUICK)
    explains(caught.value)


def test_a_web_page_is_no_holder(web, store):
    with pytest.raises(s4s.DiscoveryError) as caught:
        s4s.connect(web[0], store=store, waits=QUICK)
    explains(caught.value)


def test_no_discovery_but_a_token_or_an_open_holder(store):
    with Holder() as holder:
        holder.token = None
        with s4s.connect(holder.fhir, patient="p1", store=store, waits=QUICK) as me:
            assert len(me.studies()) == 1


def test_a_holder_that_is_down(store):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(s4s.HolderUnavailable) as caught:
        s4s.connect(f"http://127.0.0.1:{port}/fhir", store=store, waits=QUICK)
    explains(caught.value)


def new(sandbox, store, **options):
    return s4s.Connection(sandbox.fhir_url, redirect_uri=CALLBACK, store=store, **options)


def test_a_declined_approval_then_an_approved_one(sandbox, store):
    with new(sandbox, store) as me:
        answer = sandbox.approve(me.authorize_url(), decline=True)
        with pytest.raises(s4s.AccessDenied) as caught:
            me.finish(answer)
        assert caught.value.hint
        assert me.status == "declined"
        me.finish(sandbox.approve(me.authorize_url()))
        assert len(me.patient()) == 1


def test_a_wrong_code_and_a_reused_one(sandbox, store):
    with new(sandbox, store) as me:
        answer = sandbox.approve(me.authorize_url())
        with pytest.raises(s4s.TokenRefused) as caught:
            me.finish(re.sub(r"code=[^&]+", "code=wrong", answer))
        explains(caught.value)
        me.finish(sandbox.approve(me.authorize_url()))
        with pytest.raises(s4s.AuthorizationError):
            me.finish(answer)
        assert len(me.patient()) == 1


def test_an_expired_token_that_cannot_be_renewed(sandbox, store):
    token = sandbox.token("smart-1288992")
    url = sandbox.fhir_url
    with s4s.connect(url, access_token=token, patient="smart-1288992", store=store) as me:
        assert len(me.studies()) == 7
        sandbox.authority.expire_access()
        with pytest.raises(s4s.ReauthorizationRequired) as caught:
            me.update()
        explains(caught.value)
        assert len(me.studies()) == 7


def test_an_unknown_patient(sandbox, store):
    with (
        s4s.connect(sandbox.open_fhir_url, patient="nobody", store=store) as me,
        pytest.raises(s4s.NotFound) as caught,
    ):
        me.patient()
    explains(caught.value)


def test_an_empty_result_has_all_its_columns(sandbox, store):
    with s4s.connect(sandbox.open_fhir_url, patient="smart-9999999", store=store) as me:
        studies = me.studies()
    assert len(studies) == 0
    assert list(studies.columns) == list(s4s.tables.studies([]).columns)
    assert list(studies.dtypes) == list(s4s.tables.studies([]).dtypes)


def test_html_instead_of_json(web, store):
    with pytest.raises(s4s.DiscoveryError, match="is no FHIR base") as caught:
        s4s.connect(f"{web[0]}/fhir", patient="p1", store=store, waits=QUICK)
    explains(caught.value)


def test_a_study_without_an_endpoint(sandbox, store):
    url, origin = sandbox.open_fhir_url, sandbox.wado_url
    with s4s.connect(url, patient="smart-1551992", store=store, allow_origins=[origin]) as me:
        studies = me.studies()
        without = studies[~studies.downloadable]
        assert len(without) >= 1
        with pytest.raises(s4s.NotDownloadable) as caught:
            me.download(without.iloc[0]).result(30)
        assert caught.value.hint
        assert no_file(store)
        assert len(me.download(studies[studies.downloadable].iloc[0]).result(30).paths) >= 1


def test_an_unknown_uid(sandbox, store):
    with s4s.connect(sandbox.open_fhir_url, patient="smart-1288992", store=store) as me:
        with pytest.raises(s4s.NotFound, match=r"2\.25\.1"):
            me.download("2.25.1").result(30)
        with pytest.raises(s4s.InvalidUID):
            me.download("../../etc/passwd")
        assert no_file(store)


class CutsAlways(Holder):
    """Ends every answer in the middle of the third instance, until it is mended."""

    mended = False

    @property
    def cut_after(self):
        return self._left

    @cut_after.setter
    def cut_after(self, value):
        self._left = 2 if value is None and not self.mended else value


def test_a_truncated_multipart(store):
    with CutsAlways() as holder:
        holder.offers_pieces = False
        with s4s.connect(holder.fhir, patient="p1", store=store, waits=QUICK) as me:
            with pytest.raises((s4s.IntegrityError, s4s.Incomplete)) as caught:
                me.download(dicom.STUDY).result(30)
            explains(caught.value)
            assert len(list(store.root.rglob("*.dcm"))) == 2
            assert store.verify() == []
            holder.mended, holder.cut_after = True, None
            assert len(me.download(dicom.STUDY).result(30).paths) == 6


@pytest.mark.parametrize("what", [5, None, {"uid": "1.2"}, pd.DataFrame({"claim_id": ["1"]})])
def test_what_names_no_study_is_not_downloaded(sandbox, what):
    with sandbox.connect() as me:
        before = len(sandbox.requests)
        with pytest.raises(TypeError, match=r"download\(\) takes studies"):
            me.download(what)
        assert len(sandbox.requests) == before


@pytest.mark.parametrize("what", ['[{"resourceType": "Patient"}]', b"{}", None])
def test_text_is_no_resource(what):
    with pytest.raises(TypeError, match=r"json\.loads\(text\) makes them of text"):
        s4s.tables.patients(what)


def test_link_says_which_frame_it_was_not_given():
    studies, lines = s4s.tables.studies([]), s4s.tables.benefit_lines([])
    with pytest.raises(ValueError, match=r"benefit_lines is no frame of .* lacks claim_id, line_"):
        s4s.link(studies, studies)
    with pytest.raises(ValueError, match=r"studies is no frame of .* lacks study_uid"):
        s4s.link(lines, lines)
