"""Practitioners and Organizations that claims and coverages refer to: each is read once.

A claim of CARIN's guide names its providers and payers by reference alone, and no search for the
patient lists them. What the holder included is stored with its page; the others are read by id
(FHIR R4 section 3.1.0.1) at the holder's own base address, never elsewhere. No answer to such a
read makes a load fail: a status is a state of the type, or a problem of the one resource.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..errors import Cancelled, NotFound, S4SError
from ..fhir import search as fhir
from ..fhir.resources import REFERRED, read_reference
from ..problems import Problem
from ..store.participant import Entry, Participant, Run
from ..task import Cancel, Clock

Read = Callable[[str, str], dict[str, Any]]

REFERRING = ("Coverage", "ExplanationOfBenefit")
"""The types whose references are followed."""

ABSENT = "the holder does not have it"
_REFUSALS = {403: "refused", 405: "not served", 501: "not served"}
_MAX_ABSENT = 3  # answers of "not found" in a row, none of this type read before: not served


def references(element: Any, base: str) -> Iterator[tuple[str, str]]:
    """Yield type and id of each reference to one of ``REFERRED`` at this holder.

    Args:
        element: a resource, or an element of one.
        base: the FHIR base address; an absolute reference counts where it is below it.
    """
    for value in element.values() if isinstance(element, dict) else element:
        if isinstance(value, dict | list):
            yield from references(value, base)
    text = element.get("reference") if isinstance(element, dict) else None
    if not isinstance(text, str):
        return
    text = text.strip().removeprefix(base.rstrip("/") + "/")
    target = read_reference(text)
    if ":" not in text and target.type in REFERRED and target.readable:
        yield target.type, target.id


def read_referred(
    read: Read,
    base: str,
    participant: Participant,
    covered: Iterable[str],
    *,
    cancel: Cancel,
    clock: Clock,
    full: bool,
) -> None:
    """Read what the participant's claims and coverages refer to and the store lacks.

    Args:
        read: (type, id) → the resource; raises as :func:`s4s_notebook.fhir.search.read` does.
        base: the FHIR base address of the holder.
        participant: whose claims.
        covered: which of ``REFERRED`` the approval covers; others are not requested.
        cancel: ends a wait for another process.
        clock: the time of the states.
        full: request again what the holder refused before.

    Raises:
        Cancelled: what was read before stays; the next update continues.
    """
    missing = _missing(base, participant)
    for kind, ids in missing.items():
        if not ids or (not full and participant.state(kind) in ("refused", "not served")):
            continue
        with participant.sync_lock(kind, cancel.check):
            stored = participant.versions(kind)
            new = [id_ for id_ in ids if f"{kind}/{id_}" not in stored]
            _read_all(read, participant, kind, new if kind in covered else None, clock.time())


def _missing(base: str, participant: Participant) -> dict[str, list[str]]:
    """Return the ids that are referred to, neither stored nor known to be absent, by type."""
    stored = {key for kind in REFERRED for key in participant.versions(kind)}
    stored |= {problem.resource for problem in participant.problems() if problem.why == ABSENT}
    unread = dict.fromkeys(
        target
        for kind in REFERRING
        for resource in participant.resources(kind)
        for target in references(resource, base)
        if "/".join(target) not in stored
    )
    return {kind: [id_ for type_, id_ in unread if type_ == kind] for kind in REFERRED}


def _read_all(
    read: Read, participant: Participant, kind: str, ids: list[str] | None, now: float
) -> None:
    """Read resources of a type one after the other, and record how it ended."""
    run = Run(f"{now:.0f}-referred", None, None, None, full=False, pages=0)
    if ids is None:
        participant.finish(kind, run, now, "refused")
        return
    state = "postponed"
    participant.finish(kind, run, now, state)  # stands where this process ends before the last
    try:
        state = _store_all(read, participant, kind, ids, run)
    except Cancelled:
        raise
    except S4SError as error:
        status = error.request.status if error.request else None
        state = _REFUSALS.get(status or 0, state)
    participant.finish(kind, run, now, state)


def _store_all(read: Read, participant: Participant, kind: str, ids: list[str], run: Run) -> str:
    """Store what can be read, and a problem for each that is absent; return the state."""
    absent: list[str] = []
    for id_ in ids:
        try:
            body = {"id": id_, **read(kind, id_)}
        except NotFound:
            absent.append(id_)
            if len(absent) == _MAX_ABSENT and not participant.versions(kind):
                return "not served"
        else:
            entry = Entry(fhir.key_of(body), fhir.version_of(body), body)
            participant.add_resource(kind, run.run, entry)
    problems = [Problem(f"{kind}/{id_}", "", "", ABSENT) for id_ in absent]
    if problems:
        participant.add_problems(kind, problems)
    return ""
