"""Measurements equal SimpleITK's, numpy's by hand, and the areas of geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK
from matplotlib.path import Path as Outline
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from s4s_notebook.errors import AmbiguousVolume, InvalidRegion, NotAnImage
from s4s_notebook.imaging import Ellipse, Line, Polygon, Rectangle, read

from .make import AXIAL, image, save, stack

GENERATOR = np.random.default_rng(7)


def noise(folder, depths, shape=(20, 30), **more):
    """A stack of noise, and its values."""
    for at, z in enumerate(depths):
        pixels = GENERATOR.integers(0, 3000, shape).astype(np.int16)
        place = more.get("ImagePositionPatient", [0, 0, z])
        elements = {"RescaleIntercept": -1024, "ImagePositionPatient": place, **more}
        elements["ImagePositionPatient"] = [0, 0.3 * z, z] if more.get("tilted") else place
        elements.pop("tilted", None)
        save(image(pixels, InstanceNumber=at, **elements), folder / f"{at:03}.dcm")
    return read(folder).series[0]


def theirs(values, mask, spacing):
    """SimpleITK's label statistics; its sigma is of a sample (n - 1)."""
    filter_ = SimpleITK.LabelStatisticsImageFilter()
    picture = SimpleITK.GetImageFromArray(np.asarray(values, np.float64))
    picture.SetSpacing(spacing[::-1])
    label = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    label.CopyInformation(picture)
    filter_.Execute(picture, label)
    shape = SimpleITK.LabelShapeStatisticsImageFilter()
    shape.Execute(label)
    n = filter_.GetCount(1)
    return {
        "n": n,
        "mean": filter_.GetMean(1),
        "sd": filter_.GetSigma(1) * math.sqrt((n - 1) / n),
        "min": filter_.GetMinimum(1),
        "max": filter_.GetMaximum(1),
        "sum": filter_.GetSum(1),
        "volume": shape.GetPhysicalSize(1),
    }


@pytest.mark.parametrize("more", [{}, {"RescaleSlope": 0.37}, {"Modality": "MR"}])
def test_a_mask_equals_simpleitk_and_numpy(tmp_path, more) -> None:
    series = noise(tmp_path, [0, 2.5, 5, 7.5], **more)
    values, volume = np.asarray(series.volume()), series.volume()
    mask = GENERATOR.random(values.shape) > 0.7
    [row] = series.measure(mask).to_dict("records")
    for name, value in theirs(values, mask, volume.spacing).items():
        assert row[name] == pytest.approx(value, rel=1e-6), name
    inside = values[mask].astype(np.float64)
    assert row["median"] == pytest.approx(np.median(inside))
    assert row["p95"] == pytest.approx(np.percentile(inside, 95))
    assert row["sd"] == pytest.approx(math.sqrt(((inside - inside.mean()) ** 2).mean()))
    assert (row["unit"], row["volume_unit"]) == ("" if more.get("Modality") else "HU", "mm3")
    assert row["volume"] == pytest.approx(mask.sum() * 0.5 * 0.75 * 2.5)


