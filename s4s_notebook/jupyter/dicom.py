"""``s4s/dicom``: what the viewer shows of a DICOM file that is opened by double-click."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import ApiPath, ensure_async, to_os_path
from tornado.web import HTTPError, authenticated

from .pictures import PictureMaker

_ASKED = ("have", "series", "plane", "key")


class DicomHandler(APIHandler):
    """Answers ``GET s4s/dicom/<study|slice|thumbnail|names>?path=…`` with one binary message."""

    auth_resource = "contents"

    def initialize(self, maker: PictureMaker) -> None:
        self._maker = maker

    @authenticated
    @authorized
    async def get(self, ask: str) -> None:
        path = self.get_query_argument("path").strip("/")
        contents: Any = self.contents_manager
        # This also refuses what lies outside the server's root.
        if not await ensure_async(contents.file_exists(path)):
            raise HTTPError(404, "There is no such file.")
        root = getattr(contents, "root_dir", "")
        if not root:
            raise HTTPError(501, "The viewer reads only files on this machine.")
        file = Path(to_os_path(ApiPath(path), root))
        asked = {"ask": ask} | {
            name: value for name in _ASKED if (value := self.get_query_argument(name, None))
        }
        try:
            answer = await self._maker.answer(str(file), file.stat().st_mtime_ns, asked)
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
