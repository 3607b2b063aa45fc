"""A study on disk: its series in order, read header by header, growing while files arrive."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import MediaStorageDirectoryStorage

from .._viewer import open_viewer
from ..cards import card
from ..errors import DICOMError, InvalidArgument, InvalidDICOM, NotAnImage, OutOfRange
from ..problems import Problem
from ..tracebacks import methods_without_variables, without_variables
from ..wording import count, safe_text
from .attributes import AttributeReader
from .dicom_object import DicomObject
from .instance import Instance
from .reader import PARSE_ERRORS, parse
from .series import Series, arrange
from .structure import DEEPEST
from .structured_report import Report
from .windows import WindowLike

if TYPE_CHECKING:
    import pandas as pd

    from .plot import FrameLike, Picture

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def expand_paths(paths: Paths) -> list[Path]:
    """Return ``paths`` as a list; raise TypeError for what names no file."""
    requested: Any = paths
    if isinstance(requested, str | bytes | os.PathLike) or not isinstance(requested, Iterable):
        requested = [requested]
    total = list(requested)
    for entry in total:
        if not isinstance(entry, str | os.PathLike):
            description = type(entry if isinstance(paths, list | tuple | set) else paths).__name__
            raise InvalidArgument(
                f"A study is read from files and folders, not from {description}."
            )
    return [Path(entry).expanduser() for entry in total]


def listed_files(directory: Instance) -> list[Path]:
    """Return the paths that a DICOMDIR refers to, in its order; none outside of its own folder."""
    if directory.path is None:
        return []
    folder, reader = directory.path.parent, AttributeReader(directory.header())
    listed, _ = parse(lambda: list(_ids(reader)))
    return [_found(folder, entry) for entry in dict.fromkeys(listed)]


def _ids(reader: AttributeReader) -> Iterator[tuple[str, ...]]:
    """Each record's file ID: the folders down to it, and its name."""
    for record in reader.items("DirectoryRecordSequence"):
        value = reader.get("ReferencedFileID", record)
        parts = [value] if isinstance(value, str) else value
        if isinstance(parts, list | MultiValue) and all(map(_is_name, parts)):
            yield tuple(parts)


def _is_name(part: object) -> bool:
    return isinstance(part, str) and part not in ("", ".", "..") and not set(part) & set("/\\\0:")


def _found(folder: Path, parts: tuple[str, ...]) -> Path:
    """Return the path; names copied from a CD are often in small letters."""
    exact = folder.joinpath(*parts)
    small = folder.joinpath(*(part.lower() for part in parts))
    return small if small.exists() and not exact.exists() else exact


@without_variables
def read(paths: Paths, force: bool = False) -> Study:
    """Read DICOM files that one already has.

    ``paths`` is a file, a folder (read with all below it) or an iterable of both; a DICOMDIR
    stands for the files that it lists. Files that are no DICOM are listed in
    ``study.problems``. A file without preamble is read where its header parses to its end; with
    ``force``, others of that kind and files that break off are kept as far as they go.

    Raises InvalidDICOM when nothing can be read, or the error of the one file given; TypeError
    for what names no file.

    >>> from pydicom.data import get_testdata_file
    >>> study = read(get_testdata_file("CT_small.dcm"))
    >>> study.series
    [<Series CT · axial · 1 slice>]
    >>> study.series[0].frames[0].values()[0, :3]  # HU
    array([-849, -844, -858], dtype=int32)
    >>> study.plot(window="lung").alt
    'Medical image: CT, axial, slice 1 of 1. Window lung, center -600, width 1500 HU. 128 x 128 pixels of 0.661 x 0.661 mm.'
    """  # noqa: E501 - doctest shows a text on one line
    requested = expand_paths(paths)
    study = Study(requested, force=force)
    if study.paths:
        return study
    if len(study.errors) == 1:
        raise next(iter(study.errors.values()))
    if study.errors:
        raise InvalidDICOM(f"None of {count(len(study.errors), 'file')} is a DICOM file.")
    where = ", ".join(map(str, requested[:3])) or "nothing"
    raise InvalidDICOM(f"There is no file to read in {where}.", hint="Check the path.")


