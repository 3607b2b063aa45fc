"""The data of a viewer as plain messages and bytes, independent of their transport.

The four requests of ``panel.js``: which series there are (:meth:`Pictures.study`),
one slice (:meth:`Pictures.slice`), a small picture (:meth:`Pictures.thumbnail`), and the names,
which leave this process only on a person's request (:meth:`Pictures.names`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from ...errors import DICOMError, InvalidArgument, NotAnImage
from ...imaging.frame import Frame
from ...imaging.geometry import edges
from ...imaging.grey_levels import choose, measured, shown
from ...imaging.series import Series
from ...imaging.study import Study
from ...imaging.windows import Array, Choice, Table, Window, WindowLike, spread
from ...wording import count, safe_text
from .planes import Cuts

Answer = tuple[dict[str, Any], list[memoryview]]
THUMBNAIL = 96  # pixels, the longer side at most
NAMES = {
    "PatientName": "Name",
    "PatientID": "ID",
    "PatientBirthDate": "Born",
    "PatientSex": "Sex",
    "AccessionNumber": "Accession",
    "InstitutionName": "At",
}


class Pictures:
    """The pictures of a study, which may still grow while ``growing()`` is true. Thread-safe.

    Series, planes and slices are known to the browser by short keys that stay the same while
    more files come; no UID and no name is in them.
    """

    def __init__(
        self,
        study: Study,
        growing: Callable[[], bool] = lambda: False,
        window: WindowLike = None,
    ) -> None:
        self._study = study
        self._window = window
        series = [one for one in study.series if one.frames] if window is not None else []
        if series and not any(map(self._opens, series)):
            choose(series[0].frames[0], window)  # raises, and lists the windows that there are
        self._growing = growing
        self._lock = threading.RLock()
        self._numbers: dict[Hashable, str] = {}
        self._series: dict[str, Series] = {}
        self._frames: dict[str, Frame] = {}
        self._burned: dict[str, bool] = {}
        self._cuts = Cuts()

    def study(self, have: str | None = None) -> dict[str, Any]:
        """Return the series with their slices, or ``{"unchanged": True}``."""
        with self._lock:
            growing = self._growing()  # before the series: what comes later is then asked for
            version = f"{len(self._study.instances)}/{len(self._study.errors)}/{growing}"
            if version == have:
                return {"unchanged": True}
            all_series = self._study.series
            stacks = [stack for item in all_series if item.frames for stack in item.stacks]
            entries = [self._describe(stack, growing) for stack in stacks]
            return {
                "version": version,
                "growing": growing,
                "note": self._note(all_series, growing),
                "series": entries,
            }

    def slice(self, series: str, plane: str, key: str) -> Answer:
        """Return one slice: stored values (or RGB), and what showing and measuring need.

        Raises:
            NotAnImage: A key is not part of the study; and what ``Frame.stored`` raises.
        """
        with self._lock:
            stack = self._existing(self._series, series)
            frame = self._existing(self._frames, key) if plane == "stack" else None
        if frame is None:
            return self._cut(stack, plane, int(key))
        label = [frame_number(frame), axis_position(frame)]
        text = "\n".join(part for part in label if part)
        return packed(*described(frame, text, None if self._growing() else stack.grey_range))

    def _cut(self, series: Series, plane: str, index: int) -> Answer:
        """Return one slice of a plane that the series was not acquired in."""
        frame, description, pixels = self._cuts.cut(series, plane, index)
        buffers: list[Array] = []
        message = {**scale(frame, frame.windows, buffers), **description}
        whole = series.grey_range or spread(pixels)
        return packed({**message, "whole": window(whole, [])}, pixels, buffers)

    def thumbnail(self, series: str) -> Answer:
        """Return the middle slice of a series as grey levels or RGB, at most 96 pixels a side."""
        with self._lock:
            stack = self._existing(self._series, series)
        picture = shown(stack.frames[len(stack.frames) // 2])
        step = max(1, -(-max(picture.shape[:2]) // THUMBNAIL))
        return packed({}, picture[::step, ::step])

    def names(self, series: str) -> dict[str, Any]:
        """Return the names and other identifiers: ``{"names": [[label, text], …]}``."""
        with self._lock:
            header = self._existing(self._series, series).instances[0].header()
        found = [(label, header.get(keyword)) for keyword, label in NAMES.items()]
        return {"names": [[label, safe_text(text, 64)] for label, text in found if text]}

    def first(self) -> Frame | None:
        """Return the slice that a viewer opens on, None while there is none."""
        return next((item.frames[0] for item in self._study.series if item.frames), None)

    def first_range(self) -> Choice | None:
        """Return the window that was asked for, else that of the series where its file has none."""
        first = next((item for item in self._study.series if item.frames), None)
        if first is not None and self._opens(first):
            return choose(first.frames[0], self._window)
        return first.stacks[0].grey_range if first and not self._growing() else None

    def _opens(self, series: Series) -> dict[str, Any]:
        """Return how the browser first looks at a series; {} for its own window."""
        if self._window is None or series.frames[0].color:
            return {}
        frame = series.frames[0]
        try:
            choice = choose(frame, self._window)
        except (InvalidArgument, DICOMError):  # a window of another series
            return {}
        at = next((at for at, own in enumerate(frame.windows) if own is choice), None)
        if at is not None:
            return {"choice": f"file:{at}"}
        if not isinstance(choice, Window):
            return {}
        preset = isinstance(self._window, str) and choice.name in series.window_choices
        name = f"preset:{choice.name}" if preset else "custom"
        return {"choice": name, "window": window(choice, [])}

    def _existing(self, items: Mapping[str, Any], key: str) -> Any:
        try:
            return items[key]
        except KeyError:
            raise NotAnImage("This picture is no longer part of the study.") from None

    def _number(self, name: Hashable) -> str:
        return self._numbers.setdefault(name, str(len(self._numbers)))

    def _describe(self, series: Series, growing: bool) -> dict[str, Any]:
        key = self._number(series.key)
        self._series[key] = series
        ids = []
        for frame in series.frames:
            source = frame.instance.path or id(frame.instance)
            ids.append(self._number((source, frame.index)))
            self._frames[ids[-1]] = frame
        number = series.instances[0].series_number
        title = " · ".join(
            part for part in (f"{number:g}" if number is not None else "", series.modality) if part
        )
        time = series.frame_time
        own = {"key": "stack", "name": series.plane.capitalize() or "Images", "ids": ids}
        return {
            "key": key,
            "title": title or "Series",
            "detail": self._detail(series, key),
            "modality": series.modality,
            "rate": 1000 / time if time else None,
            "presets": presets(series),
            "opens": self._opens(series),
            "planes": [own, *([] if growing else self._cuts.planes(series))],
        }

    def _detail(self, series: Series, key: str) -> str:
        lines = [series.description, series.part]
        if key not in self._burned:
            burned = series.instances[0].header().get("BurnedInAnnotation")
            self._burned[key] = str(burned).strip().upper() == "YES"
        if self._burned[key]:
            lines.append("names may be part of the picture")
        return "\n".join(line for line in lines if line)

    def _note(self, all_series: list[Series], growing: bool) -> str:
        if growing:
            return f"{count(len(self._study.instances), 'file')} so far …"
        parts = sorted({item.kind for item in all_series if not item.frames})
        problems = self._study.problems
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            parts.append(f"{problems[0].why}{more}")
        return safe_text("; ".join(parts), 200)


def presets(series: Series) -> list[dict[str, Any]]:
    """Return windows by name that are not the file's own."""
    own = {id(choice) for frame in series.frames for choice in frame.windows}
    return [
        {**window(choice, []), "name": name}
        for name, choice in series.window_choices.items()
        if id(choice) not in own
    ]


