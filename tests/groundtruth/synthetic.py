"""Images made to have what no file at hand has: SIGMOID, LINEAR_EXACT, padding, odd bits."""

from __future__ import annotations

import copy
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from s4s_notebook.imaging import render
from s4s_notebook.imaging.instance import Instance

from . import oracles
from .compare import Row

WINDOWS = ((40.0, 1.0), (40.5, 2.0), (-3.25, 7.0), (100.0, 33.5), (0.0, 300.0), (300.0, 4000.0))


def ramp(bits: int = 16, stored: int = 16, signed: bool = True, **elements: object) -> Dataset:
    """64x64 pixels that run through the type's range; ``elements`` are set by keyword."""
    dataset = dcmread(get_testdata_file("CT_small.dcm"))
    for keyword in ("PixelPaddingValue", "SmallestImagePixelValue", "LargestImagePixelValue"):
        if keyword in dataset:
            delattr(dataset, keyword)
    low = -(1 << (stored - 1)) if signed else 0
    values = np.linspace(low, low + (1 << stored) - 1, 64 * 64).round().astype(np.int64)
    values[:2048] = np.arange(-1024, 1024) if signed else np.arange(2048) % (1 << stored)
    kind = np.dtype(f"{'i' if signed else 'u'}{bits // 8}")
    dataset.PixelData = (
        (values & ((1 << stored) - 1))
        .astype(np.uint64)
        .astype(kind.str.replace("i", "u"))
        .tobytes()
    )
    dataset.Rows = dataset.Columns = 64
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, stored, stored - 1
    dataset.PixelRepresentation = int(signed)
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        return [
            *_functions(Path(folder)),
            *_sweep(Path(folder)),
            *_padding(Path(folder)),
            *_depths(Path(folder)),
        ]


def _functions(folder: Path) -> Iterator[Row]:
    """SIGMOID against DCMTK and the formula; LINEAR_EXACT, which DCMTK draws as LINEAR."""
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        exact = Row("made: LINEAR_EXACT", f"{photometric} 16/16", "1/1", "formula")
        bent = Row("made: SIGMOID", f"{photometric} 16/16", "1/1", "dcmtk")
        near = Row("made: SIGMOID", f"{photometric} 16/16", "1/1", "formula", allowed=1)
        near.note = "not linear: exp() in extended precision, which DCMTK has not either"
        for center, width in WINDOWS:
            for row, function in ((exact, "LINEAR_EXACT"), (bent, "SIGMOID"), (near, "SIGMOID")):
                dataset = ramp(
                    PhotometricInterpretation=photometric,
                    WindowCenter=center,
                    WindowWidth=width,
                    VOILUTFunction=function,
                )
                frame = Instance.from_dataset(dataset).frames[0]
                if row is bent:
                    theirs = _drawn(dataset, folder, "+Wi", "1")
                else:
                    theirs = oracles.formula(frame, center, width, function)
                _add(row, render(frame), theirs)
        yield from (exact, bent, near)


def _sweep(folder: Path) -> Iterator[Row]:
    """Windows at random, narrow ones most often, over a ramp of all values near zero."""
    dice = random.Random(17)
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        dataset = ramp(PhotometricInterpretation=photometric)
        frame = Instance.from_dataset(dataset).frames[0]
        row = Row("made: 60 windows at random", f"{photometric} 16/16", "1/1", "dcmtk")
        for _ in range(60):
            center = dice.randint(-900, 900) + dice.choice((0.0, 0.5))
            width = float(dice.choice((2, 3, 5, 16, 52, 86, 100, 256, 511, 766, 1276, 1531)))
            theirs = _drawn(dataset, folder, "+Ww", str(center), str(width))
            _add(row, render(frame, (center, width)), theirs)
        yield row


def _padding(folder: Path) -> Iterator[Row]:
    """Padding is black, and does not stretch a window that is measured."""
    for name, elements, padded in (
        ("value", {"PixelPaddingValue": -1000}, (-1000, -1000)),
        ("range", {"PixelPaddingValue": -1024, "PixelPaddingRangeLimit": -900}, (-1024, -900)),
        ("range, MONOCHROME1", {"PixelPaddingValue": -900, "PixelPaddingRangeLimit": -1024,
                                "PhotometricInterpretation": "MONOCHROME1"}, (-1024, -900)),
    ):  # fmt: skip
        dataset = ramp(**elements)
        frame = Instance.from_dataset(dataset).frames[0]
        values = frame.stored()
        row = Row(f"made: padding {name}", frame.photometric, "1/1", "dcmtk, padding set to 0")
        for center, width in ((-950.0, 400.0), (-1000.0, 3.0), (0.0, 3000.0)):
            theirs = _drawn(dataset, folder, "+Ww", str(center), str(width))
            theirs[(values >= padded[0]) & (values <= padded[1])] = 0
            _add(row, render(frame, (center, width)), theirs)
        yield row
    dataset = ramp(PixelPaddingValue=-2000)
    values = np.where(np.arange(4096) < 100, -2000, np.arange(4096) % 300)
    dataset.PixelData = values.astype(np.int16).tobytes()
    row = Row("made: padding outside the measured window", "MONOCHROME2", "1/1", "dcmtk")
    theirs = _drawn(dataset, folder, "+Ww", "150", "300")
    theirs.ravel()[:100] = 0
    _add(row, render(Instance.from_dataset(dataset).frames[0]), theirs)
    yield row


def _depths(folder: Path) -> Iterator[Row]:
    """Each depth and sign, whole and fractional slopes, against DCMTK or the formula."""
    for bits, stored in ((8, 8), (16, 8), (16, 10), (16, 12), (16, 16), (32, 32)):
        for signed, sign in ((False, "unsigned"), (True, "signed")):
            for slope, intercept in ((1, 0), (2, -1024), (0.5, -100.25)):
                dataset = ramp(bits, stored, signed, RescaleSlope=slope, RescaleIntercept=intercept)
                frame = Instance.from_dataset(dataset).frames[0]
                row = Row(f"made: {stored} of {bits} bits, {sign}, {slope}x{intercept:+}", "")
                row.frames, row.oracle = "1/1", "dcmtk"
                if isinstance(slope, float):
                    row.oracle, row.allowed = "formula", 1
                    row.note = "fractional rescale: DCMTK cuts values to whole ones"
                elif (bits, slope) == (32, 2):
                    row.oracle = "dcmtk on a copy of 16 bits"
                    row.note = "DCMTK overflows; all values of these windows lie within 16 bits"
                    narrower = oracles.plain(frame, folder)
                for center, width in WINDOWS:
                    if row.oracle.endswith("16 bits"):
                        oracles.dcmtk.cache_clear()
                        theirs = oracles.dcmtk_window(narrower, frame, center, width)
                    elif row.oracle == "dcmtk":
                        theirs = _drawn(dataset, folder, "+Ww", str(center), str(width))
                    else:
                        theirs = oracles.formula(frame, center, width)
                    _add(row, render(frame, (center, width)), theirs)
                yield row


def _drawn(dataset: Dataset, folder: Path, *window: str) -> np.ndarray:
    path = folder / "made.dcm"
    dataset = copy.deepcopy(dataset)
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):  # DCMTK does not know them
        dataset.pop(keyword, None)
    dataset.save_as(path)
    oracles.dcmtk.cache_clear()
    picture = oracles.dcmtk(path, 0, *window)
    assert picture is not None
    return picture.copy()


def _add(row: Row, ours: np.ndarray, theirs: np.ndarray) -> None:
    row.default = max(row.default or 0, int(np.abs(ours.astype(int) - theirs).max()))