@methods_without_variables
class Study:
    """DICOM files that belong together. Thread-safe; nothing is decoded before it is shown.

    Attributes:
        errors: files that could not be read, with the error of each.
    """

    def __init__(
        self, paths: Paths = (), *, force: bool = False, later: Iterable[Path] = ()
    ) -> None:
        # Files that are known to be DICOM are read when somebody looks: a thousand headers
        # take longer than their transfer.
        self._later = list(later)
        self._force = force
        self._lock = threading.RLock()
        self._instances: dict[Path, Instance] = {}
        self._series: list[Series] | None = None
        self._watchers: list[Callable[[Study], None]] = []
        self.errors: dict[Path, DICOMError] = {}
        for path in expand_paths(paths):
            self.add(path)

    def add(self, path: str | os.PathLike[str]) -> None:
        """Add a file, or all files below a folder; tells those who watch.

        A file that cannot be read is kept in ``errors`` and does not stop the others.
        A DICOMDIR stands for the files that it lists; within a folder it is passed over.
        """
        [root] = expand_paths(path)
        if root.is_dir():
            for file in sorted(f for f in root.rglob("*") if f.is_file()):
                self._add(file)
        elif (directory := self._add(root)) is not None:
            for file in listed_files(directory):
                self._add(file, named=False)
        with self._lock:
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher(self)

    def _add(self, file: Path, *, named: bool = True) -> Instance | None:
        """File one object; a DICOMDIR is none of the study and is given back."""
        try:
            entry = Instance.from_path(file, force=self._force)
        except DICOMError as error:
            if isinstance(error.__cause__, FileNotFoundError) and named:
                raise  # a wrong path, not a damaged file
            with self._lock:
                self.errors[file] = error
            return None
        if entry.sop_class == MediaStorageDirectoryStorage:
            return entry
        with self._lock:
            self._instances[file] = entry
            self._series = None
        return None

    def _catch_up(self) -> None:
        with self._lock:
            while self._later:
                self._add(self._later.pop(0))

    def watch(self, callback: Callable[[Study], None]) -> Callable[[], None]:
        """Call ``callback(study)`` after each :meth:`add`, on its thread; returns the way out."""
        with self._lock:
            self._watchers.append(callback)

        def stop() -> None:
            with self._lock:
                if callback in self._watchers:
                    self._watchers.remove(callback)

        return stop

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The DICOM objects, in the order they were added."""
        self._catch_up()
        with self._lock:
            return tuple(self._instances.values())

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, in the order they were added."""
        with self._lock:
            return (*self._instances, *self._later)

    @property
    def series(self) -> list[Series]:
        """Series with pictures by number, then objects without; sorted anew as files come."""
        self._catch_up()
        with self._lock:
            if self._series is None:
                self._series = arrange(self._instances.values())
            return list(self._series)

    @property
    def uid(self) -> str:
        """Study Instance UID of the first file, "" while there is none."""
        self._catch_up()
        with self._lock:
            return next((entry.study_uid for entry in self._instances.values()), "")

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that is wrong: files not read, several studies at once, and each series' own."""
        self._catch_up()
        result = [
            Problem(path.name, "", "", safe_text(e.problem)) for path, e in self.errors.items()
        ]
        studies = {entry.study_uid for entry in self.instances}
        if len(studies) > 1:
            why = f"the files belong to {len(studies)} studies"
            result.append(Problem(self.uid, "StudyInstanceUID", "", why))
        return tuple(result + [problem for entry in self.series for problem in entry.problems])

    def plot(
        self,
        series: int | Series | str | None = None,
        frame: FrameLike = None,
        *,
        window: WindowLike = None,
        name: bool = False,
        columns: int | None = None,
        size: float | None = None,
        colorbar: bool = True,
        letters: bool = True,
        scale: bool = True,
        overlays: bool = False,
    ) -> Picture:
        """Draw a series as a matplotlib Figure.

        Args:
            series: which, by number or itself; the one with most pictures by default. A name is
                that of a window, or "montage": ``plot("lung")``, ``plot("montage")``.
            frame: which slice, from 0 (negative counts from the end); a sequence for several;
                "montage" for up to 12 spread evenly; None for the middle one.
            window: "lung", (center, width), 1, "auto", ...; the image's own by default.
            name: True writes the person's name in the title.
            columns: of a montage.
            size: width in inches.
            colorbar: False leaves out the grey scale.
            letters: False leaves out the letters of the edges.
            scale: False leaves out the scale bar.
            overlays: True draws the overlays of the file (groups 60xx).

        Raises NotAnImage when the study has no picture, InvalidArgument (a ValueError) for an
        unknown window, IndexError for a slice that is not there; see also :meth:`Frame.stored`.
        """
        if isinstance(series, str):
            if series.strip().casefold() == "montage":
                series, frame = None, series
            else:
                series, window = None, series
        return self._pick(series).plot(
            frame,
            window=window,
            name=name,
            columns=columns,
            size=size,
            colorbar=colorbar,
            letters=letters,
            scale=scale,
            overlays=overlays,
        )

    def view(
        self,
        *,
        window: WindowLike = None,
        height: int = 480,
        memory: int = 512,
        snapshot: bool = True,
    ) -> Any:
        """Open the interactive viewer; in a notebook, make it a cell's last line.

        Args:
            window: "lung", (center, width), 1, ...: what it opens with; the image's own by default.
            height: of the picture in CSS pixels.
            memory: MiB of slices that the browser keeps.
            snapshot: False leaves the PNG of the first slice out of the notebook.
        """
        return open_viewer(self, window=window, height=height, memory=memory, snapshot=snapshot)

    def tags(self, series: int | Series | None = None) -> pd.DataFrame:
        """All elements of the first object of each series (or of ``series``) as a DataFrame.

        An object whose frames make several stacks is listed once, with the first of them.

        Columns: series (number in ``study.series``), path, tag, vr, name, value (text, shown
        escaped, cut to 200 characters).
        """
        total = self.series
        if series is not None:
            entry = self._pick(series)
            return frame_of([(total.index(entry) if entry in total else 0, entry.instances[0])])
        return frame_of([(at, entry.instances[0]) for at, entry in enumerate(total)])

    def report(self, series: int | Series | None = None) -> Report:
        """Return the structured reports of the study, or of ``series``: text and measurements.

        Print it for the text; ``.measurements`` is a DataFrame.

        Raises:
            NotAnImage: there is no report; the message says what there is.

        >>> from pydicom.data import get_testdata_file
        >>> study = read(get_testdata_file("reportsi.dcm"))
        >>> print(study.report().text.splitlines()[0])
        Document Title
        """
        from .structured_report import report_of

        total = self.series if series is None else [self._pick(series)]
        objects: list[DicomObject] = [e for entry in total for e in entry.instances]
        return report_of(list(dict.fromkeys(objects)), [entry.kind for entry in total])

    def _pick(self, series: int | Series | None) -> Series:
        if isinstance(series, Series):
            return series
        total = self.series
        if series is not None:
            if not isinstance(series, int):
                raise InvalidArgument(
                    f"A {type(series).__name__} is no series.",
                    hint="Write the number of a series, from 0, or one of study.series.",
                )
            if not -len(total) <= series < len(total):
                amount = count(len(total), "series", "series")
                raise OutOfRange(
                    f"There is no series {series}: the study has {amount}.",
                    hint="They are counted from 0; study.series lists them.",
                )
            return total[series]
        pictures = [entry for entry in total if entry.frames]
        if not pictures:
            description = ", ".join(sorted({entry.kind for entry in total})) or "no file"
            raise NotAnImage(f"The study has no picture but: {description}.")
        return max(pictures, key=lambda entry: len(entry.frames))

    @property
    def _title(self) -> str:
        """What one calls it: its description and date, "Study" where the files state neither."""
        first = next(iter(self.instances), None)
        if first is None:
            return "Study"
        reader = AttributeReader(first.header())
        words, _ = parse(lambda: (reader.text("StudyDescription"), reader.text("StudyDate")))
        description, day = words
        if len(day) == 8 and day.isdigit():
            day = f"{day[:4]}-{day[4:6]}-{day[6:]}"
        return safe_text(", ".join(part for part in (description, day) if part) or "Study", 120)

    def __repr__(self) -> str:
        total = self.series
        return f"<Study {count(len(total), 'series', 'series')}, {count(len(self.paths), 'file')}>"

    def _repr_html_(self) -> str:
        total = self.series
        facts = [
            (f"Series {at}", entry.label + (", with problems" if entry.problems else ""))
            for at, entry in enumerate(total[:_MOST_SERIES])
        ]
        more = len(total) - _MOST_SERIES
        facts.append(("", f"and {more} more: study.series") if more > 0 else ("", ""))
        facts += [("Files", f"{len(self.paths):,}"), ("UID", self.uid)]
        pictures = [entry for entry in total if entry.frames]
        largest = max(pictures, key=lambda entry: len(entry.frames), default=None)
        picture = largest.thumbnail() if largest is not None else b""
        alt = f"Middle slice of {largest.label}" if largest is not None else ""
        return card(self._title, facts, picture=picture, alt=alt)


