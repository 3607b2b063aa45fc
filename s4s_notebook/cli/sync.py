"""`s4s sync`: the periodic-update of everybody in a store, for a timer to start.

Sync for Science, imaging data use case, *periodic-update*: narrow and frequent; ``full`` repeats
the broad query, which shows what is no longer served. What came is told in numbers, so that it
may go into a log; only an error names its request.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from .._connect import refuse_on_binder
from ..connection import Connection
from ..errors import AuthorizationError, S4SError, StoreError
from ..smart.token_store import KeyringTokenStore
from ..store import Participant, Store
from ..task import TaskState
from ..wording import clock
from ..wording import count as counted

if TYPE_CHECKING:
    from ..imaging import Study

_AGAIN = (
    "No approval that holds is kept here. Approve anew in a notebook: "
    "s4s.connect(url, store=..., remember=True)."
)


def sync(root: str | Path, *, images: bool = False, full: bool = False) -> int:
    """Update every participant of a store; one's trouble does not stop the others.

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
        everybody = [(who.holder, who.patient) for who in store.iter_participants()]
        for number, (holder, patient) in enumerate(everybody, 1):
            place = f"{number} of {len(everybody)}, {holder}"
            try:
                told = _one(store, store.participant(holder, patient), place, images, full)
            except S4SError as error:
                failed += 1
                print(f"{place}: {error}", file=sys.stderr, flush=True)
            else:
                print(f"{place}: {told}", flush=True)
    people = counted(len(everybody), "participant")
    print(f"{people}, {f'{failed} not up to date' if failed else 'all up to date'}")
    return failed


def _one(store: Store, who: Participant, place: str, images: bool, full: bool) -> str:
    """Update one participant; says what came."""
    kept = store.remembered(who.holder, who.patient)
    keyring = bool(kept) and isinstance(kept[0], KeyringTokenStore)
    with Connection(
        who.holder,
        patient=who.patient,
        client_id=kept[0].key[1] or None if kept else None,
        store=store,
        remember=(True if keyring else "file") if kept else False,
        display=lambda work: work.subscribe(_show_wait(place)),
    ) as me:
        try:
            told = _changes(me, full)
            return f"{told}; {_images(me)}" if images else told
        except AuthorizationError as error:
            error.hint = _AGAIN
            raise


def _changes(me: Connection, full: bool) -> str:
    counts = me.update(full=full)["change"].value_counts()
    said = [f"{counts[what]:,} {what}" for what in ("new", "changed", "gone") if what in counts]
    return ", ".join(said) or "nothing new"


def _images(me: Connection) -> str:
    """Fetch what can be, or may be, downloaded; what is here already costs no request."""
    studies = me.studies()
    wanted = studies[studies["downloadable"].fillna(value=True)]
    came = cast("list[Study]", me.download(wanted).result() if len(wanted) else [])
    files = sum(len(study.paths) for study in came)
    return f"{counted(len(came), 'study', 'studies')} here, {counted(files, 'file')}"


def _show_wait(place: str) -> Callable[[TaskState], None]:
    """Tells once of each time that a holder asks to come back later."""
    told: set[tuple[str | None, int]] = set()

    def tell(state: TaskState) -> None:
        mark = (state.study_uid, state.attempt)
        if state.phase == "waiting" and state.seconds_left is not None and mark not in told:
            told.add(mark)
            left = clock(state.seconds_left)
            print(f"{place}: the holder asks to come back in {left}", flush=True)

    return tell
