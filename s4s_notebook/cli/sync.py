"""`s4s sync`: the periodic-update of everybody in a store, for a timer to start.

Sync for Science, imaging data use case, *periodic-update*: narrow and frequent; ``full`` repeats
the broad query, which shows what is no longer served. The output holds numbers only, so that it
may go into a log; only an error names its request.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from .._connect import refuse_on_binder
from ..connection.connection import Connection
from ..errors import AuthorizationError, S4SError, StoreError
from ..smart.token_store import KeyringTokenStore
from ..store.participant import Participant
from ..store.store import Store
from ..task import TaskState
from ..wording import clock, count

if TYPE_CHECKING:
    from ..imaging import Study

_AGAIN = (
    "No approval that holds is kept here. Approve anew in a notebook: "
    "s4s.connect(url, store=..., remember=True)."
)


def sync(root: str | Path, *, images: bool = False, full: bool = False) -> int:
    """Update every participant of a store; an error of one does not stop the others.

    Args:
        root: the folder that ``connect(store=...)`` was given.
        images: fetch the studies that are not here yet, too.
        full: ask for everything again, and note what is no longer served.

    Returns:
        How many participants were not brought up to date.

    Raises:
        StoreError: there is no such folder.
        UntrustedOrigin: this is Binder, where real holders are refused.
    """
    path = Path(root)
    if not path.is_dir():
        hint = "Give the folder that s4s.connect(store=...) was given."
        raise StoreError(f"There is no store at {path}.", hint=hint)
    refuse_on_binder()
    failed = 0
    with Store(path) as store:
        everybody = [
            (participant.holder, participant.patient) for participant in store.iter_participants()
        ]
        for number, (holder, patient) in enumerate(everybody, 1):
            label = f"{number} of {len(everybody)}, {holder}"
            try:
                summary = _sync_participant(
                    store, store.participant(holder, patient), label, images, full
                )
            except S4SError as error:
                failed += 1
                print(f"{label}: {error}", file=sys.stderr, flush=True)
            else:
                print(f"{label}: {summary}", flush=True)
    people = count(len(everybody), "participant")
    print(f"{people}, {f'{failed} not up to date' if failed else 'all up to date'}")
    return failed


def _sync_participant(
    store: Store, participant: Participant, label: str, images: bool, full: bool
) -> str:
    """Update one participant; return a summary of what was received."""
    approvals = store.remembered(participant.holder, participant.patient)
    keyring = bool(approvals) and isinstance(approvals[0], KeyringTokenStore)
    with Connection(
        participant.holder,
        patient=participant.patient,
        client_id=approvals[0].key[1] or None if approvals else None,
        store=store,
        remember=(True if keyring else "file") if approvals else False,
        display=lambda work: work.subscribe(_show_wait(label)),
    ) as me:
        try:
            summary = _changes(me, full)
            return f"{summary}; {_images(me)}" if images else summary
        except AuthorizationError as error:
            error.hint = _AGAIN
            raise


def _changes(me: Connection, full: bool) -> str:
    counts = me.update(full=full)["change"].value_counts()
    changes = [f"{counts[kind]:,} {kind}" for kind in ("new", "changed", "gone") if kind in counts]
    return ", ".join(changes) or "nothing new"


def _images(me: Connection) -> str:
    """Download all studies that may be available; those in the store cost no request."""
    studies = me.studies()
    downloadable = studies[studies["downloadable"].fillna(value=True)]
    downloaded = cast(
        "list[Study]", me.download(downloadable).result() if len(downloadable) else []
    )
    files = sum(len(study.paths) for study in downloaded)
    return f"{count(len(downloaded), 'study', 'studies')} here, {count(files, 'file')}"


def _show_wait(label: str) -> Callable[[TaskState], None]:
    """Return a subscriber that prints each wait for a holder once."""
    printed: set[tuple[str | None, int]] = set()

    def print_wait(state: TaskState) -> None:
        wait = (state.study_uid, state.attempt)
        if state.phase == "waiting" and state.seconds_left is not None and wait not in printed:
            printed.add(wait)
            remaining = clock(state.seconds_left)
            print(f"{label}: the holder asks to come back in {remaining}", flush=True)

    return print_wait
