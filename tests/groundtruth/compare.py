"""Every image of pydicom's package and of pydicom-data beside what others make of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import data_store
import numpy as np
import pydicom

from s4s_notebook.errors import DICOMError, InvalidDICOM
from s4s_notebook.imaging import Frame, Window, render
from s4s_notebook.imaging.instance import Instance

from . import oracles

ROOTS = (Path(pydicom.__file__).parent / "data", Path(data_store.__file__).parent)
NO_DATA = {".py", ".pyc", ".json", ".txt", ".md"}
J2K = "1.2.840.10008.1.2.4.9"
NARROW = (1, 2, 7, 33, 301)

#: DCMTK cannot read these, or misreads them; the same picture stands in another file that it can.
TWINS = {
    "MR_small_jp2klossless.dcm": "MR_small.dcm",
    "693_J2KR.dcm": "693_UNCR.dcm",
    "MR2_J2KR.dcm": "MR2_UNCR.dcm",
    "RG1_J2KR.dcm": "RG1_UNCR.dcm",
    "RG3_J2KR.dcm": "RG3_UNCR.dcm",
    "US1_J2KR.dcm": "US1_UNCR.dcm",
    "emri_small_jpeg_2k_lossless.dcm": "emri_small.dcm",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "emri_small.dcm",
    "OBXXXX1A_expb.dcm": "OBXXXX1A.dcm",
    "OBXXXX1A_expb_2frame.dcm": "OBXXXX1A_2frame.dcm",
    "rtdose_expb.dcm": "rtdose.dcm",
    "rtdose_expb_1frame.dcm": "rtdose_1frame.dcm",
    "SC_rgb_jpeg.dcm": "SC_rgb_jpeg_dcmd.dcm",
    "SC_rgb_32bit.dcm": "SC_rgb_rle_32bit.dcm",
    "SC_rgb_32bit_2frame.dcm": "SC_rgb_rle_32bit_2frame.dcm",
    "SC_rgb_expb_32bit.dcm": "SC_rgb_rle_32bit.dcm",
    "SC_rgb_expb_32bit_2frame.dcm": "SC_rgb_rle_32bit_2frame.dcm",
}
#: Images that we refuse, with the reason; nobody shows them.
REFUSED = {
    "MR_truncated.dcm": "62 bytes of pixel data are missing; DCMTK refuses it too",
    "JPEG2000-embedded-sequence-delimiter.dcm": "a delimiter is written into the codestream's "
    "size; GDCM, OpenJPEG and Pillow refuse it too",
}


@dataclass
class Row:
    """One line of the table; ``default`` and ``narrow`` are largest differences in grey levels."""

    name: str
    what: str
    frames: str = ""
    oracle: str = ""
    default: int | None = None
    narrow: int | None = None
    allowed: int = 0
    note: str = ""
    highdicom: int = 0

    @property
    def worst(self) -> int:
        """The largest difference that was found."""
        return max(self.default or 0, self.narrow or 0)

    @property
    def wrong(self) -> bool:
        found = [one for one in (self.default, self.narrow) if one is not None]
        return (
            (not found and self.oracle != "refused")
            or any(one > self.allowed for one in found)
            or self.highdicom > 1
        )


def files() -> Iterator[tuple[str, Path]]:
    for root in ROOTS:
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix not in NO_DATA:
                yield str(path.relative_to(root)), path


@cache
def _paths() -> dict[str, Path]:
    return {path.name: path for _, path in files()}


def table(part: str = "") -> tuple[list[Row], list[tuple[str, str]]]:
    """A row for each image, and what is no image with the reason."""
    rows, others = [], []
    for name, path in files():
        if part not in name:
            continue
        try:
            instance = Instance.from_path(path)
        except InvalidDICOM:
            try:
                instance = Instance.from_path(path, force=True)
            except DICOMError as error:
                others.append((name, error.problem))
                continue
        except DICOMError as error:
            others.append((name, error.problem))
            continue
        if instance.frames:
            rows.append(compare(name, path, instance))
        else:
            others.append((name, f"no image: {instance.kind}"))
    return rows, others


def compare(name: str, path: Path, instance: Instance) -> Row:
    many = len(instance.frames)
    picked = sorted({0, many // 2, many - 1})
    first = instance.frames[0]
    bits = f"{instance.bits_stored}/{instance.bits_allocated}"
    row = Row(name, f"{first.photometric} {bits} {instance.syntax.rsplit('.10008.', 1)[-1]}")
    row.frames = f"{len(picked)}/{many}"
    if path.name in REFUSED:
        try:
            render(first)
        except DICOMError as error:
            row.oracle, row.note = "refused", f"{type(error).__name__}: {REFUSED[path.name]}"
        return row
    with tempfile.TemporaryDirectory() as folder:
        for index in picked:
            _frame(row, path, instance.frames[index], Path(folder))
    return row


def _frame(row: Row, path: Path, frame: Frame, folder: Path) -> None:
    ours = render(frame)
    if frame.photometric.startswith("YBR_FULL") and not frame.instance.compressed:
        row.oracle, row.allowed = "formula", 1
        row.note = "DCMTK's own YBR table is centred on 127.5"
        return _worst(row, "default", ours, oracles.ybr_formula(path, frame))
    source = _source(row, path, frame, folder)
    theirs = None if source is None else oracles.dcmtk_default(source, frame)
    if theirs is None and not frame.color and isinstance(frame.windows[0], Window):
        row.oracle = "dcmtk on a copy without functional groups"
        source, first = oracles.plain(frame, folder), frame.windows[0]
        theirs = oracles.dcmtk_window(source, frame, first.center, first.width, at=0)
    if theirs is None:
        theirs = _others(row, path, frame)
    whole = frame.slope.is_integer() and frame.intercept.is_integer()
    if not (whole or frame.color):
        row.allowed = 1
        row.note = f"fractional rescale, slope {frame.slope:.6g}: DCMTK cuts values to whole ones"
    _worst(row, "default", ours, theirs)
    if not frame.color:
        _narrow(row, frame, source if whole and row.oracle.startswith("dcmtk") else None)
    return None


def _narrow(row: Row, frame: Frame, source: Path | None) -> None:
    """Narrow windows, drawn by DCMTK from ``source``, or else by the formula."""
    sample = frame.values()
    many = NARROW if sample.size < 10**6 else NARROW[1::2]
    for center in (float(np.median(sample)), float(np.percentile(sample, 80)) + 0.5):
        for width in many:
            picture = None
            if source is not None:
                at = 0 if source.name.endswith(".plain.dcm") else frame.index
                picture = oracles.dcmtk_window(source, frame, center, width, at)
            if picture is None:
                picture = oracles.formula(frame, center, width)
                row.allowed = 1
                if "narrow" not in row.note:
                    row.note += "; narrow windows: formula"
            _worst(row, "narrow", render(frame, (center, width)), picture)


def _source(row: Row, path: Path, frame: Frame, folder: Path) -> Path | None:
    """The file that DCMTK shall read: this one, its twin, or a decompressed copy."""
    row.oracle = "dcmtk"
    twin = _paths().get(TWINS.get(path.name, ""))
    if twin is not None:
        row.oracle = f"dcmtk on {twin.name}"
        return twin
    if not frame.instance.syntax.startswith(J2K):
        return path
    row.oracle = "dcmtk on a copy decompressed by pydicom"
    theirs = oracles.highdicom_window(path, frame, None)
    difference = int(np.abs(render(frame).astype(int) - theirs.astype(int)).max())
    row.note = f"highdicom: {difference}"
    row.highdicom = max(row.highdicom, difference)
    return oracles.decompressed(path, folder)


def _others(row: Row, path: Path, frame: Frame) -> np.ndarray:
    """What DCMTK cannot read: segmented palettes, windows in functional groups."""
    if frame.photometric == "PALETTE COLOR":
        row.oracle = "gdcm"
        return oracles.gdcm_palette(path)
    row.oracle, row.allowed = "highdicom", 1
    return oracles.highdicom_window(path, frame, None)


def _worst(row: Row, column: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.shape == theirs.shape, (row.name, ours.shape, theirs.shape)
    found = int(np.abs(ours.astype(int) - theirs.astype(int)).max())
    setattr(row, column, max(found, getattr(row, column) or 0))
