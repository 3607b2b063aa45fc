"""Keeps pydicom from logging what it also says as a warning: its words quote patients' values."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Quiet(logging.Filter):
    """Drops what the thread that parses would log; other users of pydicom keep their log."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread != self._thread


@contextmanager
def quiet() -> Iterator[None]:
    """Within it, nothing that pydicom says in this thread reaches a log."""
    log, silence = logging.getLogger("pydicom"), _Quiet()
    log.addFilter(silence)
    try:
        yield
    finally:
        log.removeFilter(silence)
