"""A DICOM object: its identity, its pixel description, the frames it holds."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ..errors import NotAnImage
from ..problems import Problem
from ..wording import safe_text
from .attributes import AttributeReader
from .reader import Header, contents, native, parse, read_header
from .structure import PixelLocation


class DicomObject:
    """What one file, or one pydicom Dataset in memory, says about itself.

    Attributes:
        path: the file, None for a Dataset.
        sop_uid, study_uid, series_uid, sop_class: UIDs as text, empty when absent.
        frame_of_reference: UID of the space in which positions are stated, empty when absent.
        declared, count: frames that the header declares, and those that can be there.
        kind: what the object is, as DICOM names its SOP class ("CT Image Storage").
        pixels: where the pixel data lie, None for an object without any.
        frame_times: milliseconds a frame for cine, one number or one a frame; None if not cine.
        towards: where a row and a column point in the body, where PatientOrientation states it.
        problems: what did not parse.
    """

    def __init__(self, header: Header, path: Path | None, *, force: bool = False) -> None:
        self.path = path
        self.pixels: PixelLocation | None = header.pixels
        self.syntax = native(header.transfer_syntax) or _guessed_syntax(header.dataset)
        self._force = force
        self._memory: Dataset | None = None if path else header.dataset
        reader = AttributeReader(header.dataset)
        _, remarks = parse(lambda: self._describe(reader))
        for remark in (*header.remarks, *remarks):
            reader.report("", "", safe_text(remark))
        self.problems: tuple[Problem, ...] = tuple(dict.fromkeys(reader.problems))

    def _describe(self, reader: AttributeReader) -> None:
        text, whole = reader.text, reader.whole
        self.sop_uid = reader.resource = text("SOPInstanceUID")
        self.study_uid, self.series_uid = text("StudyInstanceUID"), text("SeriesInstanceUID")
        meta = getattr(reader.dataset, "file_meta", None) or {}
        self.sop_class = text("SOPClassUID") or str(meta.get("MediaStorageSOPClassUID", ""))
        name = UID(self.sop_class).name if self.sop_class else "object of no stated class"
        self.kind = safe_text(name, 80)
        self.frame_of_reference = text("FrameOfReferenceUID")
        self.modality = safe_text(text("Modality"), 16)
        self.description = safe_text(text("SeriesDescription"), 64)
        self.localizer = "LOCALIZER" in text("ImageType").upper()
        self.series_number = reader.number("SeriesNumber")
        self.number = reader.number("InstanceNumber")
        self.rows, self.columns = whole("Rows"), whole("Columns")
        self.samples = whole("SamplesPerPixel", 1)
        self.photometric = text("PhotometricInterpretation") or "MONOCHROME2"
        self.bits_allocated = whole("BitsAllocated", 16)
        self.bits_stored = whole("BitsStored", self.bits_allocated)
        self.high_bit = whole("HighBit", self.bits_stored - 1)
        self.signed = whole("PixelRepresentation") == 1
        self.planar = whole("PlanarConfiguration")
        has_size = reader.get("Rows") is not None and reader.get("Columns") is not None
        self.declared = max(whole("NumberOfFrames", 1), 1) if self.pixels and has_size else 0
        self.count = min(self.declared, max(1, self._most_frames()))
        if self.count < self.declared:
            why = f"the pixel data hold at most {self.count:,} frames"
            reader.report("NumberOfFrames", self.declared, why)
        self.frame_times = _frame_times(reader, self.count)
        self.towards = _towards(reader)

    def _most_frames(self) -> int:
        """As many frames as the data have room for, whatever the header declares."""
        if self.pixels is None:
            return 0
        if self.compressed:
            return self.pixels.room // 10  # an item's head and two bytes
        size = self.rows * self.columns * self.samples * max(self.bits_allocated, 1)
        return self.pixels.room * 8 * 3 // (2 * size) if size > 0 else 1  # YBR 4:2:2 takes 2/3

    def located(self) -> PixelLocation:
        """Where the pixel data lie. Raises NotAnImage for an object without any."""
        if self.pixels is None or not self.count:
            raise NotAnImage(f"This is no image but: {self.kind}.")
        return self.pixels

    @property
    def compressed(self) -> bool:
        """True when the pixel data are encapsulated."""
        return self.pixels is not None and self.pixels.length is None

    def header(self) -> Dataset:
        """All elements but the pixel data; read from the file again, the last few are kept."""
        if self._memory is not None or self.path is None:
            return self._memory or Dataset()
        status = self.path.stat()
        size = self.pixels.offset if self.pixels else status.st_size
        cached = _header if size < _LARGE_HEADER else _large_header
        return cached(self.path, self._force, status.st_mtime_ns)

    def own_header(self) -> Dataset | None:
        """Read the header of a file into a Dataset that the caller may take apart, else None."""
        return read_header(self.path, force=self._force).dataset if self.path else None

    @contextmanager
    def open_pixels(self) -> Iterator[BinaryIO]:
        """Open the pixel data's bytes, positioned at their start. Raises NotAnImage without any."""
        pixels = self.located()
        if self.path is None:
            yield io.BytesIO(self.header()[pixels.keyword].value)
            return
        with contents(self.path, force=self._force) as (file, _):
            file.seek(pixels.offset)
            yield file


@lru_cache(maxsize=16)
def _header(path: Path, force: bool, changed: int) -> Dataset:  # noqa: ARG001 - part of the key
    return read_header(path, force=force).dataset


# A header of many frames takes 75 times its size, so of those only the last is kept.
_LARGE_HEADER = 64 * 2**10
_large_header = lru_cache(maxsize=1)(_header.__wrapped__)


def _guessed_syntax(dataset: Dataset) -> str:
    """For data without group 2: the encoding that pydicom found or that was set by hand."""
    implicit, little = dataset.original_encoding
    if little is False:
        return str(ExplicitVRBigEndian)
    return str(ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian)


def _towards(reader: AttributeReader) -> tuple[str, str]:
    r"""Letters as in "L\F", as projections have them; empty where there are none."""
    stated = reader.get("PatientOrientation")
    parts = [str(part).strip().upper() for part in stated] if isinstance(stated, MultiValue) else []
    if len(parts) == 2 and all(part and not part.strip("LRAPHF") for part in parts):
        return parts[0], parts[1]
    return "", ""


def _frame_times(reader: AttributeReader, count: int) -> tuple[float, ...] | None:
    """Milliseconds between frames (PS3.3 C.7.6.5); None for a still."""
    if count < 2:
        return None
    vector = reader.numbers("FrameTimeVector")
    if vector and len(vector) == count:
        return vector
    if time := reader.number("FrameTime"):
        return (time,)
    rate = reader.number("CineRate") or reader.number("RecommendedDisplayFrameRate")
    return (1000.0 / rate,) if rate and rate > 0 else None
