"""`s4s sync`: everybody in a store, by a process of its own, against a real sandbox."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import s4s_notebook as s4s

PEOPLE = ("smart-1288992", "smart-1551992")


@pytest.fixture(scope="module")
def sandbox():
    with s4s.Sandbox(retry_after=0) as sandbox:
        yield sandbox


@pytest.fixture
def store(sandbox, tmp_path, canary):
    """Two participants whose approval is kept in files, nothing loaded yet."""
    canary.allow(tmp_path / "people" / "tokens")
    for who in PEOPLE:
        sandbox.connect(patient=who, store=tmp_path / "people", remember="file").close()
    return tmp_path / "people"


def run(*arguments: object, **environment: str):
    return subprocess.run(
        [Path(sys.executable).with_name("s4s"), "sync", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def test_everybody_is_brought_up_to_date_and_nobody_is_named(sandbox, store):
    first = run(store)
    assert (first.returncode, first.stderr) == (0, "")
    lines = first.stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines[:2]] == [
        f"1 of 2, {sandbox.fhir_url}",
        f"2 of 2, {sandbox.fhir_url}",
    ]
    assert all(line.endswith(" new") for line in lines[:2])
    assert lines[2] == "2 participants, all up to date"
    assert not any(who in first.stdout for who in PEOPLE)
    with s4s.Store(store) as kept:
        assert len(kept.benefits()) > 50
    count = len(sandbox.requests)
    again = run(store)
    assert again.stdout.count("nothing new") == 2
    searches = [text for text in map(str, sandbox.requests[count:]) if "?" in text]
    assert len(searches) >= 6, "three types of each of two participants, in any order"
    assert all("_lastUpdated=gt" in text for text in searches)


def test_what_changed_and_what_is_gone(sandbox, store):
    run(store)
    claim = sandbox.resources("ExplanationOfBenefit", PEOPLE[0])[0]
    sandbox.put({**claim, "disposition": "another"})
    study = sandbox.resources("ImagingStudy", PEOPLE[0])[0]
    sandbox.remove(f"ImagingStudy/{study['id']}")
    assert ": 1 changed\n" in run(store).stdout
    assert ": 1 gone\n" in run(store, "--full").stdout
    sandbox.put(study)


def test_images_come_too(sandbox, tmp_path, canary):
    canary.allow(tmp_path / "one" / "tokens")
    options = {"patient": PEOPLE[1], "store": tmp_path / "one", "remember": "file"}
    sandbox.connect(**options).close()
    ran = run(tmp_path / "one", "--images")
    assert (ran.returncode, ran.stderr) == (0, "")
    with s4s.Store(tmp_path / "one") as kept:
        assert kept.verify() == []
        studies = kept.studies().query("downloadable")
        files = list(kept.root.rglob("*.dcm"))
    assert f"{len(studies)} studies here, {len(files)} files" in ran.stdout
    assert len(studies) > 1
    before = len(sandbox.requests)
    assert f"{len(files)} files" in run(tmp_path / "one", "--images").stdout
    assert not any("/studies/" in str(one) for one in sandbox.requests[before:])


def test_a_participant_without_an_approval_does_not_stop_the_others(sandbox, store):
    with s4s.Store(store) as kept:
        kept.participant(sandbox.fhir_url, "nobody-1")
        kept.participant("http://127.0.0.1:1/fhir", "nobody-2")
    ran = run(store)
    assert ran.returncode == 1
    assert ran.stdout.count(" new\n") == 2
    assert ran.stdout.endswith("4 participants, 2 not up to date\n")
    assert "No approval that holds is kept here. Approve anew in a notebook" in ran.stderr
    assert "http://127.0.0.1:1/fhir" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_wait_is_told(sandbox, store):
    sandbox.script("*/ImagingStudy?*", headers=[("Retry-After", "1")])
    assert re.search(r"the holder asks to come back in 0:0\d\n", run(store).stdout)


def test_a_store_that_is_not_there(tmp_path):
    ran = run(tmp_path / "none")
    assert ran.returncode == 1
    assert "There is no store at" in ran.stderr
    assert not (tmp_path / "none").exists()


def test_on_binder_no_holder_is_asked(sandbox, store):
    before = len(sandbox.requests)
    ran = run(store, BINDER_SERVICE_HOST="x")
    assert ran.returncode == 1
    assert "On Binder only the sandbox" in ran.stderr
    assert len(sandbox.requests) == before