def window(choice: Choice, buffers: list[Array]) -> dict[str, Any]:
    """Return a window as the browser has it; a table's entries are appended to ``buffers``."""
    if isinstance(choice, Window):
        return {
            "center": choice.center,
            "width": choice.width,
            "rule": choice.function,
            "label": choice.name,
        }
    return table(choice, buffers)


def table(lookup: Table, buffers: list[Array]) -> dict[str, Any]:
    """Return a lookup table as the browser has it: its entries are ``buffers[buffer]``."""
    buffers.append(np.asarray(lookup.entries, "<f8"))
    return {
        "buffer": len(buffers),
        "first": lookup.first,
        "bits": lookup.bits,
        "label": lookup.name,
    }


def described(
    frame: Frame, label: str, whole: Choice | None = None
) -> tuple[dict[str, Any], Array, list[Array]]:
    """Return a frame's description for the browser, its pixels, and the tables they refer to.

    ``whole`` is the window from smallest to largest, by default that of the frame alone.
    """
    geometry = {
        "spacing": frame.spacing,
        "scales": [asdict(scale) for scale in frame.scales],
        "aspect": frame.aspect,
        "position": frame.position,
        "orientation": frame.orientation,
        "edges": edges(frame),
        "label": label,
    }
    if frame.color:
        return {**geometry, "windows": []}, shown(frame), []
    buffers: list[Array] = []
    grey = scale(frame, frame.windows, buffers)
    grey["whole"] = window(whole or measured(frame), [])
    return {**geometry, **grey, "quantities": quantities(frame)}, frame.stored(), buffers


