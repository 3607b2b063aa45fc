"""Small DICOM files with just what a test is about."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Sequence_
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
STUDY, SERIES = "1.2.826.0.1.3680043.9.1", "1.2.826.0.1.3680043.9.2"


def image(pixels: np.ndarray | None = None, **elements: Any) -> Dataset:
    """A CT slice of 4 rows and 6 columns, or of ``pixels``; ``elements`` by keyword."""
    array = np.arange(24, dtype=np.int16).reshape(4, 6) if pixels is None else pixels
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = CTImageStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = STUDY, SERIES
    made.Modality, made.SeriesDescription = "CT", "Chest"
    made.PatientName, made.PatientID = "Canary^Person", "canary-id"
    made.SeriesNumber = made.InstanceNumber = 1
    made.SamplesPerPixel = 3 if array.ndim == 3 else 1
    made.PhotometricInterpretation = "RGB" if array.ndim == 3 else "MONOCHROME2"
    if array.ndim == 3:
        made.PlanarConfiguration = 0
    made.Rows, made.Columns = array.shape[:2]
    made.BitsAllocated = made.BitsStored = array.itemsize * 8
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(array.dtype.kind == "i")
    made.RescaleSlope, made.RescaleIntercept = 1, 0
    made.PixelSpacing = [0.5, 0.75]
    made.ImageOrientationPatient = list(AXIAL)
    made.ImagePositionPatient = [0.0, 0.0, 0.0]
    made.PixelData = array.tobytes()
    made["PixelData"].VR = "OB" if array.itemsize == 1 else "OW"
    for keyword, value in elements.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    return made


def save(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def data(dataset: Dataset) -> bytes:
    """The bytes of the file."""
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def stack(
    folder: Path,
    places: Sequence[Sequence[float]],
    orientation: Sequence[float] = AXIAL,
    **more: Any,
) -> list[Path]:
    """One file a place, each filled with its number."""
    paths = []
    for at, place in enumerate(places):
        pixels = np.full((4, 6), at, np.int16)
        made = image(pixels, ImagePositionPatient=list(place), InstanceNumber=at + 1, **more)
        made.ImageOrientationPatient = list(orientation)
        paths.append(save(made, folder / f"{made.SOPInstanceUID}.dcm"))
    return paths


def enhanced(depths: Sequence[float]) -> Dataset:
    """An enhanced CT: a frame a depth in mm, filled with its index, geometry in the groups."""
    count = len(depths)
    pixels = np.repeat(np.arange(count, dtype=np.int16), 24).reshape(-1, 6)
    none = {"PixelSpacing": None, "ImageOrientationPatient": None, "ImagePositionPatient": None}
    made = image(pixels, Rows=4, NumberOfFrames=count, SOPClassUID=EnhancedCTImageStorage, **none)
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, plane.ImageOrientationPatient = [0.25, 0.25], list(AXIAL)
    shared.PixelMeasuresSequence = Sequence_([measures])
    shared.PlaneOrientationSequence = Sequence_([plane])
    made.SharedFunctionalGroupsSequence = Sequence_([shared])
    groups = []
    for depth in depths:
        place, group = Dataset(), Dataset()
        place.ImagePositionPatient = [0, 0, depth]
        group.PlanePositionSequence = Sequence_([place])
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = Sequence_(groups)
    return made


def element(tag: tuple[int, int], vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """An explicit VR little endian element, with a false length if wanted."""
    size = len(value) if length is None else length
    head = tag[0].to_bytes(2, "little") + tag[1].to_bytes(2, "little") + vr
    if vr in (b"SQ", b"OB", b"OW", b"UN", b"UT"):
        return head + b"\0\0" + size.to_bytes(4, "little") + value
    return head + size.to_bytes(2, "little") + value


def file_of(body: bytes, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """Preamble and group 2 before a hand-made dataset."""
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    group = element((2, 0x10), b"UI", uid)
    return (
        b"\0" * 128
        + b"DICM"
        + element((2, 0), b"UL", len(group).to_bytes(4, "little"))
        + group
        + body
    )