SHAPES = [
    Polygon([(3, 2), (25.4, 4.2), (20.1, 17.7), (9, 9.3)]),
    Polygon([(5, 5), (20, 15), (20, 5), (5, 15)]),  # crosses itself: even-odd
    Polygon([(-4, 3), (10.2, -3), (35, 25), (4, 12)]),  # beyond the picture
    Rectangle((4.2, 3.1), (17.9, 11.6)),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_polygons_equal_matplotlib(shape, tmp_path) -> None:
    series = noise(tmp_path, [0])
    ours = shape.mask((20, 30))
    centres = np.stack(np.meshgrid(np.arange(30), np.arange(20)), axis=-1).reshape(-1, 2)
    closed = np.vstack([shape.outline, shape.outline[:1]])
    inside = Outline(closed).contains_points(centres).reshape(20, 30)
    if shape is SHAPES[1]:  # matplotlib fills by winding
        assert 0 < ours.sum() <= inside.sum()
    else:
        assert np.array_equal(ours, inside)
    [row] = series.measure(shape).to_dict("records")
    values = series.frames[0].values()[ours]
    assert (row["n"], row["mean"]) == (ours.sum(), pytest.approx(values.mean()))
    assert row["area"] == pytest.approx(ours.sum() * 0.375)
    assert ("beyond" in row["note"]) == (shape is SHAPES[2])


def test_shapes_side_by_side_share_no_pixel() -> None:
    left, right = Rectangle((2, 1), (7, 9)), Rectangle((12, 9), (7, 1))
    first, second = left.mask((20, 30)), right.mask((20, 30))
    assert (first.sum(), second.sum()) == (5 * 8, 5 * 8)
    assert not (first & second).any()


def test_an_ellipse_has_its_own_area_and_its_pixels(tmp_path) -> None:
    series = noise(tmp_path, [0], (200, 200))
    for angle in (0, 30, 90):
        shape = Ellipse((101.3, 99.2), (60, 25), angle)
        [row] = series.measure(shape).to_dict("records")
        assert row["outline_area"] == pytest.approx(math.pi * 60 * 25 * 0.375)
        assert row["area"] == pytest.approx(row["outline_area"], rel=0.01)
    turned, plain = Ellipse((50, 50), (9, 4), 90), Ellipse((50, 50), (4, 9))
    assert np.array_equal(turned.mask((99, 99)), plain.mask((99, 99)))


def test_padding_and_values_that_are_none_are_counted_apart(tmp_path) -> None:
    pixels = np.full((10, 10), 100, np.int16)
    pixels[:, :3] = -2000
    [series] = read(save(image(pixels, PixelPaddingValue=-2000), tmp_path / "a.dcm")).series
    [row] = series.measure(Rectangle((0, 0), (10, 2))).to_dict("records")
    assert (row["n"], row["excluded"], row["mean"], row["sd"]) == (14, 6, 100, 0)
    assert row["area"] == pytest.approx(20 * 0.375)
    with pytest.raises(InvalidRegion, match="padding"):
        series.measure(Rectangle((0, 0), (3, 3)))


def test_a_line_has_its_length_and_profile(tmp_path) -> None:
    ramp = np.add.outer(np.arange(20) * 10, np.arange(30)).astype(np.int16)
    [series] = read(save(image(ramp), tmp_path / "a.dcm")).series
    line = Line((2, 3), (14, 12))
    length = math.hypot(12 * 0.75, 9 * 0.5)
    [row] = series.measure(line).to_dict("records")
    assert (row["length"], row["length_unit"]) == (pytest.approx(length), "mm")
    table = series.profile(line)
    assert table["distance_mm"].iloc[-1] == pytest.approx(length)
    assert table["distance_mm"].diff().max() <= 0.25
    along = table["distance_mm"] / length
    assert table["value"].to_numpy() == pytest.approx(32 + along * (12 + 90))
    assert row["mean"] == pytest.approx(table["value"].mean())
    with pytest.raises(InvalidRegion, match="leaves the picture"):
        series.profile(Line((2, 3), (99, 3)))


def test_a_histogram_counts_every_value(tmp_path) -> None:
    series = noise(tmp_path, [0])
    everywhere = np.ones((20, 30), bool)
    table = series.histogram(everywhere, 0)
    values, counts = np.unique(series.frames[0].values(), return_counts=True)
    assert table["n"].sum() == 600
    existing = table[table["n"] > 0]
    assert ((existing["low"] + existing["high"]) / 2).tolist() == values.tolist()
    assert existing["n"].tolist() == counts.tolist()
    save(image(GENERATOR.random((20, 30)).astype(np.int16), RescaleSlope=0.1), tmp_path / "x.dcm")
    assert series.histogram(everywhere, bins=7)["n"].sum() == 600


REGIONS = Dataset()
REGIONS.RegionLocationMinX0, REGIONS.RegionLocationMaxX1 = 0, 14
REGIONS.RegionLocationMinY0, REGIONS.RegionLocationMaxY1 = 0, 19
REGIONS.PhysicalUnitsXDirection = REGIONS.PhysicalUnitsYDirection = 3  # cm
REGIONS.PhysicalDeltaX, REGIONS.PhysicalDeltaY = 0.02, 0.03


@pytest.mark.parametrize(
    ("elements", "area", "unit", "note"),
    [
        ({"PixelSpacing": None, "Modality": "DX"}, 20, "px", "no one scale"),
        (
            {"PixelSpacing": None, "Modality": "MG", "ImagerPixelSpacing": [0.1, 0.1]},
            20 * 0.01, "mm2", "at the detector",
        ),
        (
            {
                "PixelSpacing": None, "Modality": "MG", "ImagerPixelSpacing": [0.1, 0.1],
                "EstimatedRadiographicMagnificationFactor": 2,
            },
            20 * 0.0025, "mm2", "estimated at the patient",
        ),
        ({"Modality": "US", "SequenceOfUltrasoundRegions": [REGIONS]}, 20 * 0.06, "mm2", ""),
    ],
)  # fmt: skip
def test_an_area_knows_its_scale(elements, area, unit, note, tmp_path) -> None:
    pixels = np.zeros((20, 30), np.int16)
    [series] = read(save(image(pixels, **elements), tmp_path / "a.dcm")).series
    [row] = series.measure(Rectangle((2, 2), (7, 6))).to_dict("records")
    assert (row["area"], row["area_unit"]) == (pytest.approx(area), unit)
    assert note in row["note"]
    if unit == "mm2" and not note:  # half of it lies outside of the region
        [row] = series.measure(Rectangle((10, 2), (20, 6))).to_dict("records")
        assert (row["area"], row["area_unit"]) == (40, "px")


def test_a_sheared_volume_is_true_and_an_uneven_one_is_refused(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    series = noise(tmp_path / "a", [0, 4, 8, 12], tilted=True)
    assert series.volume().sheared
    mask = np.zeros((4, 20, 30), bool)
    mask[1:3, 5:10, 5:10] = True
    [row] = series.measure(mask).to_dict("records")
    assert row["volume"] == pytest.approx(50 * 0.375 * 4)  # shear changes no volume
    series = noise(tmp_path / "b", [0, 4, 8, 12, 30, 34])
    mask = np.zeros((6, 20, 30), bool)
    mask[1, 5:10, 5:10] = True
    assert series.measure(mask)["volume"][0] == pytest.approx(25 * 0.375 * 4)
    mask[3] = True
    with pytest.raises(AmbiguousVolume, match="not evenly spaced"):
        series.measure(mask)


def test_the_volume_of_one_slice_needs_a_thickness(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    mask = np.ones((1, 20, 30), bool)
    row = noise(tmp_path / "a", [0]).measure(mask).iloc[0]
    assert (row["area_unit"], math.isnan(row["volume"])) == ("mm2", True)
    assert "no thickness" in row["note"]
    row = noise(tmp_path / "b", [0], SliceThickness=3).measure(mask).iloc[0]
    assert row["volume"] == pytest.approx(600 * 0.375 * 3)


def test_each_volume_of_a_series_has_a_row(tmp_path) -> None:
    for time in range(3):
        stack(
            tmp_path, [(0, 0, z) for z in range(2)], AXIAL,
            TemporalPositionIdentifier=time + 1, RescaleIntercept=100 * time,
        )  # fmt: skip
    [series] = read(tmp_path).series
    table = series.measure(np.ones((2, 4, 6), bool))
    assert table["volume_index"].tolist() == [0, 1, 2]
    assert table["mean"].tolist() == [0.5, 100.5, 200.5]


def test_what_does_not_fit_is_refused(tmp_path) -> None:
    series = noise(tmp_path, [0, 1])
    for region, frame, why in (
        (np.ones((3, 20, 30), bool), None, "volume"),
        (np.ones((5, 5), bool), 0, "rows, columns"),
        (np.zeros((20, 30), bool), 0, "No pixel centre"),
        (np.zeros((2, 20, 30), bool), None, "No pixel centre"),
        (Ellipse((5.5, 5.5), (0.3, 0.3)), 0, "No pixel centre"),
        (Ellipse((5, 5), (3, 3)), None, "one of 2 pictures"),
    ):
        with pytest.raises(InvalidRegion, match=why):
            series.measure(region, frame)
    with pytest.raises(TypeError, match="mask > 0"):
        series.measure(np.ones((20, 30)), 0)
    with pytest.raises(IndexError):
        series.measure(Ellipse((5, 5), (3, 3)), 2)
    for wrong in (lambda: Polygon([(0, 0), (1, 1)]), lambda: Ellipse((0, 0), (0, 1))):
        with pytest.raises(ValueError, match=r"points|above 0"):
            wrong()
    with pytest.raises(ValueError, match="finite"):
        Line((0, 0), (math.nan, 1))


def test_colour_has_a_row_for_each_channel() -> None:
    [series] = read(get_testdata_file("examples_rgb_color.dcm")).series
    table = series.measure({"middle": Rectangle((100, 100), (120, 110))}, 0)
    assert table["channel"].tolist() == ["red", "green", "blue"]
    values = series.frames[0].values()[100:110, 100:120]
    assert table["mean"].to_numpy() == pytest.approx(values.mean(axis=(0, 1)))
    with pytest.raises(NotAnImage, match="no place"):
        series.measure(np.ones((1, 240, 320), bool))
