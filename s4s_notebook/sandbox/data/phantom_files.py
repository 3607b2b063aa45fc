"""Phantom studies as DICOM files, identical in every run, and the mammogram phantom."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from .chest_phantom import SPACING, ChestPhantom
from .people import Person

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
DX_STORAGE = "1.2.840.10008.5.1.4.1.1.1.1"
MG_STORAGE = "1.2.840.10008.5.1.4.1.1.1.2"
_NAMESPACE = uuid.UUID("6f0c1d52-3a53-4f43-9d29-5a45a5e3d6b1")


def phantom_uid(*words: str) -> str:
    """Return a UID under 2.25 (PS3.5 Annex B.2) that depends on ``words`` only."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(words)).int}"


@dataclass(frozen=True)
class Exam:
    """Patient and study of a phantom, date and time as in DICOM; ``key`` names its folder."""

    key: str
    person: Person
    date: str
    time: str
    accession: str
    description: str

    @property
    def study_uid(self) -> str:
        """Study Instance UID."""
        return phantom_uid(self.key)


def chest_ct(exam: Exam, folder: Path) -> Iterator[Path]:
    """Write the 60 slices of the chest CT and yield each path."""
    yield from write_chest(exam, folder, ChestPhantom(), "Axial 5 mm, standard")


def write_chest(
    exam: Exam, folder: Path, phantom: ChestPhantom, description: str, *, number: int = 1
) -> Iterator[Path]:
    """Write the slices of a chest phantom as CT images and yield each path."""
    series, thickness = phantom_uid(exam.key, str(number)), phantom.thickness
    for index, pixels in enumerate(phantom.slices()):
        ds = common_elements(exam, CT_STORAGE, series, number=number, instance=index + 1)
        ds.Modality, ds.SeriesDescription = "CT", description
        ds.BodyPartExamined, ds.PatientPosition = "CHEST", "HFS"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.KVP, ds.XRayTubeCurrent, ds.ExposureTime = 120, 180, 500
        ds.ConvolutionKernel, ds.GantryDetectorTilt = "STANDARD", 0
        corner = -SPACING * (pixels.shape[1] - 1) / 2
        z = thickness * (phantom.count - 1 - index)  # +z points to the head
        ds.ImagePositionPatient = [round(corner, 3), round(corner, 3), z]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = phantom_uid(exam.key, "frame"), "XY"
        ds.SliceThickness, ds.SpacingBetweenSlices, ds.SliceLocation = thickness, thickness, z
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
        ds.WindowCenter, ds.WindowWidth = [40, -600], [400, 1500]
        ds.WindowCenterWidthExplanation = ["SOFT TISSUE", "LUNG"]
        set_pixels(ds, (pixels.astype(np.int32) + 1024).astype(np.uint16), "MONOCHROME2", SPACING)
        yield write_file(ds, folder)


FILM_SPACING = SPACING / 2


def chest_film(phantom: ChestPhantom, seed: int) -> NDArray[np.uint16]:
    """Return a frontal radiograph: the sum of the CT from front to back, for MONOCHROME1.

    Returns:
        Stored values 0-4095, shape (811, 1024), with the noise of a film.
    """
    rows = []
    for pixels in phantom.slices():
        absorption = np.clip(pixels.astype(np.float32) + 1000, 0, None).sum(axis=0)
        rows.append(absorption * (0.0195 * SPACING / 1000))
    film = np.stack(rows)
    film = _stretched(film, round(phantom.count * phantom.thickness / FILM_SPACING), 0)
    film = _stretched(film, 2 * film.shape[1], 1)
    rng = np.random.default_rng(seed)
    film += rng.normal(0, 0.012, film.shape) + 0.010 * _cloud(rng, 1024, 0.6)[: film.shape[0]]
    stored = 4095 * (1 - np.clip((film - 0.25) / 4.6, 0, 1))
    image: NDArray[np.uint16] = np.rint(stored).astype(np.uint16)
    return image


