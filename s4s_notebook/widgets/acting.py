"""What a press in a panel does, on a thread of its own: the holder may take its time."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable

from ..errors import S4SError


def in_thread(work: Callable[[], None]) -> None:
    """Run on a thread that writes to the output of the cell that we are in."""
    run = contextvars.copy_context().run
    threading.Thread(target=run, args=(work,), name="s4s panel", daemon=True).start()


def act(action: Callable[[], None], tell: Callable[[str], None]) -> None:
    """Do what was pressed; ``tell`` is given the words of an error."""

    def work() -> None:
        try:
            action()
        except S4SError as error:
            tell(str(error))
        except Exception as error:  # noqa: BLE001 - on a thread, only the panel can tell
            tell(f"That failed: {type(error).__name__}.")

    in_thread(work)