_MOST_SERIES = 12  # in a card
COLUMNS = ["series", "path", "tag", "vr", "name", "value"]
_LONGEST = 200


def frame_of(objects: Iterable[tuple[int, Instance]]) -> pd.DataFrame:
    """Return a DataFrame with one row per element, nested ones with their path."""
    import pandas as pd

    columns: list[list[Any]] = [[] for _ in COLUMNS]
    seen: set[int] = set()
    for series, one in objects:
        if id(one) in seen:
            continue  # the stacks of a file with many frames are of one object
        seen.add(id(one))
        own = one.own_header()
        dataset = one.header() if own is None else own
        parse(partial(_fill, columns, series, dataset, consume=own is not None))
    table = pd.DataFrame({name: columns.pop(0) for name in COLUMNS}, columns=COLUMNS)
    return table.astype({"series": "int64", **dict.fromkeys(COLUMNS[1:], "str")})


def _fill(columns: list[list[Any]], series: int, dataset: Dataset, *, consume: bool) -> None:
    for row in _rows(dataset, consume=consume):
        for column, value in zip(columns, (series, *row), strict=True):
            column.append(value)


def _rows(dataset: Dataset, *, consume: bool) -> Iterator[tuple[str, str, str, str, str]]:
    """Depth first, without recursion, down to ``DEEPEST`` levels.

    With ``consume`` each sequence is taken out of its dataset as it is read: 4,000 frames have
    36,000 datasets, which take far more memory than their file.
    """
    meta = getattr(dataset, "file_meta", None)
    todo: list[tuple[str, Dataset]] = [("", dataset)] + ([("", meta)] if meta else [])
    while todo:
        prefix, one = todo.pop()
        nested: list[tuple[str, Dataset]] = []
        for tag in sorted(one.keys()):
            name, code = _named(tag)
            path = f"{prefix}{name or code}"
            try:
                element = one[tag]
                vr, value, title = element.VR, element.value, element.name
            except PARSE_ERRORS as error:
                yield path, code, "", name, f"unreadable ({type(error).__name__})"
                continue
            if vr == "SQ" and value is not None and prefix.count("].") < DEEPEST:
                nested += [(f"{path}[{at}].", item) for at, item in enumerate(value)]
            if vr == "SQ" and consume:
                del one[tag]
            yield (
                path,
                code,
                sys.intern(str(vr)),
                sys.intern(safe_text(title, 64)),
                _text(vr, value),
            )
        todo += reversed(nested)


@lru_cache(maxsize=4096)
def _named(tag: int) -> tuple[str, str]:
    """Return the keyword of a tag, "" without one, and the tag as in "(0008,0018)"."""
    return keyword_for_tag(tag), f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _text(vr: str, value: Any) -> str:
    if vr == "SQ":
        return f"{len(value or ())} items"
    if value is None:
        return ""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, MultiValue | list):
        return safe_text("\\".join(str(part) for part in list(value)[:_LONGEST]), _LONGEST)
    return safe_text(value, _LONGEST)