def _stretched(image: NDArray[np.float32], length: int, axis: int) -> NDArray[np.float32]:
    """Return an image with another length along an axis, by linear interpolation."""
    count = image.shape[axis]
    steps = np.linspace(0, count - 1, length)
    low = np.floor(steps).astype(int).clip(0, count - 2)
    part = (steps - low).astype(np.float32)
    part = part[:, None] if axis == 0 else part[None, :]
    lower, upper = np.take(image, low, axis), np.take(image, low + 1, axis)
    stretched: NDArray[np.float32] = lower * (1 - part) + upper * part
    return stretched


def chest_radiograph(exam: Exam, folder: Path) -> Iterator[Path]:
    """Write a frontal chest radiograph (MONOCHROME1)."""
    yield write_film(exam, folder, chest_film(ChestPhantom(), 20181114))


def write_film(exam: Exam, folder: Path, film: NDArray[np.uint16]) -> Path:
    """Write a frontal chest film as the only image of a study and return its path."""
    ds = common_elements(exam, DX_STORAGE, phantom_uid(exam.key, "1"), number=1, instance=1)
    ds.Modality, ds.SeriesDescription = "DX", "Chest PA"
    ds.BodyPartExamined, ds.ViewPosition = "CHEST", "PA"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.PresentationIntentType, ds.PixelIntensityRelationship = "FOR PRESENTATION", "LOG"
    ds.ImagerPixelSpacing = [FILM_SPACING, FILM_SPACING]
    ds.WindowCenter, ds.WindowWidth = 2000, 3900
    set_pixels(ds, film, "MONOCHROME1", FILM_SPACING)
    return write_file(ds, folder)


def screening_mammogram(exam: Exam, folder: Path) -> Iterator[Path]:
    """Write a mammogram of each side, each in its own series (MONOCHROME1)."""
    for number, side in enumerate("LR", start=1):
        image = mammogram(20160100 + number, left=side == "L")
        yield write_mammogram(exam, folder, image, number, side, "MLO")


def write_mammogram(
    exam: Exam, folder: Path, image: NDArray[np.uint16], number: int, side: str, view: str
) -> Path:
    """Write a mammogram as the only image of a series and return its path."""
    ds = common_elements(
        exam, MG_STORAGE, phantom_uid(exam.key, str(number)), number=number, instance=1
    )
    ds.Modality, ds.SeriesDescription = "MG", f"{side} {view}"
    ds.BodyPartExamined, ds.ViewPosition = "BREAST", view
    foot = "F" if view == "MLO" else ("R" if side == "L" else "L")
    ds.ImageLaterality, ds.PatientOrientation = side, ["A" if side == "L" else "P", foot]
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", 1
    ds.ImagerPixelSpacing = [FINE, FINE]
    ds.WindowCenter, ds.WindowWidth = 2100, 3600
    set_pixels(ds, image, "MONOCHROME1", FINE)
    return write_file(ds, folder)


def common_elements(
    exam: Exam, sop_class: str, series: str, *, number: int, instance: int
) -> Dataset:
    """Return a dataset with the elements of patient, study, series and instance."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = phantom_uid(exam.key, str(number), str(instance))
    ds.StudyInstanceUID, ds.SeriesInstanceUID = exam.study_uid, series
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = exam.date
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = exam.time
    ds.AccessionNumber, ds.StudyID = exam.accession, exam.accession[-4:]
    ds.Manufacturer, ds.ManufacturerModelName = "s4s-notebook", "Phantom"
    ds.InstitutionName, ds.ReferringPhysicianName = "Sandbox Hospital", "Synthetic^Referrer"
    ds.StudyDescription = exam.description
    person = exam.person
    ds.PatientID, ds.PatientName = person.mrn, f"{person.family_name}^{person.given_name}"
    ds.PatientBirthDate, ds.PatientSex = (
        person.birth_date.replace("-", ""),
        person.gender[0].upper(),
    )
    ds.SeriesNumber, ds.InstanceNumber = number, instance
    ds.BurnedInAnnotation = "NO"
    return ds


def set_pixels(ds: Dataset, stored: NDArray[np.uint16], photometric: str, spacing: float) -> None:
    """Set the pixels of one frame, 12 bits stored in 16."""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, photometric
    ds.Rows, ds.Columns = stored.shape
    ds.PixelSpacing = [spacing, spacing]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = stored.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"


def write_file(ds: Dataset, folder: Path) -> Path:
    """Write a dataset to a file that is named by its SOP Instance UID; return the path."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(phantom_uid("implementation"))
    path = folder / f"{ds.SOPInstanceUID}.dcm"
    file = FileDataset(str(path), ds, file_meta=meta, preamble=b"\0" * 128)
    file.save_as(path, enforce_file_format=True)
    path.chmod(0o600)
    return path


