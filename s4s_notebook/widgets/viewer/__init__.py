"""The interactive viewer in a notebook: ``study.view()``.

The browser holds the pixels and pulls them slice by slice through custom messages; scrolling,
window and level, zoom and measuring then ask the kernel nothing. Nothing that is saved with a
notebook holds pixels or names: the widget's traits are its height and its memory limit, and
the picture that a saved notebook shows is one PNG of the first slice beside it.
"""

from __future__ import annotations

import base64
import html
import io
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import anywidget
import traitlets
from IPython.display import display
from PIL import Image

from ...errors import S4SError
from ...imaging.frame import Frame
from ...imaging.grey_levels import shown
from ...imaging.study import Study
from ...imaging.windows import WindowLike
from ..bundle import link, style
from ..comm import leave_thread_to_front_end
from .pictures import Pictures

#: Where the kernel that made a widget is gone, JupyterLab writes "model not found" in its place:
#: this takes that line away, but not a viewer (which has elements in it) nor any other output.
_STILL = (
    "<style>.jp-OutputArea-child:has(> .jupyter-widgets):not(:has(.jupyter-widgets *))"
    ":has(+ .jp-OutputArea-child .s4s-snapshot){display:none}</style>"
)
SNAPSHOT = 512  # pixels, the longer side at most
HEAVIEST = 300_000  # bytes


class GrowingStudy(Protocol):
    """A download that reports each file as soon as it is stored."""

    def on_instance(self, callback: Callable[[Any], None]) -> Any:
        """Call ``callback`` with the path of each file that is stored."""

    def done(self) -> bool:
        """Return whether the download has ended."""
        ...


class Viewer(anywidget.AnyWidget):
    """The viewer of one study; make it a cell's last line to show it.

    Attributes:
        height: of the picture, in CSS pixels.
        memory: MiB of slices that the browser stores at most.
    """

    _esm = link("viewer/viewer.js")
    _css = style("viewer/viewer.css")
    height = traitlets.Int(480, min=120).tag(sync=True)
    memory = traitlets.Int(512, min=16).tag(sync=True)

    def __init__(self, pictures: Pictures, *, snapshot: bool = True, **options: Any) -> None:
        self._pictures = pictures
        self._snapshot = snapshot
        self._answers: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
            "hello": lambda _: {"free": threading.current_thread() is not threading.main_thread()},
            "study": lambda request: pictures.study(request.get("have")),
            "slice": lambda a: pictures.slice(str(a["series"]), str(a["plane"]), str(a["key"])),
            "thumbnail": lambda request: pictures.thumbnail(str(request["series"])),
            "names": lambda request: pictures.names(str(request["series"])),
        }
        super().__init__(**options)
        self.on_msg(self._receive)
        leave_thread_to_front_end(self)

    def _receive(self, _widget: object, content: Mapping[str, Any], _buffers: object) -> None:
        """Answer one request of the browser, on the thread that the kernel gives us."""
        answer = self._answers.get(str(content.get("ask")))
        if answer is None:
            return
        message: dict[str, Any] = {"error": "The kernel could not make this picture."}
        buffers: list[memoryview] = []
        try:
            result = answer(content)
            message, buffers = result if isinstance(result, tuple) else (result, [])
        except (S4SError, OSError, MemoryError) as error:
            message = {"error": str(error) or type(error).__name__}
        finally:
            self.send({**message, "id": content.get("id")}, buffers)

    def __repr__(self) -> str:
        first = self._pictures.first()
        return f"<Viewer {first.label if first else 'of no image yet'}>"

    def _ipython_display_(self) -> None:
        """Show the widget, then one PNG of the first slice for where there is no kernel.

        Two outputs, because JupyterLab takes the widget of one that has both, even when its
        kernel is gone. viewer.css hides the picture as long as the viewer is answered.
        """
        data, metadata = self._repr_mimebundle_() or ({"text/plain": repr(self)}, {})
        picture = self._picture()
        # The empty HTML: nbconvert, which has no live widget, then shows the picture alone.
        if picture:
            data = {**data, "text/html": ""}
        # IPython does not annotate display().
        display(data, metadata=metadata, raw=True)  # type: ignore[no-untyped-call]
        if picture:
            display(picture[0], metadata=picture[1], raw=True)  # type: ignore[no-untyped-call]

    def _picture(self) -> tuple[dict[str, str], dict[str, Any]] | None:
        first = self._pictures.first() if self._snapshot else None
        if first is None:
            return None
        try:
            image = base64.b64encode(png(first, self._pictures.first_range())).decode()
        except S4SError:
            return None  # no picture of it can be made; the viewer itself says why
        alt = f"First slice: {first.label}"
        words = html.escape(alt)
        source = f"data:image/png;base64,{image}"
        page = f'{_STILL}<img class="s4s-snapshot" alt="{words}" src="{source}">'
        data = {"image/png": image, "text/html": page, "text/plain": alt}
        return data, {"image/png": {"alt": alt}}


def png(frame: Frame, window: Any = None) -> bytes:
    """Return a frame, at its default window, as PNG: square pixels, at most 512 a side and 300 kB.

    A notebook stores it twice, in base64, and shall stay below a megabyte.
    """
    image = Image.fromarray(shown(frame, window))
    width, height = float(frame.columns), frame.rows * frame.aspect
    side = min(SNAPSHOT, max(width, height))
    while True:
        factor = side / max(width, height)
        size = (max(round(width * factor), 1), max(round(height * factor), 1))
        file = io.BytesIO()
        (image if size == image.size else image.resize(size)).save(file, "PNG", optimize=True)
        if len(file.getvalue()) <= HEAVIEST:
            return file.getvalue()
        side *= 0.8


def view(
    study: Study | GrowingStudy,
    *,
    window: WindowLike = None,
    snapshot: bool = True,
    height: int = 480,
    memory: int = 512,
) -> Viewer:
    """Open the viewer on a study, or on a download whose slices then appear as they come.

    Args:
        study: A study, or a download of one.
        window: What it opens with, as for ``plot``; the image's own by default.
        snapshot: Whether a saved notebook shows a PNG of the first slice.
        height: Height of the picture in CSS pixels.
        memory: MiB of slices that the browser stores at most.

    Raises:
        InvalidArgument: No series of the study has this window.
    """
    options: dict[str, Any] = {"snapshot": snapshot, "height": height, "memory": memory}
    if isinstance(study, Study):
        return Viewer(Pictures(study, window=window), **options)
    download, stored = study, Study()
    download.on_instance(stored.add)
    return Viewer(Pictures(stored, growing=lambda: not download.done(), window=window), **options)
