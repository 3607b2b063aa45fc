"""What a verbose traceback of a public call prints: no identifier, name, code, state or body."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from IPython.core.ultratb import VerboseTB

import s4s_notebook as s4s
from s4s_notebook.http.retry import WaitPolicy
from tests.connection.holder import Holder
from tests.faultserver.holder import Answer
from tests.faultserver.holder import holder as fault_holder
from tests.imaging.make import data, image

PATIENT = "canary-patient-77"
NAME = "Canary-Name"
BODY = "canary-body"
QUICK = WaitPolicy(budget=0.2, tries=1, first=0.0, floor=0.0, jitter=0.0)
BODIES = {
    "cut": (200, f'{{"resourceType": "Bundle", "entry": [{{"x": "{NAME} {PATIENT} {BODY}"'),
    "words": (500, f'{{"resourceType": "OperationOutcome", "text": "{NAME} {PATIENT} {BODY}"}}'),
    "html": (200, f"<html>{NAME} {PATIENT} {BODY}</html>"),
    "gone": (404, f"{NAME} {PATIENT} {BODY}"),
    "other": (200, f'{{"resourceType": "Patient", "id": "{PATIENT}", "entry": "{BODY} {NAME}"}}'),
}
UID = "1.2.826.0.1.3680043.8.498.77"
CALLS: dict[str, tuple[Any, ...]] = {
    "authorize_url": (),
    "finish": (f"http://127.0.0.1:9/callback?code=canary-code&state=canary-state&iss={NAME}",),
    "wait_authorized": (0.01,),
    "patient": (),
    "coverage": (),
    "studies": (),
    "series": (),
    "benefits": (),
    "benefit_lines": (),
    "diagnoses": (),
    "procedures": (),
    "adjudications": (),
    "table": ("care_team",),
    "unread": (),
    "problems": (),
    "resources": ("ImagingStudy",),
    "load": (),
    "update": (),
    "download": (UID,),
    "revoke": (),
    "forget": (),
    "close": (),
}
STATES = {"holder", "notes", "patient_id", "participant", "status", "history", "store", "session"}


def verbose(work: Callable[[], Any]) -> str | None:
    """Return all that a verbose traceback prints below the caller's frame; None without error."""
    try:
        result = work()
        if hasattr(result, "result"):
            result.result(20)
    except BaseException as error:  # noqa: BLE001 - of whatever kind, it is printed
        below = error.__traceback__.tb_next
        printed = traceback.TracebackException(type(error), error, below, capture_locals=True)
        return "".join(printed.format()) + str(VerboseTB().text(type(error), error, below))
    return None


def hides(text: str | None) -> bool:
    return text is None or not any(
        secret in text for secret in (PATIENT, NAME, BODY, "canary-code", "canary-state", "c4n4ry")
    )


@pytest.fixture
def holder() -> Iterator[Any]:
    with fault_holder() as server:
        yield server


def test_every_public_member_is_called_here() -> None:
    members = {name for name in dir(s4s.Connection) if not name.startswith("_")}
    assert members - STATES == set(CALLS) - STATES


@pytest.mark.fault("L05")
@pytest.mark.parametrize("kind", BODIES)
def test_the_calls_of_a_connection(holder: Any, kind: str, canary: Any) -> None:
    status, body = BODIES[kind]
    holder.on("*", Answer(body.encode(), status, {"Content-Type": "application/fhir+json"}))
    holder.on(
        "/fhir/metadata", Answer({"resourceType": "CapabilityStatement", "fhirVersion": "3.0.1"})
    )
    raised = set()
    for name, arguments in CALLS.items():
        options = {"patient": PATIENT, "access_token": canary.token, "waits": QUICK}
        me = s4s.connect(f"{holder.origin}/fhir", **options)
        text = verbose(functools.partial(getattr(me, name), *arguments))
        assert hides(text), f"{name}:\n{text}"
        assert PATIENT not in repr(me)
        if text is not None:
            raised.add(name)
        me.close()
    # With "gone" and "other", some types are a state and no error.
    assert raised >= {"finish", "download"}
    if kind in ("cut", "words", "html"):
        assert raised >= {"studies", "benefits", "table", "resources", "load", "update"}


