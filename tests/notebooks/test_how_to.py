"""The how-to pages do what they say: their Python runs, with a sandbox in the holder's place."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
import tomllib
import urllib.request

import keyring
import keyring.backend
import pandas as pd
import pytest
import yaml

import s4s_notebook as s4s
from s4s_notebook import _connect as start, tables
from tests.notebooks import columns
from tests.notebooks.books import FOLDER, REPO
from tests.tables.examples import held

HOW_TO = FOLDER / "how-to"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
CALLBACK = "http://127.0.0.1:8765/s4s/callback"


@pytest.fixture(scope="module")
def sandbox():
    with s4s.Sandbox(retry_after=0) as sandbox:
        yield sandbox


@pytest.fixture
def opened(monkeypatch):
    """Closes every connection that a page opened and, as a notebook does, left open."""
    made = []
    begin = s4s.Connection.__init__

    def noted(self, *args, **options):
        made.append(self)
        begin(self, *args, **options)

    monkeypatch.setattr(s4s.Connection, "__init__", noted)
    yield
    for connection in made:
        connection.close()


@pytest.fixture
def run(sandbox, tmp_path, monkeypatch, opened):
    """Runs a page's blocks one after the other, with other words in the place of a holder's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(start.SANDBOX_URL, sandbox.fhir_url)
    monkeypatch.setenv(start.SANDBOX_APPROVE, "smart-1288992")

    def run(page, **replaced):
        holder = {
            "https://holder.example/fhir": sandbox.fhir_url,
            "https://open.example/fhir": sandbox.open_fhir_url,
            "https://images.example": sandbox.wado_url,
        }
        known = {}
        for source in BLOCK.findall((HOW_TO / page).read_text("utf-8")):
            for old, new in (holder | replaced).items():
                source = source.replace(old, new)
            code = compile(source, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            outcome = eval(code, known)
            if inspect.isawaitable(outcome):
                asyncio.run(outcome)
        return known

    return run


def registered(sandbox):
    asked = {
        "client_name": "by hand",
        "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "client_secret_basic",
    }
    request = urllib.request.Request(
        f"{sandbox.fhir_url.removesuffix('/api/fhir')}/oauth/register",
        json.dumps(asked).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


def test_every_page_is_listed_and_every_python_block_is_run_by_a_test():
    listed = (FOLDER / "README.md").read_text("utf-8")
    tests = inspect.getsource(inspect.getmodule(registered))
    for page in HOW_TO.glob("*.md"):
        assert f"(how-to/{page.name})" in listed
        if BLOCK.search(page.read_text("utf-8")):
            assert f'run("{page.name}"' in tests, page.name


def test_register(run, sandbox, monkeypatch, capsys):
    client = registered(sandbox)
    monkeypatch.setattr("getpass.getpass", lambda prompt: client["client_secret"])
    me = run("register.md", **{"the id that you got": client["client_id"]})["me"]
    page = re.findall(r"http://\S+/oauth/authorize\S+", capsys.readouterr().out)[-1]
    assert client["client_id"] in page
    me.finish(sandbox.approve(page))
    assert me.status == "approved"


def test_scripts(run, sandbox, tmp_path, canary, monkeypatch, capsys):
    canary.allow(tmp_path / "participants" / "tokens")  # remember="file"

    def person(prompt):
        [page] = re.findall(r"http://\S+/oauth/authorize\S+", capsys.readouterr().out)
        return sandbox.approve(page)

    monkeypatch.setattr("builtins.input", person)
    monkeypatch.setenv("HOLDER_TOKEN", sandbox.token("smart-1288992"))
    only_small = {"studies.downloadable]": "studies.downloadable & (studies.modalities == 'DX')]"}
    known = run("scripts.md", **only_small)
    said = capsys.readouterr().out
    assert "0 new\n7 studies\n57 claims" in said
    assert "1 participants, 7 studies\n0 damaged files" in said
    assert known["study"].paths
    again = s4s.connect(sandbox.fhir_url, store="participants", remember="file")
    assert again.status == "approved", "the next night asks nobody"


def test_tokens(run, sandbox, monkeypatch, capsys):
    monkeypatch.setattr("getpass.getpass", lambda prompt: sandbox.token("smart-1288992"))
    run("tokens.md")
    said = capsys.readouterr().out
    assert said == "approved\nrevoked\nnot authorised\n0 participants left\n"


class Ring(keyring.backend.KeyringBackend):
    """A keyring for the test alone."""

    priority = 1

    def __init__(self):
        super().__init__()
        self.kept = {}

    def get_password(self, service, username):
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        self.kept[service, username] = password

    def delete_password(self, service, username):
        del self.kept[service, username]


def test_where_an_approval_lies_as_the_table_says(sandbox, tmp_path):
    before, ring = keyring.get_keyring(), Ring()
    keyring.set_keyring(ring)
    try:
        me = sandbox.connect(store=tmp_path / "a")
        assert not ring.kept
        me.close()
        me = sandbox.connect(store=tmp_path / "a", remember=True)
        assert len(ring.kept) == 1
        me.forget()
        assert not ring.kept
        me.close()
    finally:
        keyring.set_keyring(before)


def test_cite(run, capsys):
    run("cite.md")
    said = capsys.readouterr().out.split()
    assert said == ["s4s-notebook", s4s.__version__]
    assert f"(version {s4s.__version__})" in (HOW_TO / "cite.md").read_text("utf-8")


def test_promises(run, capsys):
    run("promises.md")
    assert capsys.readouterr().out == "0 damaged\n1 damaged\n0 damaged\n"


def test_columns(run):
    made = run("columns.md")
    assert len(made["dictionary"]) == len(tables.dictionary("benefit_lines"))
    pd.testing.assert_frame_equal(made["from_parquet"], made["frame"])
    pd.testing.assert_frame_equal(made["from_csv"], made["frame"])
    text = columns.PAGE.read_text("utf-8")
    assert text == columns.page(), "make it anew: python -m tests.notebooks.columns"
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) == sum(len(tables.dictionary(name)) for name in tables.TABLES)
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows)


