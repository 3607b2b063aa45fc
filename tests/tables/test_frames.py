"""Every frame behaves as any frame does, whatever came in."""

from __future__ import annotations

import csv
import io
import itertools
import json
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from s4s_notebook import tables
from s4s_notebook.tables import values
from tests.tables.examples import amount, claim, held, study

SAME_VERSION = "two copies of the same version differ; the later, else one by its values, is kept"
ALL = ("Patient", "Coverage", "ImagingStudy", "ExplanationOfBenefit")


@pytest.fixture(scope="module")
def frames() -> dict[str, pd.DataFrame]:
    return tables.build(tables.TABLES, held(*ALL))


def awkward() -> dict[str, Any]:
    """Texts that a careless CSV or Arrow round trip changes."""
    texts = ["NA", "null", "a,b", 'say "x"', "line\nbreak", "\r", " pad ", "é漢🙂", "1", "\x00"]
    return claim(
        diagnosis=[
            {"sequence": n, "diagnosisCodeableConcept": {"text": t}} for n, t in enumerate(texts)
        ]
    )


@pytest.mark.parametrize("name", tables.TABLES)
@pytest.mark.parametrize("many", [False, True])
def test_parquet_gives_the_identical_frame(name: str, many: bool, tmp_path: Path) -> None:
    frame = getattr(tables, name)([*held(*ALL), awkward()] if many else [])
    frame.to_parquet(tmp_path / "x.parquet")
    back = pd.read_parquet(tmp_path / "x.parquet")
    pd.testing.assert_frame_equal(back, frame)
    assert back.attrs == frame.attrs


@pytest.mark.parametrize("name", tables.TABLES)
@pytest.mark.parametrize("many", [False, True])
def test_csv_gives_the_identical_frame(name: str, many: bool, tmp_path: Path) -> None:
    frame = getattr(tables, name)([*held(*ALL), awkward()] if many else [])
    frame.to_csv(tmp_path / "x.csv", index=False)
    pd.testing.assert_frame_equal(tables.read_csv(name, tmp_path / "x.csv"), frame)


def test_csv_keeps_further_columns() -> None:
    frame = tables.studies([study()])
    frame.insert(0, "participant", "https://h.example/Patient/1")
    back = tables.read_csv("studies", io.StringIO(frame.to_csv(index=False)))
    assert back["participant"][0] == "https://h.example/Patient/1"


@pytest.mark.parametrize("name", tables.TABLES)
def test_columns_and_dtypes_are_the_declared_ones(name: str, frames: Any) -> None:
    declared = tables.dictionary(name)
    for frame in (frames[name], getattr(tables, name)([])):
        assert list(frame.columns) == list(declared["name"])
        assert [str(dtype) for dtype in frame.dtypes] == list(declared["dtype"])
    assert len(frames[name]) > 0 or name == "procedures"  # the sandbox bills none


@pytest.mark.parametrize("name", tables.TABLES)
def test_frames_concatenate_merge_and_copy(name: str, frames: Any) -> None:
    frame = frames[name]
    again = pd.concat([frame, getattr(tables, name)([]), frame], ignore_index=True)
    assert again.dtypes.equals(frame.dtypes)
    assert len(again) == 2 * len(frame)
    merged = frame.merge(frame[["patient_id"]].drop_duplicates(), on="patient_id")
    assert len(merged) == len(frame)
    copied = frame.copy()
    copied["patient_id"] = None
    assert frame["patient_id"].notna().all()
    assert len(frame.attrs) <= 12
    json.dumps(frame.attrs)


def test_benefits_and_lines_join(frames: Any) -> None:
    joined = frames["benefit_lines"].merge(
        frames["benefits"], on="claim_id", validate="many_to_one", suffixes=("", "_claim")
    )
    assert len(joined) == len(frames["benefit_lines"])
    assert list(frames["benefits"]["line_count"]) == [
        *joined.groupby("claim_id").size()[frames["benefits"]["claim_id"]]
    ]
    unique = frames["benefit_lines"][["claim_id", "line_index"]]
    assert not unique.duplicated().any()