ROWS, COLUMNS = 1280, 960
FINE = 0.16  # mm, of a mammogram's pixel
_GRID = 0.4  # mm, the unit in which a mammogram is drawn


def mammogram(seed: int, *, left: bool, view: str = "MLO", mass: float = 11) -> NDArray[np.uint16]:
    """Return a mammogram: 1/f texture, a dense disc, a mass and calcifications.

    Args:
        seed: seed of the random numbers.
        left: whether to return the left breast; the right one is mirrored.
        view: ``MLO`` with the pectoral muscle, or ``CC`` without.
        mass: radius of the mass in units of 0.4 mm; 0 for none and no calcifications.

    Returns:
        Stored values 0-4095, shape (1280, 960). Low values are dense tissue, which MONOCHROME1
        shows white.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:ROWS, 0:COLUMNS].astype(np.float32) * np.float32(FINE / _GRID)
    middle, height = (262, 215) if view == "MLO" else (256, 190)
    depth = 1 - np.sqrt((x / 300) ** 2 + ((y - middle) / height) ** 2)
    breast = np.clip(depth / 0.02, 0, 1)
    texture = _cloud(rng, max(ROWS, COLUMNS), 1.55)[:ROWS, :COLUMNS]
    disc = np.exp(-(((x - 120) / 95) ** 2 + ((y - middle + 27) / 110) ** 2))
    # Smoothly above zero: fat has structure as well.
    dense = np.logaddexp(0, (0.20 + 0.42 * disc + 0.17 * texture) / 0.1) * 0.1
    thickness = np.clip(depth * 2.6, 0, 1) ** 0.5
    absorbed = breast * thickness * (0.38 + 0.52 * dense)
    if mass:
        absorbed += 0.10 * _spot(x, y, (168, 190), mass) * breast
        for _ in range(18):
            centre = (168 + rng.normal(0, 10), 190 + rng.normal(0, 10))
            absorbed += 0.16 * _spot(x, y, centre, 0.9 + rng.random() * 0.7)
    if view == "MLO":
        muscle = np.clip((128 - x - 0.55 * y) / 60, 0, 1) ** 0.7
        absorbed = np.maximum(absorbed, (0.76 + 0.025 * texture) * muscle)
    noise = rng.normal(0, 0.014, absorbed.shape)
    stored = 4000 * (1 - np.clip(absorbed + noise, 0, 0.97))
    image = np.rint(stored).astype(np.uint16)
    return image if left else np.ascontiguousarray(image[:, ::-1])


def _spot(
    x: NDArray[np.float32], y: NDArray[np.float32], centre: tuple[float, float], radius: float
) -> NDArray[np.float32]:
    distance = np.hypot(x - centre[0], y - centre[1])
    spot: NDArray[np.float32] = np.clip((radius - distance) / max(1.0, radius * 0.4) + 0.5, 0, 1)
    return spot


def _cloud(rng: np.random.Generator, size: int, power: float) -> NDArray[np.float32]:
    """Return 1/f noise with unit standard deviation."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = math.inf
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) / frequency**power
    field = np.fft.irfft2(spectrum, s=(size, size))
    cloud: NDArray[np.float32] = (field / field.std()).astype(np.float32)
    return cloud
