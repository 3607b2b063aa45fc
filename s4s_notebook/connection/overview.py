"""The card of a connection: approval, what has been received, and where it is stored."""

from __future__ import annotations

from datetime import UTC, datetime

from ..cards import card
from ..http.origins import split
from ..store.store import Store
from ..wording import count
from .session import Session

_KINDS = {"ImagingStudy": "Studies", "ExplanationOfBenefit": "Claims", "Coverage": "Coverages"}


def connection_card(session: Session, store: Store) -> str:
    """Return the card as HTML; makes no request, and names no patient."""
    stored = "in a private folder that is removed with this connection"
    return card(
        f"Connection to {split(session.base).netloc}",
        [
            ("Holder", session.base),
            ("Approval", f"{session.status}{_until(session)}"),
            *_counts(session, store),
            ("Stored", stored if store.temporary else str(store.root)),
        ],
    )


def _until(session: Session) -> str:
    grant = session.grant
    if grant is None or grant.expires_at is None or session.status != "approved":
        return ""
    until = datetime.fromtimestamp(grant.expires_at, UTC).astimezone()
    then = "renewed then" if grant.refresh_token else "then authorise again"
    return f" until {until:%H:%M} ({until:%Z}), {then}"


def _counts(session: Session, store: Store) -> list[tuple[str, str]]:
    if session.patient is None:
        return []
    participant = session.participant
    facts = []
    for kind, name in _KINDS.items():
        if participant.sync_point(kind) is None:
            facts.append((name, "not requested yet"))
            continue
        number = sum(not gone for _, gone in participant.versions(kind).values())
        whole = "" if participant.is_complete(kind) else ", not complete"
        facts.append((name, f"{number:,}{whole}"))
    files = [store.study(participant, uid) for uid in participant.study_uids()]
    downloaded = count(sum(bool(folder.instances()) for folder in files), "study", "studies")
    return [*facts, ("Downloaded", downloaded)]