def test_without_pyarrow_the_frames_are_the_same(
    frames: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "pa", None)
    for name, frame in tables.build(tables.TABLES, held(*ALL)).items():
        pd.testing.assert_frame_equal(frame, frames[name])


def test_bundles_stand_for_their_entries_and_nothing_is_dropped_in_silence() -> None:
    page = {
        "resourceType": "Bundle",
        "entry": [
            {"resource": claim("a")},
            {"resource": {"resourceType": "Bundle", "entry": [{"resource": claim("b")}]}},
            {"resource": {"resourceType": "OperationOutcome", "issue": []}},
            {"fullUrl": "urn:uuid:1"},
            None,
        ],
    }
    problems: list[tables.Problem] = []
    frame = tables.benefits([page, {"resource": claim("c")}, {"id": "?"}, "text", None], problems)
    assert list(frame["claim_id"]) == ["a", "b", "c"]
    assert len(problems) == 5
    assert {one.why for one in problems} == {"not a resource"}
    assert list(tables.benefits(page)["claim_id"]) == ["a", "b"]
    problems = []
    assert tables.benefits([{"resourceType": "Bundle", "entry": "x"}], problems).empty
    assert [one.path for one in problems] == ["entry"]


def version(number: str | None = None, at: str | None = None, **more: Any) -> dict[str, Any]:
    meta = {"versionId": number, "lastUpdated": at}
    return claim(meta={key: value for key, value in meta.items() if value}, **more)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (version("9", disposition="old"), version("10", disposition="new")),
        (
            version(at="2018-01-01T00:00:00Z", disposition="old"),
            version(at="2018-01-01T00:30:00+00:00", disposition="new"),
        ),
        (
            version(at="2018-01-01T23:00:00-05:00", disposition="new"),
            version(at="2018-01-02T02:00:00Z", disposition="old"),
        ),
        (version(disposition="old"), version("1", disposition="new")),
    ],
)
def test_the_newest_copy_stays_and_the_others_are_counted(old: Any, new: Any) -> None:
    if old["disposition"] == "new":
        old, new = new, old
    for order in ([old, new], [new, old], [old, new, old, new, new]):
        frame = tables.benefits(order)
        assert list(frame["disposition"]) == ["new"]
        assert frame.attrs["duplicates"] == len(order) - 1


@pytest.mark.parametrize(
    ("mark", "why"),
    [
        ({}, "two copies differ and neither has a version; one is kept"),
        ({"number": "3"}, SAME_VERSION),
        ({"number": "3", "at": "2018-01-01T00:00:00Z"}, SAME_VERSION),
        ({"at": "2018-01-01T00:00:00Z"}, SAME_VERSION),
    ],
)
def test_copies_of_one_version_that_differ_are_told(mark: dict[str, str], why: str) -> None:
    copies = [version(**mark, disposition=text) for text in ("one", "other", "third")]
    kept = set()
    for order in itertools.permutations(copies):
        problems: list[tables.Problem] = []
        frame = tables.benefits(order, problems)
        kept |= set(frame["disposition"])
        assert [p.why for p in problems] == [why]
        assert frame.attrs["duplicates"] == 2
    assert len(kept) == 1
    problems = []
    assert tables.benefits([copies[0], dict(copies[0])], problems).attrs["duplicates"] == 1
    assert problems == []


def test_a_newer_version_settles_what_older_copies_disputed() -> None:
    one, other, new = version("3"), version("3", disposition="other"), version("4")
    for order in itertools.permutations((one, other, new)):
        problems: list[tables.Problem] = []
        assert tables.benefits(order, problems).attrs["duplicates"] == 2
        assert problems == []


def test_problems_are_those_of_the_copy_that_stays() -> None:
    """In the order of the rows, whatever came first."""
    odd = {"billablePeriod": {"start": "2018-13-45"}}
    copies = [version("1", **odd), version("2"), version("1", id="z", **odd), claim(id="a", **odd)]
    for order in itertools.permutations(copies):
        problems: list[tables.Problem] = []
        tables.benefits(order, problems)
        assert [p.resource for p in problems] == [
            "ExplanationOfBenefit/a",
            "ExplanationOfBenefit/z",
        ]


