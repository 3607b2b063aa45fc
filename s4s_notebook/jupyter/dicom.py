"""``s4s/dicom``: what the viewer shows of a DICOM file that is opened by double-click.

Files are decoded in a process of its own: a file from anywhere may crash a codec or exhaust the
memory, and must neither end nor block the Jupyter server.
"""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import ApiPath, ensure_async, to_os_path
from tornado.web import HTTPError, authenticated

if TYPE_CHECKING:
    from ..widgets.viewer.pictures import Pictures

DECODE_TIMEOUT = 60.0  # seconds for one picture
_PARAMETERS = ("have", "series", "plane", "key")


class DicomReader:
    """Answers the viewer's requests (see ``viewer/panel.js``) about files on this machine."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def answer(self, path: str, version: int, request: dict[str, str]) -> bytes:
        """Return one answer as bytes: the length of its JSON (4, big-endian), JSON, buffers.

        Raises:
            BrokenProcessPool: the file ended the process; the next request gets a new one.
            TimeoutError: no answer in time.
        """
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        loop = asyncio.get_running_loop()
        try:
            job = loop.run_in_executor(self._pool, _answer, path, version, request)
            return await asyncio.wait_for(job, DECODE_TIMEOUT)
        except (BrokenProcessPool, TimeoutError):
            self.close()
            raise

    def close(self) -> None:
        """End the process, also one that hangs."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        for process in list(getattr(pool, "_processes", None) or {}):
            pool._processes[process].kill()
        pool.shutdown(wait=False, cancel_futures=True)


class DicomHandler(APIHandler):
    """Answers ``GET s4s/dicom/<study|slice|thumbnail|names>?path=…`` with one binary message."""

    auth_resource = "contents"

    def initialize(self, reader: DicomReader) -> None:
        """Take the reader that all requests share."""
        self._reader = reader

    @authenticated
    @authorized
    async def get(self, kind: str) -> None:
        """Answer one request of the viewer about a file below the server's root."""
        path = self.get_query_argument("path").strip("/")
        contents: Any = self.contents_manager
        # This also refuses what lies outside the server's root.
        if not await ensure_async(contents.file_exists(path)):
            raise HTTPError(404, "There is no such file.")
        root = getattr(contents, "root_dir", "")
        if not root:
            raise HTTPError(501, "The viewer reads only files on this machine.")
        file = Path(to_os_path(ApiPath(path), root))
        request = {"ask": kind} | {
            name: value for name in _PARAMETERS if (value := self.get_query_argument(name, None))
        }
        try:
            answer = await self._reader.answer(str(file), file.stat().st_mtime_ns, request)
        except KeyError as error:
            raise HTTPError(400, f"{error.args[0]} is missing.") from None
        except BrokenProcessPool:
            raise HTTPError(502, "This file makes the decoder crash.") from None
        except TimeoutError:
            raise HTTPError(504, "This file takes too long to decode.") from None
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(answer)


def _answer(path: str, version: int, request: dict[str, str]) -> bytes:
    """Return the packed answer; runs in the child process."""
    from ..errors import S4SError

    buffers: list[memoryview] = []
    try:
        message, buffers = _pictures_of(_open_pictures(path, version), request)
    except (S4SError, OSError, MemoryError) as error:
        message = {"error": str(error) or type(error).__name__}
    head = json.dumps({**message, "sizes": [view.nbytes for view in buffers]}).encode()
    return b"".join([len(head).to_bytes(4, "big"), head, *buffers])


def _pictures_of(
    pictures: Pictures, request: dict[str, str]
) -> tuple[dict[str, Any], list[memoryview]]:
    match request["ask"]:
        case "study":
            return pictures.study(request.get("have")), []
        case "slice":
            return pictures.slice(request["series"], request["plane"], request["key"])
        case "thumbnail":
            return pictures.thumbnail(request["series"])
        case _:
            return pictures.names(request["series"]), []


@lru_cache(maxsize=4)
def _open_pictures(path: str, _version: int) -> Pictures:
    from ..imaging import read
    from ..widgets.viewer.pictures import Pictures

    return Pictures(read([path], force=True))
