"""The pictures of a DICOM file, made in a process of its own.

A file from anywhere may crash a codec or ask for all memory; the Jupyter server must not be
what dies of it, nor wait for it.
"""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..widgets.viewer_pictures import Pictures

PATIENCE = 60.0  # seconds for one picture


class PictureMaker:
    """Answers the viewer's questions (see ``viewer_panel.js``) about files on this machine."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def answer(self, path: str, version: int, asked: dict[str, str]) -> bytes:
        """Return one answer as bytes: the length of its JSON (4, big-endian), JSON, buffers.

        Raises:
            BrokenProcessPool: the file killed the process; the next question gets a new one.
            TimeoutError: no answer in time.
        """
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        loop = asyncio.get_running_loop()
        try:
            job = loop.run_in_executor(self._pool, _answer, path, version, asked)
            return await asyncio.wait_for(job, PATIENCE)
        except (BrokenProcessPool, TimeoutError):
            self.close()
            raise

    def close(self) -> None:
        """End the process; one that hangs is killed."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        for process in list(getattr(pool, "_processes", None) or {}):
            pool._processes[process].kill()
        pool.shutdown(wait=False, cancel_futures=True)


def _answer(path: str, version: int, asked: dict[str, str]) -> bytes:
    """Run in the child."""
    from ..errors import S4SError

    buffers: list[memoryview] = []
    try:
        message, buffers = _ask(_pictures(path, version), asked)
    except (S4SError, OSError, MemoryError) as error:
        message = {"error": str(error) or type(error).__name__}
    head = json.dumps({**message, "sizes": [view.nbytes for view in buffers]}).encode()
    return b"".join([len(head).to_bytes(4, "big"), head, *buffers])


def _ask(pictures: Pictures, asked: dict[str, str]) -> tuple[dict[str, Any], list[memoryview]]:
    match asked["ask"]:
        case "study":
            return pictures.study(asked.get("have")), []
        case "slice":
            return pictures.slice(asked["series"], asked["plane"], asked["key"])
        case "thumbnail":
            return pictures.thumbnail(asked["series"])
        case _:
            return pictures.names(asked["series"]), []


@lru_cache(maxsize=4)
def _pictures(path: str, _version: int) -> Pictures:
    from ..imaging import read
    from ..widgets.viewer_pictures import Pictures

    return Pictures(read([path], force=True))