def test_a_dropped_copy_leaves_nothing_behind() -> None:
    endpoint = {
        "resourceType": "Endpoint", "id": "e", "address": "https://old.example/wado",
        "connectionType": {"code": "dicom-wado-rs"}, "meta": {"versionId": "1"},
    }  # fmt: skip
    new = {**endpoint, "address": "https://new.example/wado", "meta": {"versionId": "2"}}
    asks = study(endpoint=[{"reference": "Endpoint/e"}])
    for order in itertools.permutations((endpoint, new, asks)):
        assert list(tables.studies(order)["endpoint"]) == ["https://new.example/wado"]


def test_participants_are_kept_apart() -> None:
    builder = tables.builder("benefits", "studies")
    builder.add([claim(), study()], participant="h/Patient/1")
    builder.add([claim(), claim()], participant="h/Patient/2")
    made = builder.frames()
    frame = made["benefits"]
    assert list(frame["participant"]) == ["h/Patient/1", "h/Patient/2"]
    assert str(frame["participant"].dtype) == "str"
    assert frame.columns[0] == "participant"
    assert frame.attrs["duplicates"] == 1
    assert list(made["studies"]["participant"]) == ["h/Patient/1"]


def test_unknown_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="no table 'claims'"):
        tables.builder("claims")
    with pytest.raises(ValueError, match="no table 'claims'"):
        tables.dictionary("claims")


def test_blocks_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    resources = held(*ALL)
    whole = tables.build(tables.TABLES, resources)
    monkeypatch.setattr("s4s_notebook.tables.rows._BLOCK", 7)
    for name, frame in tables.build(tables.TABLES, resources).items():
        pd.testing.assert_frame_equal(frame, whole[name])


def test_memory_grows_with_the_frame_and_not_with_the_pages() -> None:
    """Pages of 50 kB each whose claims have nothing that a column wants."""

    def pages(count: int) -> Iterator[dict[str, Any]]:
        for number in range(count):
            yield claim(f"c{number}", text={"div": "x" * 50_000})

    def peak(count: int) -> int:
        tracemalloc.start()
        frame = tables.benefits(pages(count))
        _, high = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(frame) == count
        return high - int(np.asarray(frame.memory_usage(deep=True)).sum())

    peak(10)
    small, large = peak(200), peak(1000)
    assert large - small < 8_000_000  # 40 MB of text went by; a row in waiting takes 1 kB


def test_the_declaration_is_complete() -> None:
    """Each column has a meaning, and a path or a word on how it is worked out."""
    for name in tables.TABLES:
        frame = tables.dictionary(name)
        assert frame["name"].is_unique
        assert (frame["meaning"].str.len() > 3).all()
        worked_out = (frame[["stu3", "r4", "v3", "c4bb"]] == "").all(axis=1)
        assert frame.loc[worked_out, "meaning"].str.contains("derived").all()
        money = frame["name"].str.endswith("_amount")
        assert (frame.loc[money, "unit"] == "currency").all()
        assert not frame["stu3"].str.contains("=bb").any()
        doc = getattr(tables, name).__doc__
        assert all(column in doc for column in frame["name"])
    path = tables.dictionary("benefit_lines").set_index("name").loc["payer_paid_amount", "stu3"]
    assert "https://bluebutton.cms.gov/resources/variables/line_nch_pmt_amt" in path


@pytest.mark.needs("shared-data")
def test_cms_variables_are_those_of_the_dictionary_of_cms(shared_data: Path) -> None:
    known = set()
    for version_ in ("v1", "v2"):
        text = (shared_data / "dictionary" / f"bfd_{version_}_dictionary.csv").read_text("utf-8")
        for row in csv.DictReader(io.StringIO(text)):
            known |= {row["bfd_column"].upper(), *row["ccw"].upper().replace(";", " ").split()}
    ours = {
        variable
        for name in ("benefits", "benefit_lines")
        for cell in tables.dictionary(name)["cms"]
        for variable in cell.split("; ")
        if variable
    }
    unknown = {one for one in ours if not any(one[:27] in other for other in known)}
    assert unknown <= NOT_IN_THE_DICTIONARY


