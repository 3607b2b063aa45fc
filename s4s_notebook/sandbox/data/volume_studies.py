"""Studies of volumes with known truth: MR of head and knee, PET/CT, perfusion, and a cine.

Each writes its files on its first request, in a few seconds.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from . import mr_volumes as volumes
from .chest_phantom import SIZE, SPACING, Canvas, sphere_share
from .nodule_studies import LATER, SLICE, SLICES, chest
from .phantom_files import (
    CT_STORAGE,
    Exam,
    common_elements,
    phantom_uid,
    set_pixels,
    write_chest,
    write_file,
)

MR_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
PET_STORAGE = "1.2.840.10008.5.1.4.1.1.128"
US_STORAGE = "1.2.840.10008.5.1.4.1.1.3.1"
_SEED = 1469713

# -- MR --------------------------------------------------------------------------------------------

HEAD_SHAPE, HEAD_SPACING, HEAD_BOTTOM = (48, 256, 256), (3.2, 0.8, 0.8), -52.0
KNEE_SLICES = 40
# Description, signals, echo time, repetition time and inversion time in ms.
HEAD_SERIES: tuple[tuple[str, Mapping[int, float], float, float, float], ...] = (
    ("Axial T1", volumes.T1, 2.9, 1900.0, 900.0),
    ("Axial T2", volumes.T2, 98.0, 5200.0, 0.0),
    ("Axial FLAIR", volumes.FLAIR, 120.0, 9000.0, 2500.0),
)


def head_mr(exam: Exam, folder: Path) -> Iterator[Path]:
    """Write a head in three weightings, with a round lesion in the left frontal lobe."""
    tissues = volumes.head(HEAD_SHAPE, HEAD_SPACING, HEAD_BOTTOM, _SEED)
    for number, (name, values, echo, repetition, inversion) in enumerate(HEAD_SERIES, start=1):
        stored = volumes.signal(tissues, values, _SEED + number)
        for index in range(HEAD_SHAPE[0]):
            ds = _mr(exam, number, index + 1, name, echo, repetition)
            if inversion:
                ds.InversionTime = inversion
            ds.BodyPartExamined = "BRAIN"
            _axial(ds, exam, HEAD_SPACING[0], HEAD_SPACING[1], HEAD_BOTTOM, index, HEAD_SHAPE[1])
            ds.WindowCenter, ds.WindowWidth = 450, 900
            set_pixels(ds, stored[index], "MONOCHROME2", HEAD_SPACING[1])
            yield write_file(ds, folder)


def knee_mr(exam: Exam, folder: Path) -> Iterator[Path]:
    """Write 40 sagittal slices of a knee, fat-saturated."""
    stored = volumes.signal(volumes.knee(_SEED), volumes.KNEE, _SEED, coil=0.2)
    step, fine = 3.0, 0.6
    corner = fine * (stored.shape[1] - 1) / 2
    for index in range(KNEE_SLICES):
        ds = _mr(exam, 1, index + 1, "Sagittal PD, fat saturated", 33.0, 3100.0)
        ds.BodyPartExamined, ds.Laterality = "KNEE", "R"
        ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = phantom_uid(exam.key, "frame"), ""
        x = step * (index - (KNEE_SLICES - 1) / 2)
        ds.ImagePositionPatient = [round(x, 3), -corner, corner]
        ds.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        ds.SliceThickness, ds.SpacingBetweenSlices = step, step
        ds.WindowCenter, ds.WindowWidth = 420, 900
        set_pixels(ds, stored[index], "MONOCHROME2", fine)
        yield write_file(ds, folder)


def _mr(
    exam: Exam, number: int, instance: int, name: str, echo: float, repetition: float
) -> Dataset:
    series = phantom_uid(exam.key, str(number))
    ds = common_elements(exam, MR_STORAGE, series, number=number, instance=instance)
    ds.Modality, ds.SeriesDescription, ds.PatientPosition = "MR", name, "HFS"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "SE", "SK", ""
    ds.MRAcquisitionType, ds.MagneticFieldStrength = "2D", 3
    ds.EchoTime, ds.RepetitionTime, ds.EchoTrainLength, ds.FlipAngle = echo, repetition, 12, 120
    return ds


def _axial(
    ds: Dataset, exam: Exam, step: float, spacing: float, bottom: float, index: int, size: int
) -> None:
    """Set the place of an axial slice; slices are numbered from the feet."""
    corner = -spacing * (size - 1) / 2
    z = round(bottom + step * index, 3)
    ds.ImagePositionPatient = [round(corner, 3), round(corner, 3), z]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = phantom_uid(exam.key, "frame"), ""
    ds.SliceThickness, ds.SpacingBetweenSlices, ds.SliceLocation = step, step, z


# -- PET/CT ----------------------------------------------------------------------------------------

NODULE_SUV, LIVER_SUV, BLOOD_SUV = 8.0, 2.2, 1.6
_DOSE, _WEIGHT, _HALF_LIFE = 3.5e8, 68.0, 6586.2  # Bq, kg, s
_UPTAKE = dt.timedelta(minutes=60)
PET_SIZE = SIZE // 4
# Uptake by Hounsfield units where no organ is named: air, lung, fat, soft tissue, bone.
_HOUNSFIELD = np.array([-1000, -860, -500, -110, 0, 120, 300], np.float32)
_BY_HOUNSFIELD = np.array([0.02, 0.35, 0.5, 0.3, 0.85, 0.9, 1.3], np.float32)


def pet_ct(exam: Exam, folder: Path) -> Iterator[Path]:
    """Write a low-dose CT and a PET of the chest, in which the nodule takes up glucose."""
    phantom = chest(LATER, 2, noise=1.6)
    paths = list(write_chest(exam, folder, phantom, "CT for attenuation, low dose", number=1))
    yield from paths
    factor = _WEIGHT * 1000 / (_DOSE * 2 ** (-_UPTAKE.total_seconds() / _HALF_LIFE))
    rng = np.random.default_rng(_SEED)
    for index, path in enumerate(paths):
        uptake = _uptake(dcmread(path).pixel_array.astype(np.float32) - 1024, index)
        uptake *= 1 + rng.normal(0, 0.02, uptake.shape).astype(np.float32)
        ds = _pet(exam, index + 1)
        spacing = 4 * SPACING
        z = SLICE * (SLICES - 1 - index)
        corner = round(-SPACING * (SIZE - 1) / 2 + 1.5 * SPACING, 3)
        ds.ImagePositionPatient = [corner, corner, z]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = phantom_uid(exam.key, "frame"), ""
        ds.SliceThickness, ds.SpacingBetweenSlices, ds.SliceLocation = SLICE, SLICE, z
        activity = np.clip(uptake, 0, None) / factor
        slope = float(f"{activity.max() / 30_000:.6g}")
        ds.RescaleIntercept, ds.RescaleSlope = 0, slope
        set_pixels(ds, np.rint(activity / slope).astype(np.uint16), "MONOCHROME2", spacing)
        ds.BitsStored, ds.HighBit = 16, 15
        ds.WindowCenter, ds.WindowWidth = round(2.5 / factor), round(5 / factor)
        yield write_file(ds, folder)


def _uptake(hounsfield: NDArray[np.float32], index: int) -> NDArray[np.float32]:
    """Return standardised uptake values of a slice, 128 x 128."""
    level = index / (SLICES - 1)
    canvas = Canvas(PET_SIZE, 4 * SPACING, 0)
    blocks = _blocks(hounsfield)
    canvas.pixels = np.interp(blocks, _HOUNSFIELD, _BY_HOUNSFIELD).astype(np.float32)
    if 0.55 < level < 0.86:
        canvas.ellipse((34, -14), (42, 30), 3.4, turn=0.6, edge=6)
        canvas.ellipse((34, -14), (26, 15), BLOOD_SUV, turn=0.6, edge=6)
    if 0.31 < level < 0.42:
        canvas.ellipse((10, 4), (11, 32), BLOOD_SUV, turn=-0.5, edge=3)
    grown = min(1.0, max(0.0, (level - 0.70) / 0.2))
    if grown > 0.05:
        canvas.ellipse((-66, -6), (70 * grown, 74 * grown), LIVER_SUV, power=2.3, edge=3)
    image = canvas.pixels
    for axis in (0, 1):  # the resolution of the scanner
        image = 0.25 * np.roll(image, 1, axis) + 0.5 * image + 0.25 * np.roll(image, -1, axis)
    if abs(index * SLICE - LATER.z) > LATER.radius + SLICE:
        return image
    share = _blocks(sphere_share(Canvas(SIZE, SPACING, 0), LATER, index, SLICE))
    mixed: NDArray[np.float32] = image + share * (NODULE_SUV - image)
    return mixed


def _blocks(image: NDArray[np.float32]) -> NDArray[np.float32]:
    means: NDArray[np.float32] = image.reshape(PET_SIZE, 4, PET_SIZE, 4).mean(axis=(1, 3))
    return means


def _pet(exam: Exam, instance: int) -> Dataset:
    ds = common_elements(exam, PET_STORAGE, phantom_uid(exam.key, "2"), number=2, instance=instance)
    ds.Modality, ds.SeriesDescription, ds.BodyPartExamined = "PT", "PET, corrected", "CHEST"
    ds.ImageType, ds.PatientPosition = ["ORIGINAL", "PRIMARY"], "HFS"
    ds.PatientWeight, ds.PatientSize = _WEIGHT, 1.64
    ds.Units, ds.CountsSource, ds.SeriesType = "BQML", "EMISSION", ["WHOLE BODY", "IMAGE"]
    ds.CorrectedImage = ["DECY", "ATTN", "SCAT", "DTIM", "RAN", "NORM"]
    ds.DecayCorrection, ds.DecayFactor, ds.RandomsCorrectionMethod = "START", 1.0, "DLYD"
    ds.AttenuationCorrectionMethod, ds.ScatterCorrectionMethod = "CT", "model"
    ds.ReconstructionMethod, ds.CollimatorType = "OSEM", "NONE"
    ds.NumberOfSlices, ds.ImageIndex = SLICES, instance
    ds.FrameReferenceTime, ds.ActualFrameDuration = 90_000, 180_000
    agent = Dataset()
    injected = dt.datetime.strptime(exam.date + exam.time, "%Y%m%d%H%M%S") - _UPTAKE
    agent.Radiopharmaceutical = "Fluorodeoxyglucose"
    agent.RadiopharmaceuticalStartTime = injected.strftime("%H%M%S")
    agent.RadiopharmaceuticalStartDateTime = injected.strftime("%Y%m%d%H%M%S")
    agent.RadionuclideTotalDose, agent.RadionuclideHalfLife = _DOSE, _HALF_LIFE
    agent.RadionuclidePositronFraction = 0.967
    nuclide = Dataset()
    nuclide.CodeValue, nuclide.CodingSchemeDesignator = "77004003", "SCT"
    nuclide.CodeMeaning = "^18^Fluorine"
    agent.RadionuclideCodeSequence = [nuclide]
    ds.RadiopharmaceuticalInformationSequence = [agent]
    return ds


# -- perfusion -------------------------------------------------------------------------------------

PHASES, PHASE_SECONDS = 20, 2.0
PERFUSION_SHAPE, PERFUSION_SPACING, PERFUSION_BOTTOM = (8, 256, 256), (5.0, 0.85, 0.85), 10.0
ONSET, DELAY = 8.0, 5.0  # s, of the contrast medium; and how much later in the blocked territory


def bolus(seconds: float, onset: float) -> float:
    """Return the concentration of the contrast medium, 1 at its peak 6 s after its onset."""
    after = (seconds - onset) / 6.0
    return after**3 * math.exp(3 * (1 - after)) if after > 0 else 0.0


def perfusion(exam: Exam, folder: Path) -> Iterator[Path]:
    """Write a CT perfusion of the head: 20 phases of 8 slices; the left middle territory is late.

    Series 1 has all phases, one after the other, as a scanner stores them.
    """
    x, y, _ = volumes.axes(PERFUSION_SHAPE, PERFUSION_SPACING, PERFUSION_BOTTOM)
    tissues = volumes.head(PERFUSION_SHAPE, PERFUSION_SPACING, PERFUSION_BOTTOM, _SEED + 9)
    tissues[tissues == volumes.LESION] = volumes.WHITE
    plain = volumes.softened(volumes.values_of(tissues, volumes.CT))
    volume = volumes.values_of(
        tissues, {volumes.GREY: 14, volumes.DEEP_GREY: 13, volumes.WHITE: 6, volumes.MUSCLE: 5}
    )
    late = (x > 14) & (y > -42) & (y < 40) & (volume > 0)
    artery = (np.hypot(np.abs(x) - 4, y + 38) < 1.7) | (np.hypot(np.abs(x) - 34, y + 8) < 1.6)
    artery = np.broadcast_to(artery, plain.shape)
    vein = np.broadcast_to(np.hypot(x, y - 80) < 3.2, plain.shape)
    rng = np.random.default_rng(_SEED)
    start = dt.datetime.strptime(exam.date + exam.time, "%Y%m%d%H%M%S")
    for phase in range(PHASES):
        seconds = phase * PHASE_SECONDS
        image = plain + volume * np.where(
            late, 0.55 * bolus(seconds, ONSET + 1.5 + DELAY), bolus(seconds, ONSET + 1.5)
        )
        image = np.where(artery, 45 + 240 * bolus(seconds, ONSET), image)
        image = np.where(vein, 50 + 290 * bolus(seconds, ONSET + 5), image)
        image += rng.normal(0, 4.5, image.shape)
        moment = start + dt.timedelta(seconds=seconds)
        for index in range(PERFUSION_SHAPE[0]):
            number = phase * PERFUSION_SHAPE[0] + index + 1
            ds = common_elements(
                exam, CT_STORAGE, phantom_uid(exam.key, "1"), number=1, instance=number
            )
            ds.Modality, ds.SeriesDescription = "CT", "Perfusion, 20 phases"
            ds.BodyPartExamined, ds.PatientPosition = "HEAD", "HFS"
            ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
            ds.KVP, ds.ConvolutionKernel = 80, "STANDARD"
            ds.AcquisitionNumber, ds.TemporalPositionIdentifier = phase + 1, phase + 1
            ds.NumberOfTemporalPositions = PHASES
            ds.AcquisitionTime = ds.ContentTime = moment.strftime("%H%M%S.%f")
            size = PERFUSION_SHAPE[1]
            step, fine = PERFUSION_SPACING[0], PERFUSION_SPACING[1]
            _axial(ds, exam, step, fine, PERFUSION_BOTTOM, index, size)
            ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
            ds.WindowCenter, ds.WindowWidth = 40, 80
            stored = np.clip(np.rint(image[index]) + 1024, 0, 4095).astype(np.uint16)
            set_pixels(ds, stored, "MONOCHROME2", fine)
            yield write_file(ds, folder)


# -- ultrasound ------------------------------------------------------------------------------------

CINE_FRAMES, FRAME_MS = 30, 33.3
CINE_ROWS, CINE_COLUMNS, CINE_MM = 600, 800, 0.28
VENTRICLE_MM = 76.0  # long axis of the left ventricle in the first frame (end of diastole)


def echo_cine(exam: Exam, folder: Path) -> Iterator[Path]:
    """Write one heartbeat in the apical four-chamber view as an ultrasound cine."""
    frames = np.stack([_echo_frame(index) for index in range(CINE_FRAMES)])
    ds = common_elements(exam, US_STORAGE, phantom_uid(exam.key, "1"), number=1, instance=1)
    ds.Modality, ds.SeriesDescription, ds.BodyPartExamined = "US", "Apical four chambers", "HEART"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "CARDIAC"]
    ds.NumberOfFrames, ds.FrameTime, ds.FrameIncrementPointer = CINE_FRAMES, FRAME_MS, 0x00181063
    ds.CineRate, ds.RecommendedDisplayFrameRate, ds.HeartRate = 30, 30, 60
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = CINE_ROWS, CINE_COLUMNS
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.LossyImageCompression, ds.WindowCenter, ds.WindowWidth = "00", 128, 256
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 0, 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = CINE_COLUMNS - 1, CINE_ROWS - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3  # cm
    region.PhysicalDeltaX = region.PhysicalDeltaY = CINE_MM / 10
    ds.SequenceOfUltrasoundRegions = [region]
    ds.PixelData = frames.tobytes()
    ds["PixelData"].VR = "OB"
    yield write_file(ds, folder)


def _echo_frame(index: int) -> NDArray[np.uint8]:
    """Return a frame of the cine; the ventricles contract until frame 11 and fill again."""
    phase = index / CINE_FRAMES
    squeeze = math.sin(math.pi * min(1.0, phase / 0.75)) ** 2
    rows, columns = np.mgrid[0:CINE_ROWS, 0:CINE_COLUMNS].astype(np.float32)
    x, y = (columns - CINE_COLUMNS / 2) * CINE_MM, (rows - 12) * CINE_MM  # mm from the probe
    reach, angle = np.hypot(x, y), np.arctan2(x, np.maximum(y, 1e-3))
    echo = np.full(x.shape, 0.30, np.float32)

    def blend(cx: float, cy: float, rx: float, ry: float, value: float, turn: float = 0.0) -> None:
        cos, sin = math.cos(turn), math.sin(turn)
        u = ((x - cx) * cos + (y - cy) * sin) / rx
        v = ((y - cy) * cos - (x - cx) * sin) / ry
        mask = np.clip((1 - np.hypot(u, v)) * min(rx, ry) / 1.6 + 0.5, 0, 1)
        echo[...] += mask * (value - echo)

    short, narrow = 1 - 0.13 * squeeze, 1 - 0.30 * squeeze
    half = VENTRICLE_MM / 2
    blend(0, 82, 54, 62, 0.46)  # both ventricles' walls
    blend(2, 128, 50, 30, 0.44)
    blend(14, 42 + half + 4 * squeeze, 19 * narrow, half * short, 0.035, 0.04)
    blend(-23, 86 + 3 * squeeze, 14 * narrow, 30 * short, 0.04, -0.20)
    blend(20, 137, 20 + 2 * squeeze, 16 + 2 * squeeze, 0.035)
    blend(-22, 136, 19 + 2 * squeeze, 15 + 2 * squeeze, 0.04)
    opened = 0.15 + 0.9 * (1 - squeeze) * (1 if phase > 0.45 or phase < 0.05 else 0.1)
    plane = 116 - 6 * (1 - squeeze) + 4
    for cx, width, side in ((6, 9, 1), (32, 8, -1), (-32, 7, 1), (-14, 7, -1)):
        shift = -width * 0.5 * opened
        blend(cx + side * 3, plane + shift, width, 1.1, 0.95, side * (0.25 + 0.9 * opened) - 0.1)
    blend(4, 168, 70, 4.5, 0.85)  # pericardium
    rng = np.random.default_rng(_SEED + index)
    speckle = _speckle(rng, reach, angle)
    brightness = echo * (0.35 + 0.75 * speckle) * np.exp(-reach / 420)
    brightness += 0.05 * np.exp(-(((reach - 8) / 9) ** 2))
    grey = 255 * np.clip(np.log1p(18 * brightness) / math.log(19) - 0.18, 0, 1)
    grey *= (np.abs(angle) < math.radians(37)) & (reach < 162) & (reach > 2)
    frame: NDArray[np.uint8] = np.rint(grey).astype(np.uint8)
    return frame


def _speckle(
    rng: np.random.Generator, reach: NDArray[np.float32], angle: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return speckle that is fine along the beam and wide across it."""
    beams, depths = 220, 700
    field = rng.standard_normal((depths, beams)) + 1j * rng.standard_normal((depths, beams))
    for axis, times in ((0, 1), (1, 2)):
        for _ in range(times):
            field = field + np.roll(field, 1, axis) + np.roll(field, -1, axis)
    grain = np.abs(field)
    grain /= grain.mean()
    row = np.clip(reach / 170 * (depths - 1), 0, depths - 1).astype(int)
    beam = np.clip((angle / 1.4 + 0.5) * (beams - 1), 0, beams - 1).astype(int)
    speckle: NDArray[np.float32] = grain[row, beam].astype(np.float32)
    return speckle
