"""Masks on the grid of a series: segments (SEG) and contours (RTSTRUCT); doses in Gy on it.

A mask lies where its positions say, in the frame of reference of the series. Where two frames of
reference are stated and differ, a registration would be needed, and it is refused.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import RTDoseStorage, RTStructureSetStorage

from ..errors import UncertainMask
from ..wording import safe_text
from .attributes import AttributeReader
from .geometry import depth
from .instance import Instance
from .reader import parse
from .resampling import Grid, sampled
from .structure import DEEPEST
from .volume import Volume
from .windows import Array, Floats

LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
CONTOURS, DOSE = str(RTStructureSetStorage), str(RTDoseStorage)
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Mask:
    """Which voxels of a series are marked, read when it is used.

    Attributes:
        name: of the segment or region of interest; number: its number in its object.
        kind: "segment", "fractional segment" or "contours".
        source: SOP Instance UID of the object.
        grid: where its voxels lie: those of a volume of the series.
        reference: Frame of Reference UID of the series, "" when not stated.
        least: the fraction from which a voxel is inside, for a fractional segment.
    """

    name: str
    number: int
    kind: str
    source: str
    grid: Grid = field(repr=False)
    reference: str = field(repr=False)
    load: Callable[[], tuple[Array, tuple[str, ...]]] = field(repr=False)
    least: float = 0.5

    @property
    def affine(self) -> Floats:
        """Of the volume on whose grid it lies; see :class:`Volume`."""
        return self.grid.affine

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        return self.grid.shape

    def resample(self, to: Volume) -> Mask:
        """Return the mask on the grid of a volume, by the nearest voxel. Needs scipy.

        Raises:
            UncertainMask: the volume is of another frame of reference, or neither states one.
        """
        if not self.reference or self.reference != to.reference:
            raise UncertainMask("The mask and the volume do not state one frame of reference.")

        def load() -> tuple[Array, tuple[str, ...]]:
            values = np.asarray(self.values, np.uint8)
            return sampled(values, self.grid, to.grid, 0, order=0) > 0, self.notes

        return replace(self, grid=to.grid, load=load)

    @cached_property
    def _loaded(self) -> tuple[Array, tuple[str, ...]]:
        """The fractions, or eight voxels in a byte: a study may have a hundred segments."""
        array, notes = self.load()
        return (np.packbits(array) if array.dtype == np.bool_ else array), notes

    @property
    def values(self) -> Any:
        """The mask, bool, slices x rows x columns.

        Raises:
            UncertainMask: the headers do not decide where it lies.
        """
        array = self._loaded[0]
        if array.dtype != np.uint8:
            return array >= self.least
        bits = np.unpackbits(array, count=math.prod(self.shape))
        return bits.view(np.bool_).reshape(self.shape)

    @property
    def fractions(self) -> Floats:
        """What part of each voxel is inside, or with what probability, from 0 to 1."""
        array = self._loaded[0]
        return np.asarray(self.values if array.dtype == np.uint8 else array, np.float64)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, or could not be placed."""
        return self._loaded[1]

    def at_least(self, least: float) -> Mask:
        """Return the mask of the voxels whose fraction is ``least`` or more; 0.5 by default."""
        return replace(self, least=least)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self.values, dtype or np.bool_)


@dataclass(frozen=True)
class Dose:
    """A dose grid on the grid of a series.

    Attributes:
        volume: in Gy; NaN outside of the dose grid.
        kind: PHYSICAL, EFFECTIVE or ERROR (3004,0004).
        summation: PLAN, BEAM, FRACTION, ... (3004,000A); doses of beams are parts of their plan's.
        source: SOP Instance UID of the object.
    """

    volume: Volume
    kind: str
    summation: str
    source: str


def laid(objects: Sequence[Instance], work: Callable[[Instance, list[str]], list[T]]) -> list[T]:
    """Return what ``work`` makes of each object; warn of what it left out.

    Raises:
        UncertainMask: it made nothing of any object.
    """
    result: list[T] = []
    others: list[str] = []
    for entry in objects:
        try:
            result += work(entry, others)
        except UncertainMask as error:
            others.append(f"{entry.kind}: {error.problem}")
    if others and not result:
        raise UncertainMask(" ".join(others))
    if others:
        warnings.warn(f"Left out: {'; '.join(others)}", stacklevel=3)
    return result


def dose_on(entry: Instance, grid: Volume) -> Dose:
    """Return a dose grid in Gy on the grid of a volume.

    Raises:
        UncertainMask: it is not in Gy, or not evidently in the space of the volume.
    """
    reader = AttributeReader(entry.header())
    units, scaling = reader.text("DoseUnits").upper(), reader.number("DoseGridScaling")
    if units != "GY" or not scaling:
        raise UncertainMask(f"DoseUnits is {safe_text(units, 16) or 'missing'}: no dose in Gy.")
    check_reference(entry.frame_of_reference, reader.dataset, grid)
    source = Volume(sorted(entry.frames, key=lambda frame: depth(frame) or 0.0))
    values = np.array(source, np.float32)
    on_grid = sampled(values, source.grid, grid.grid, float("nan"))
    kind, summation = reader.text("DoseType"), reader.text("DoseSummationType")
    volume = source.with_values(on_grid.astype(np.float32), grid.grid)
    return Dose(volume, safe_text(kind, 16), safe_text(summation, 16), entry.sop_uid)


def check_reference(stated: str, dataset: Dataset, grid: Volume) -> None:
    """Raise UncertainMask unless an object is evidently in the patient space of a volume.

    It is where both state one Frame of Reference UID, or where one of them states none and the
    object refers to the pictures of the volume.
    """
    if stated and stated == grid.reference:
        return
    if stated and grid.reference:
        raise UncertainMask("It is of another frame of reference than the series.")
    own = {frame.instance.sop_uid for frame in grid.frames} | {grid.series_uid}
    if not own & referenced(dataset):
        raise UncertainMask(
            "It states no frame of reference in common with the series, and refers to none of "
            "its pictures."
        )


def referenced(dataset: Dataset) -> set[str]:
    """Return the SOP and Series Instance UIDs in a dataset's sequences."""
    return parse(lambda: set(_uids(dataset)))[0]


def _uids(dataset: Dataset) -> Iterator[str]:
    todo = [(dataset, 0)]
    while todo:
        item, level = todo.pop()
        for element in item:
            if element.VR == "SQ" and level < DEEPEST:
                todo += [(entry, level + 1) for entry in element.value or ()]
            elif level and element.keyword in ("ReferencedSOPInstanceUID", "SeriesInstanceUID"):
                yield str(element.value)
