"""A length has the unit of where it was drawn, and says where its scale comes from."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from s4s_notebook.imaging import read, render
from s4s_notebook.imaging.frame import Frame

from .make import enhanced, image, save

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "dicom"
NOWHERE = {"ImagePositionPatient": None, "ImageOrientationPatient": None}


def case(name: str, folder: Path) -> Any:
    """The one series of an input that failed once."""
    with zipfile.ZipFile(CASES / f"{name}.zip") as archive:
        archive.extractall(folder)
    [series] = read(folder).series
    return series


def frame(folder: Path, **elements: Any) -> Frame:
    """A picture of 100 columns and rows without a place in space."""
    made = image(np.zeros((100, 100), np.int16), **{**NOWHERE, "PixelSpacing": None, **elements})
    return read(save(made, folder / "a.dcm")).series[0].frames[0]


@pytest.mark.parametrize(
    ("elements", "size", "origin", "note"),
    [
        ({"Modality": "CT", "PixelSpacing": [0.2, 0.5]}, 50, "body", ""),
        (
            {"Modality": "MG", "ImagerPixelSpacing": [0.1, 0.1],
             "EstimatedRadiographicMagnificationFactor": 1.8},
            10 / 1.8, "body", "estimated at the patient (÷ 1.8)",
        ),
        (
            {"Modality": "DX", "ImagerPixelSpacing": [0.2, 0.2],
             "DistanceSourceToDetector": 1800, "DistanceSourceToPatient": 1500},
            20 / 1.2, "body", "estimated at the patient (÷ 1.2)",
        ),
        (
            {"Modality": "CR", "ImagerPixelSpacing": [0.2, 0.2]},
            20, "detector", "at the detector; the body part is smaller",
        ),
        (
            {"Modality": "DX", "ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.2, 0.2],
             "EstimatedRadiographicMagnificationFactor": 1.0},
            20, "detector", "at the detector; the body part is smaller",
        ),
        (
            {"Modality": "DX", "PixelSpacing": [0.15, 0.15], "ImagerPixelSpacing": [0.2, 0.2],
             "PixelSpacingCalibrationType": "FIDUCIAL"},
            15, "calibrated", "calibrated on an object in the picture",
        ),
        (
            {"Modality": "XA", "PixelSpacing": [0.15, 0.15], "ImagerPixelSpacing": [0.2, 0.2],
             "PixelSpacingCalibrationType": "GEOMETRY"},
            15, "calibrated", "corrected for magnification",
        ),
        (
            {"Modality": "XA", "PixelSpacing": [0.15, 0.15], "ImagerPixelSpacing": [0.2, 0.2]},
            15, "calibrated", "corrected (method not stated)",
        ),
        (
            {"Modality": "XA", "PixelSpacing": [0.15, 0.15]},
            15, "unstated", "the file does not say at which depth",
        ),
        (
            {"Modality": "CR", "NominalScannedPixelSpacing": [0.1, 0.1]},
            10, "film", "on the film",
        ),
        (
            {"Modality": "RTIMAGE", "ImagePlanePixelSpacing": [0.4, 0.4],
             "RadiationMachineSAD": 1000, "RTImageSID": 1600},
            25, "body", "at the isocentre",
        ),
        (
            {"Modality": "RTIMAGE", "ImagePlanePixelSpacing": [0.4, 0.4]},
            40, "detector", "at the image plane",
        ),
    ],
)  # fmt: skip
def test_where_the_scale_of_a_picture_comes_from(elements, size, origin, note, tmp_path) -> None:
    length = frame(tmp_path, **elements).length((0, 3), (100, 3))
    assert length.parts == ((pytest.approx(size), "mm"),)
    assert (length.origin, length.note) == (origin, note)
    assert str(length) == f"{size:.4g} mm" + (f" ({note})" if note else "")


def test_without_a_scale_a_length_is_in_pixels(tmp_path) -> None:
    length = frame(tmp_path, Modality="XA", PixelAspectRatio=[2, 1]).length((0, 0), (30, 20))
    assert (length.value, length.unit, length.origin) == (50, "px", "none")


def test_the_isocentre_of_an_enhanced_angiogram(tmp_path) -> None:
    made = enhanced([0.0])
    made.Modality, made.ImagerPixelSpacing = "XA", [0.3, 0.3]
    item = Dataset()
    item.ObjectPixelSpacingInCenterOfBeam = [0.2, 0.2]
    groups = made.PerFrameFunctionalGroupsSequence[0]
    groups.ProjectionPixelCalibrationSequence = [item]
    made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = None
    [series] = read(save(made, tmp_path / "a.dcm")).series
    length = series.frames[0].length((0, 0), (10, 0))
    assert (length.value, length.origin, length.note) == (
        pytest.approx(2), "calibrated", "at the isocentre",
    )  # fmt: skip


def region(box: tuple[int, int, int, int], units: tuple[int, int], **more: Any) -> Dataset:
    """An ultrasound region: left, right, top, bottom; units and deltas across and down."""
    made = Dataset()
    made.RegionLocationMinX0, made.RegionLocationMaxX1 = box[:2]
    made.RegionLocationMinY0, made.RegionLocationMaxY1 = box[2:]
    made.PhysicalUnitsXDirection, made.PhysicalUnitsYDirection = units
    made.PhysicalDeltaX, made.PhysicalDeltaY = more.pop("deltas", (0.05, 0.05))
    made.RegionFlags = more.pop("flags", 0)
    return made


@pytest.mark.parametrize(
    ("units", "deltas", "parts"),
    [
        ((3, 3), (0.03, 0.04), [(5.0, "mm")]),  # not square
        ((3, 3), (-0.03, 0.04), [(5, "mm")]),  # a direction
        ((4, 7), (0.01, -2.0), [(0.1, "s"), (20, "cm/s")]),  # spectral Doppler
        ((4, 5), (0.01, 50.0), [(0.1, "s"), (500, "Hz")]),
        ((4, 3), (0.01, 0.05), [(0.1, "s"), (5, "mm")]),  # M-mode
        ((4, 0), (0.01, 0.05), [(0.1, "s")]),  # ECG
        ((4, 3), (0.01, 0.0), [(0.1, "s")]),  # no size down
        ((0, 7), (0.0, 1.5), [(15, "cm/s")]),  # colour bar
        ((0, 0), (0.05, 0.05), [(200**0.5, "px")]),
    ],
)
def test_a_region_of_ultrasound_has_its_own_unit(units, deltas, parts, tmp_path) -> None:
    entry = region((0, 99, 0, 99), units, deltas=deltas)
    element = frame(tmp_path, Modality="US", SequenceOfUltrasoundRegions=[entry])
    length = element.length((10, 10), (20, 20))
    assert [unit for _, unit in length.parts] == [unit for _, unit in parts]
    assert [value for value, _ in length.parts] == pytest.approx([value for value, _ in parts])


def test_between_and_outside_of_regions_there_are_only_pixels(tmp_path) -> None:
    entries = [
        region((0, 100, 0, 49), (3, 3), flags=1),  # written with Columns, as real files have it
        region((20, 59, 10, 29), (4, 7), deltas=(0.01, 1)),
        region((0, 99, 60, 79), (4, 0), deltas=(0.01, 0)),
    ]
    element = frame(
        tmp_path, Modality="US", SequenceOfUltrasoundRegions=entries, PixelSpacing=[9, 9]
    )
    assert element.length((0, 0), (10, 0)).parts == ((5, "mm"),)
    assert element.length((99, 0), (99, 9)).unit == "mm"
    assert element.length((20, 10), (30, 10)).parts[0] == (pytest.approx(0.1), "s")  # priority
    assert element.length((0, 0), (30, 20)).unit == "px"
    assert element.length((0, 40), (0, 70)).unit == "px"
    assert element.length((0, 90), (10, 90)).note == "no calibration here"
    assert element.spacing == (0.5, 0.5)


def test_a_plot_says_at_which_depth_its_scale_holds(tmp_path) -> None:
    element = frame(tmp_path, Modality="DX", ImagerPixelSpacing=[0.2, 0.2])
    picture = read(tmp_path / "a.dcm").plot()
    assert element.scales[0].origin == "detector"
    assert "0.2 x 0.2 mm, at the detector" in picture.alt
    assert any("at the detector" in text.get_text() for text in picture.axes[0].texts)


@pytest.mark.needs("shared-data")
def test_the_strip_of_a_real_echo_is_in_seconds(tmp_path) -> None:
    element = case("real_us_ecg_strip", tmp_path).frames[0]
    strip = element.length((200, 540), (300, 540))
    assert (round(strip.value, 3), strip.unit) == (0.45, "s")
    assert element.length((300, 100), (400, 100)).unit == "mm"
    assert element.length((0, 0), (100, 0)).unit == "px"


@pytest.mark.needs("shared-data")
def test_a_mammogram_is_measured_in_the_breast(tmp_path) -> None:
    length = case("mg", tmp_path).frames[0].length((0, 0), (100, 0))
    assert str(length) == "5.556 mm (estimated at the patient (÷ 1.8))"


# ------------------------------------------------------------------ one grey range


@pytest.mark.parametrize(
    ("modality", "low", "high"), [("PT", 0, 9950), ("MR", 100, 9900), ("OT", 0, 10000)]
)
def test_one_grey_range_for_a_series_without_a_window(modality, low, high, tmp_path) -> None:
    values = np.arange(10001, dtype=np.int16)[:-1].reshape(4, 25, 100)
    values[-1, -1, -1] = 10000
    for at, pixels in enumerate(values):
        made = image(pixels, ImagePositionPatient=[0, 0, at], Modality=modality)
        save(made, tmp_path / f"{at}.dcm")
    [series] = read(tmp_path).series
    window = series.grey_range
    ends = window.center - window.width / 2, window.center + window.width / 2
    assert ends == pytest.approx((low, high), abs=2)
    brightest = [int(render(frame, window).max()) for frame in series.frames]
    assert brightest == sorted(brightest)
    assert brightest[0] < 80
    picture = series.plot([0, 1, 2, 3])
    assert f"center {window.center:g}" in picture.alt


def test_the_files_own_window_goes_first(tmp_path) -> None:
    for at in range(2):
        made = image(ImagePositionPatient=[0, 0, at], WindowCenter=10, WindowWidth=20)
        save(made, tmp_path / f"{at}.dcm")
    assert read(tmp_path).series[0].grey_range is None


@pytest.mark.needs("shared-data")
def test_pet_without_a_window_has_one_scale(tmp_path) -> None:
    series = case("pet_nowin", tmp_path)
    maxima = [int(frame.values().max()) for frame in series.frames]
    shown = [int(render(frame, series.grey_range).max()) for frame in series.frames]
    assert maxima == [100, 100, 1000, 1000, 10000]
    assert shown == [2, 2, 25, 25, 255]