@pytest.mark.fault("L05")
def test_connecting(holder: Any, canary: Any) -> None:
    holder.on("*", Answer(f"<html>{NAME} {BODY}</html>".encode()))
    connect = functools.partial(
        s4s.connect, f"{holder.origin}/fhir", patient=PATIENT, access_token=canary.token
    )
    text = verbose(connect)
    assert text is not None
    assert hides(text), text
    # A URL with a secret in it, and an option that does not exist.
    text = verbose(functools.partial(s4s.connect, f"http://u:{canary.secret}@127.0.0.1:9/fhir"))
    assert hides(text), text
    text = verbose(functools.partial(connect, colour=NAME))
    assert text is not None
    assert hides(text), text


@pytest.mark.fault("L05")
def test_a_sign_in_that_ends_in_an_error(holder: Any, canary: Any) -> None:
    with s4s.Sandbox() as sandbox:
        for change in ("code", "state"):
            me = s4s.Connection(sandbox.fhir_url, redirect_uri="http://127.0.0.1:9/callback")
            reply = sandbox.approve(me.authorize_url())
            text = verbose(functools.partial(me.finish, f"{reply}&{change}=canary-{change}"))
            assert text is not None
            assert hides(text), text
            me.close()


@pytest.mark.fault("L05")
def test_the_calls_of_a_store(tmp_path: Path) -> None:
    with Holder() as holder:
        me = s4s.connect(holder.fhir, patient="p1", store=tmp_path / "store")
        me.load().result()
        me.close()
    journal = next((tmp_path / "store").rglob("record.ndjson"))
    journal.write_bytes(f"{NAME} {BODY}\n".encode() + journal.read_bytes()[10:])
    calls = [name for name in dir(s4s.Store) if not name.startswith("_")]
    for name in calls:
        for store in (tmp_path / "typo", tmp_path / "store"):
            opened = s4s.Store(store)
            member = inspect.getattr_static(s4s.Store, name)
            work = getattr(opened, name) if inspect.isfunction(member) else lambda: None
            arguments = {"table": ("care_team",), "purge": (), "participant": (NAME, PATIENT)}
            text = verbose(functools.partial(work, *arguments.get(name, ())))
            if name != "participant":
                assert hides(text), f"{name}:\n{text}"
            opened.close()


@pytest.mark.fault("L05")
def test_images(tmp_path: Path) -> None:
    import numpy as np

    made = image(np.zeros((8, 8), np.uint16), PatientName=NAME, PatientID=PATIENT)
    whole = data(made)
    for number, content in enumerate((whole[:-40], whole[:300], NAME.encode() * 40)):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(content)
        for force in (False, True):
            text = verbose(functools.partial(s4s.read, path, force=force))
            assert hides(text), text
    made.PixelData = b"\0" * 10
    (tmp_path / "short.dcm").write_bytes(data(made))
    study = s4s.read(tmp_path / "short.dcm", force=True)
    series = study.series[0]
    raised = 0
    for owner in (study, series, series.frames[0]):
        for name in dir(owner):
            if not name.startswith("_"):
                text = verbose(functools.partial(_use, owner, name))
                below = "".join((text or "").split("_use(", 1)[-1:])
                assert hides(below), f"{name}:\n{below}"
                raised += text is not None
    assert raised > 5


def _use(owner: Any, name: str) -> Any:
    member = getattr(owner, name)
    return member() if inspect.ismethod(member) else member


@pytest.mark.fault("L05")
def test_tables() -> None:
    frame = pd.DataFrame({"patient_id": [PATIENT], "name": [NAME]})
    work: list[Callable[[], Any]] = [
        functools.partial(s4s.link, frame, frame),
        functools.partial(s4s.tables.studies, [{"resourceType": NAME}, 7]),
        functools.partial(s4s.tables.read_csv, "benefits", NAME),
        functools.partial(s4s.tables.build, [NAME], []),
    ]
    texts = [verbose(call) for call in work]
    assert sum(text is not None for text in texts) >= 2
    for text in texts:
        assert text is None or NAME not in text.split("Error", 1)[0]
