"""Work that goes through its phases as a script says: for the panels alone, without a holder."""

from __future__ import annotations

import contextvars
import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from s4s_notebook.errors import AccessDenied, StateMismatch
from s4s_notebook.task import TaskState


class FakeWork:
    """Steps through `(seconds, changes)` in a thread, as a Download does."""

    def __init__(self, steps: Iterable[tuple[float, dict[str, Any]]], **start: Any) -> None:
        self.state = TaskState(**start)
        self.cancelled_at = 0.0
        self._steps = list(steps)
        self._callbacks: list[Callable[[TaskState], None]] = []
        self._stop = threading.Event()
        self._end = threading.Event()
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._run,), daemon=True
        )

    def start(self) -> FakeWork:
        self._thread.start()
        return self

    def subscribe(self, callback: Callable[[TaskState], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def cancel(self) -> None:
        self.cancelled_at = time.time()
        self._stop.set()

    def result(self, timeout: float | None = None) -> None:
        self._end.wait(timeout)

    def _say(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        for callback in list(self._callbacks):
            callback(self.state)

    def _run(self) -> None:
        for seconds, changes in self._steps:
            self._say(**changes)
            if self._stop.wait(seconds):
                self._say(phase="cancelled")
                break
        self._end.set()


def waits(seconds: int, **start: Any) -> FakeWork:
    """A study whose archive wants `seconds`, counted down each second."""
    steps = [
        (1.0, {"phase": "waiting", "seconds_left": float(left), "attempt": 1})
        for left in range(seconds, 0, -1)
    ]
    return FakeWork(steps, study_uid="1.2.840.99", **start)


@dataclass
class FakeHolder:
    base: str = "https://holder.example/fhir"
    register: str | None = "https://holder.example/register"
    source: str = "metadata"
    notes: tuple[str, ...] = ("The holder does not promise PKCE; S256 is sent all the same.",)
    imaging_origins: tuple[str, ...] = ("https://images.holder.example",)

    @property
    def sign_in_origins(self) -> dict[str, tuple[str, ...]]:
        """It signs people in at its own origin."""
        return {}


class FakeLogin:
    def __init__(self, state: str) -> None:
        self.state_hash = hashlib.sha256(state.encode()).hexdigest()


class FakeConnection:
    """Signs in at a page of its own (`consent.py`), with the Connection's surface."""

    def __init__(self, page: str = "https://holder.example/authorize", **holder: Any) -> None:
        self.holder = FakeHolder(**holder)
        self.status = "not authorised"
        self.patient_id: str | None = None
        self.client_id: str | None = None
        self.redirect_uri: str | None = None
        self.grant = None
        self.login: FakeLogin | None = None
        self.finished: list[str] = []
        self.approved = threading.Event()
        self._page = page
        self._state = ""
        self._callbacks: list[Callable[[str], None]] = []

    @property
    def session(self) -> FakeConnection:
        """A fake has one surface for both."""
        return self

    @property
    def notes(self) -> tuple[str, ...]:
        return self.holder.notes

    def on_status(self, callback: Callable[[str], None]) -> None:
        self._callbacks.append(callback)

    def authorize_url(self, redirect_uri: str | None = None) -> str:
        self._state = secrets.token_hex(16)
        self.login = FakeLogin(self._state)
        self._set("waiting for approval")
        return f"{self._page}?{urlencode({'state': self._state, 'redirect_uri': redirect_uri})}"

    def finish(self, redirected_url: str) -> FakeConnection:
        self.finished.append(redirected_url)
        values = dict(parse_qsl(urlsplit(redirected_url).query))
        if values.get("error"):
            self._set("declined")
            raise AccessDenied("The request was declined.")
        if values.get("state") != self._state:
            raise StateMismatch("The reply's state is not the one of this sign-in.")
        self.patient_id = "smart-1288992"
        self._set("approved")
        self.approved.set()
        return self

    def revoke(self) -> str:
        self._set("not authorised")
        return "revoked"

    def forget(self) -> None:
        self._set("not authorised")

    def _set(self, status: str) -> None:
        self.status = status
        for callback in list(self._callbacks):
            callback(status)


class FakeParticipant:
    """Everything is here, no study is on disk."""

    def sync_point(self, kind: str) -> str:
        return kind

    def study_row(self, uid: str) -> tuple[None, bool, str]:
        return None, False, ""


class FakeRecord(FakeConnection):
    """An approved connection whose tables are given as FHIR resources."""

    def __init__(self, resources: Iterable[dict[str, Any]], **holder: Any) -> None:
        super().__init__(**holder)
        from s4s_notebook import tables

        every = list(resources)
        kinds = {
            "patient": ("Patient", tables.patients),
            "studies": ("ImagingStudy", tables.studies),
            "benefits": ("ExplanationOfBenefit", tables.benefits),
            "benefit_lines": ("ExplanationOfBenefit", tables.benefit_lines),
        }
        self._frames = {
            name: make([each for each in every if each["resourceType"] == kind])
            for name, (kind, make) in kinds.items()
        }
        self.status, self.patient_id, self.participant = "approved", "p", FakeParticipant()
        self.downloads: list[str] = []

    def patient(self) -> Any:
        return self._frames["patient"]

    def studies(self) -> Any:
        return self._frames["studies"]

    def benefits(self) -> Any:
        return self._frames["benefits"]

    def benefit_lines(self) -> Any:
        return self._frames["benefit_lines"]


def study(number: int, text: str = "", day: str = "2020-01-01") -> dict[str, Any]:
    return {
        "resourceType": "ImagingStudy",
        "id": f"study-{number}",
        "uid": f"urn:oid:1.2.840.99.{number}",
        "patient": {"reference": "Patient/p"},
        "started": day,
        "modalityList": [{"code": "CT" if number % 2 else "MR"}],
        "description": text or f"Study number {number}",
        "numberOfInstances": number,
    }


def claim(number: int, text: str = "CARRIER", day: str = "2020-01-01") -> dict[str, Any]:
    eob_type = "https://bluebutton.cms.gov/resources/codesystem/eob-type"
    return {
        "resourceType": "ExplanationOfBenefit",
        "id": f"claim-{number}",
        "patient": {"reference": "Patient/p"},
        "type": {"coding": [{"system": eob_type, "code": text}]},
        "billablePeriod": {"start": day, "end": day},
        "payment": {"amount": {"value": number, "code": "USD"}},
        "item": [{"sequence": 1, "service": {"coding": [{"code": "99213", "display": text}]}}],
    }


def patient(text: str) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": "p",
        "name": [{"family": text, "given": [text]}],
        "birthDate": "1950-01-01",
        "gender": text,
    }