# Variables that CMS's servers send and its dictionary does not list.
NOT_IN_THE_DICTIONARY = {
    *("ASGMNTCD", "CLM_GRP_ID", "FI_ORIG_CLM_CNTL_NUM", "LINE_PRMRY_ALOWD_CHRG_AMT"),
    *("NCH_PTNT_STUS_IND_CD", "SUPLRNUM"),
}


def test_the_declaration_ships_with_the_package() -> None:
    shipped = {one.name for one in files("s4s_notebook.tables").joinpath("declared").iterdir()}
    assert {f"{name}.csv" for name in tables.TABLES} <= shipped


def test_importing_the_package_does_not_load_pandas() -> None:
    code = "import sys, s4s_notebook; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_amounts_stay_exact() -> None:
    made = claim(item=[{"adjudication": [amount("line_nch_pmt_amt", 0.1)]}] * 3)
    assert tables.benefit_lines([made])["payer_paid_amount"].tolist() == [0.1, 0.1, 0.1]


def _every_frame(*resources: Any) -> dict[str, pd.DataFrame]:
    types = ("Patient", "Coverage", "ImagingStudy", "ExplanationOfBenefit")
    sent = [*held(*types), *resources]
    return tables.build((*tables.TABLES, *tables.LONG_TABLES), sent)


def test_every_frame_as_a_stata_file() -> None:
    for name, frame in _every_frame().items():
        for one in (frame, frame.iloc[:0].assign(participant="h")):
            file = io.BytesIO()
            tables.to_stata(one, file)
            with pd.io.stata.StataReader(io.BytesIO(file.getvalue())) as reader:
                labels = reader.variable_labels()
                back = reader.read(convert_dates=True)
            assert len(back) == len(one), name
            assert [c.removeprefix("_") for c in back] == [str(c) for c in one]
            for column in one:
                read = back[column if column in back else f"_{column}"]
                assert read.replace("", pd.NA).notna().sum() == one[column].notna().sum(), column
                assert labels[str(read.name)] or column == "participant"
                if one[column].dtype == "datetime64[us]":
                    assert (read.astype("datetime64[us]").dropna() == one[column].dropna()).all()


def test_long_text_and_unfit_names_for_stata(tmp_path: Path) -> None:
    frame = tables.patients(
        [{"resourceType": "Patient", "id": "p", "name": [{"family": "ä" * 3000}]}]
    )
    tables.to_stata(frame, tmp_path / "a.dta")
    assert pd.read_stata(tmp_path / "a.dta")["family_name"].tolist() == ["ä" * 3000]
    with pytest.raises(ValueError, match="32 characters"):
        tables.to_stata(frame.assign(**{"x" * 33: 1}), tmp_path / "b.dta")


def test_every_frame_as_an_excel_workbook(tmp_path: Path) -> None:
    pytest.importorskip("xlsxwriter")
    formula = {"resourceType": "Patient", "id": "p", "name": [{"family": '=HYPERLINK("http://x")'}]}
    for name, frame in _every_frame(formula).items():
        path = tmp_path / f"{name}.xlsx"
        tables.to_excel(frame, path)
        with zipfile.ZipFile(path) as workbook:
            sheet = workbook.read("xl/worksheets/sheet1.xml").decode()
            assert not any("rels" in part and "sheet" in part for part in workbook.namelist())
        assert "<f>" not in sheet
        assert sheet.count("<row ") == len(frame) + 1
        assert sheet.count("<v>") == frame.notna().to_numpy().sum() + len(frame.columns), name
    text = tables.patients([formula | {"name": [{"family": "x" * 40_000}]}])
    with pytest.raises(ValueError, match="40,000 characters"):
        tables.to_excel(text, tmp_path / "long.xlsx")