def test_counts(run, capsys):
    pytest.importorskip("xlsxwriter")
    made = run("counts.md")
    # By hand from the sandbox's seven inpatient claims of three people.
    assert made["by_drg"].to_dict("index") == {
        "065": {"stays": 1, "mean days": 4.0},
        "194": {"stays": 3, "mean days": 3.0},
        "470": {"stays": 3, "mean days": 3.0},
    }
    assert made["person_years"] == pytest.approx(43.0, abs=0.1)  # 13 + 15 + 15 years
    counts = re.findall(r"(\w\w): (\d+) examinations", capsys.readouterr().out)
    days = {
        (eob["patient"]["reference"], day, code["code"])
        for eob in held("ExplanationOfBenefit")
        for item in eob.get("item", ())
        for code in item.get("service", {}).get("coding", ())
        if "2004" <= (day := item.get("servicedDate") or item["servicedPeriod"]["start"]) < "2019"
    }
    for name, count in counts:
        right = [day for day in days if re.match(made["machine"][name], day[2]) and len(day[2]) == 5]
        assert int(count) == len(right) > 0
    assert len(counts) == 3
    data = pd.read_stata("claims.dta")
    assert (len(data), data["drg"].ne("").sum()) == (len(made["claims"]), 7)


def citation():
    return yaml.safe_load((REPO / "CITATION.cff").read_text("utf-8"))


def complaints_of_citation(cff):
    """What the Citation File Format 1.2.0 asks for, as far as this file uses it."""
    wanted = {"cff-version": str, "message": str, "title": str, "authors": list}
    told = [name for name, kind in wanted.items() if not isinstance(cff.get(name), kind)]
    told += [f"authors[{n}]" for n, who in enumerate(cff.get("authors") or []) if not _named(who)]
    known = {*wanted, "abstract", "type", "license", "version", "date-released", "keywords"}
    known |= {"doi", "url", "repository-code", "identifiers", "references", "preferred-citation"}
    told += [f"unknown: {name}" for name in cff if name not in known]
    if cff.get("type", "software") not in ("software", "dataset"):
        told.append("type")
    if "date-released" in cff and not re.fullmatch(r"\d{4}-\d\d-\d\d", str(cff["date-released"])):
        told.append("date-released")
    return told


def _named(who):
    return bool(who.get("name") or (who.get("family-names") and who.get("given-names")))


def test_sandbox(run, capsys):
    known = run("sandbox.md")
    assert known["measured"] == pytest.approx(known["true"], rel=0.05)
    assert "mm3 measured, 2145 mm3 drawn" in capsys.readouterr().out
    assert {"nodule volume", "lesion volume", "nodule SUV"} <= set(known["truths"].name)
    kinds = known["kinds"]
    assert kinds.loc["INPATIENT"].nunique() == 1
    assert kinds["plan"].sum() == kinds["Medicare"].sum() + 7  # six dentist's and a compound


def test_the_citation_file_is_in_order_and_says_what_the_package_says():
    cff = citation()
    project = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["project"]
    assert complaints_of_citation(cff) == []
    assert cff["cff-version"] == "1.2.0"
    assert cff["version"] == s4s.__version__
    assert cff["title"] == project["name"]
    assert cff["license"] == project["license"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"title": None}, "title"),
        ({"authors": [{"alias": "x"}]}, "authors[0]"),
        ({"licence": "MIT"}, "unknown: licence"),
        ({"type": "program"}, "type"),
        ({"date-released": "24.11.2026"}, "date-released"),
    ],
)
def test_what_is_wrong_in_a_citation_file_is_seen(change, complaint):
    assert complaints_of_citation(citation() | change) == [complaint]


def test_measure(run):
    known = run("measure.md")
    circle, square = known["table"].to_dict("records")
    assert (circle["n"], circle["unit"], circle["area_unit"]) == (317, "HU", "mm2")
    assert square["n"] == 400
    assert known["along"]["distance_mm"].iloc[-1] == pytest.approx(88 * 0.661468, abs=1e-3)
    assert known["spread"]["n"].sum() == 317
    assert known["bone"]["volume_unit"][0] == "mm3"