def quantities(frame: Frame) -> list[dict[str, Any]]:
    """Return the linear mappings to one physical quantity; none where there are several."""
    maps = [entry for entry in frame.real_world if entry.table is None]
    if len({(entry.unit, entry.label) for entry in frame.real_world}) != 1:
        return []
    keys = ("first", "last", "slope", "intercept", "unit")
    return [{key: getattr(entry, key) for key in keys} for entry in maps]


def scale(frame: Frame, windows: tuple[Choice, ...], buffers: list[Array]) -> dict[str, Any]:
    """Return the grey scale of a frame: from stored value to unit, and its windows."""
    return {
        "slope": frame.slope,
        "intercept": frame.intercept,
        "modality": None if frame.table is None else table(frame.table, buffers),
        "unit": frame.unit,
        "inverse": frame.photometric == "MONOCHROME1",
        "padding": None if frame.padding is None else list(frame.padding),
        "windows": [window(choice, buffers) for choice in windows],
    }


def packed(description: dict[str, Any], pixels: Array, tables: list[Array] | None = None) -> Answer:
    """Return ``pixels`` as little-endian bytes, their kind and shape in the message."""
    kind = "rgb" if pixels.ndim == 3 else pixels.dtype.name
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize == 8:
        pixels, kind = pixels.astype(np.float64), "float64"
    message = {**description, "type": kind, "rows": pixels.shape[0], "columns": pixels.shape[1]}
    arrays = [pixels, *(tables or [])]
    return message, [
        np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data.cast("B")
        for array in arrays
    ]


def frame_number(frame: Frame) -> str:
    """Return a label such as ``Image 12`` or ``Frame 3 of 20``."""
    if frame.instance.count > 1:
        return f"Frame {frame.index + 1} of {frame.instance.count}"
    return "" if frame.instance.number is None else f"Image {frame.instance.number:g}"


def axis_position(frame: Frame) -> str:
    """Return the position along the body axis that a slice cuts: ``z -12.5 mm``."""
    if frame.position is None or frame.orientation is None:
        return ""
    normal = np.cross(frame.orientation[:3], frame.orientation[3:])
    axis = int(np.argmax(np.abs(normal)))
    return f"{'xyz'[axis]} {frame.position[axis]:.1f} mm".replace("-", "\N{MINUS SIGN}")
