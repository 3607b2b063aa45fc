"""Slices in their order in the body, and what is odd about it."""

from __future__ import annotations

import math
import random
from pathlib import Path

import data_store
import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from s4s_notebook.imaging import read
from s4s_notebook.imaging.geometry import letters, normal, plane

from .make import AXIAL, CORONAL, enhanced, image, save, stack

MORE = Path(data_store.__file__).parent / "data"


def whys(study) -> list[str]:
    return [problem.why for problem in study.problems]


def test_slices_are_sorted_by_place_not_by_number(tmp_path) -> None:
    places = [(0, 0, z) for z in random.Random(1).sample(range(50), 50)]
    stack(tmp_path, places)
    frames = read(tmp_path).series[0].frames
    assert [frame.position[2] for frame in frames] == list(range(50))
    assert whys(read(tmp_path)) == []


def test_the_order_follows_the_normal(tmp_path) -> None:
    stack(tmp_path, [(0, y, 0) for y in (5, 1, 3)], CORONAL)
    series = read(tmp_path).series[0]
    assert normal(CORONAL).tolist() == [0, 1, 0]
    assert [frame.position[1] for frame in series.frames] == [1, 3, 5]
    assert series.plane == "coronal"


def test_gaps_duplicates_and_uneven_steps_are_told(tmp_path) -> None:
    stack(tmp_path, [(0, 0, z) for z in (0, 1, 2, 6, 7, 7, 8.1)])
    found = whys(read(tmp_path))
    assert "a gap of 4 mm after slice 3; the usual step is 1 mm" in found
    assert "1 slice at the place of another" in found
    assert any(why.startswith("steps from") for why in found)


def test_gantry_tilt_is_told(tmp_path) -> None:
    shift = math.tan(math.radians(12))
    stack(tmp_path, [(0, z * shift, z) for z in range(5)])
    assert "the gantry is tilted by 12.0°: the stack is sheared" in whys(read(tmp_path))


def test_mixed_orientations_are_never_stacked(tmp_path) -> None:
    stack(tmp_path, [(0, 0, z) for z in range(4)])
    stack(tmp_path, [(0, y, 0) for y in range(3)], CORONAL)
    study = read(tmp_path)
    assert [len(one.frames) for one in study.series] == [4, 3]
    assert [one.plane for one in study.series] == ["axial", "coronal"]
    assert [one.stack for one in study.series] == [1, 2]
    assert len({one.key for one in study.series}) == 2


def test_a_localizer_stands_apart(tmp_path) -> None:
    stack(tmp_path, [(0, 0, z) for z in range(3)])
    stack(tmp_path, [(0, 0, 9)], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert [len(one.frames) for one in read(tmp_path).series] == [3, 1]


def test_sizes_are_never_mixed(tmp_path) -> None:
    stack(tmp_path, [(0, 0, z) for z in range(3)])
    save(image(np.zeros((8, 8), np.int16), ImagePositionPatient=[0, 0, 3]), tmp_path / "big.dcm")
    assert [len(one.frames) for one in read(tmp_path).series] == [3, 1]


def test_pictures_without_a_place_are_sorted_by_number(tmp_path) -> None:
    for at, number in enumerate((3, 1, 2)):
        made = image(
            np.full((2, 2), number, np.uint8),
            InstanceNumber=number,
            ImagePositionPatient=None,
            ImageOrientationPatient=None,
        )
        save(made, tmp_path / f"{at}.dcm")
    frames = read(tmp_path).series[0].frames
    assert [int(frame.stored()[0, 0]) for frame in frames] == [1, 2, 3]


def test_series_are_sorted_by_number_and_objects_come_last(tmp_path) -> None:
    for number in (7, 2, 5):
        save(image(SeriesNumber=number, SeriesInstanceUID=f"1.2.{number}"), tmp_path / f"{number}")
    (tmp_path / "sr.dcm").write_bytes(Path(get_testdata_file("test-SR.dcm")).read_bytes())
    study = read(tmp_path)
    assert [one.instances[0].series_number for one in study.series] == [2, 5, 7, 1]
    assert "the files belong to 2 studies" in whys(study)


def test_a_cine_has_its_frame_time() -> None:
    series = read(get_testdata_file("examples_ybr_color.dcm")).series[0]
    assert series.frame_time == pytest.approx(33.333)
    assert len(series.frames) == 30
    assert [frame.index for frame in series.frames] == list(range(30))
    assert "30 frames" in series.label


def test_an_enhanced_object_has_a_place_for_each_frame(tmp_path) -> None:
    save(enhanced([3, 1, 2]), tmp_path / "a.dcm")
    series = read(tmp_path).series[0]
    assert [frame.position[2] for frame in series.frames] == [1, 2, 3]
    assert [frame.index for frame in series.frames] == [1, 2, 0]
    assert series.frames[0].spacing == (0.25, 0.25)
    assert series.frame_time is None
    assert series.volume()[:, 0, 0].tolist() == [1, 2, 0]


def test_a_segmentation_says_what_it_is() -> None:
    series = read(MORE / "liver.dcm").series[0]
    assert "Segmentation Storage" in series.label
    assert len(series.frames) == 3
    depths = [frame.position[2] for frame in series.frames]
    assert depths == sorted(depths)


def test_each_segment_is_a_stack_of_its_own(tmp_path) -> None:
    """They lie at the same places, and each is a volume."""
    made = enhanced([0, 1, 2, 1, 2])
    made.SOPClassUID, made.Modality = SegmentationStorage, "SEG"
    made.SegmentSequence = [Dataset(), Dataset()]
    for number, (one, label) in enumerate(
        zip(made.SegmentSequence, ("Liver", "Lesion"), strict=True)
    ):
        one.SegmentNumber, one.SegmentLabel = number + 1, label
    for group, number in zip(made.PerFrameFunctionalGroupsSequence, (1, 1, 1, 2, 2), strict=True):
        item = Dataset()
        item.ReferencedSegmentNumber = number
        group.SegmentIdentificationSequence = [item]
    study = read(save(made, tmp_path / "a.dcm"))
    assert [(one.part, len(one.frames)) for one in study.series] == [("Liver", 3), ("Lesion", 2)]
    assert "Lesion" in study.series[1].label
    assert "Lesion" in study.plot(1).alt
    assert [one.volume().spacing[0] for one in study.series] == [1, 1]
    assert whys(study) == []
    for one in made.SegmentSequence:
        one.SegmentLabel = "Mass"
    study = read(save(made, tmp_path / "a.dcm"))
    assert [one.part for one in study.series] == ["Mass segment 1", "Mass segment 2"]


def test_an_enhanced_object_has_a_window_and_slope_for_each_frame() -> None:
    frames = read(MORE / "eCT_Supplemental.dcm").series[0].instances[0].frames
    assert all(frame.windows for frame in frames)
    assert all(frame.unit == "HU" for frame in frames)


def test_the_gap_of_a_real_series_is_told(tmp_path) -> None:
    folder = Path(get_testdata_file("CT_small.dcm")).parent / "dicomdirtests" / "77654033"
    assert any(why.startswith("a gap of 202 mm") for why in whys(read(folder)))


@pytest.mark.parametrize(
    ("direction", "word"),
    [((1, 0, 0), "L"), ((-1, 0, 0), "R"), ((0, 1, 0), "P"), ((0, -1, 0), "A"), ((0, 0, 1), "H"),
     ((0, 0, -1), "F"), ((0.6, -0.8, 0), "AL"), ((0.1, 0.1, -0.99), "F")],
)  # fmt: skip
def test_directions_in_the_body(direction, word) -> None:
    assert letters(direction) == word


def test_planes() -> None:
    assert plane(AXIAL) == "axial"
    assert plane((0, 1, 0, 0, 0, -1)) == "sagittal"
    assert plane((1, 0, 0, 0, 0.7071, 0.7071)) == "oblique"
    assert plane(None) == ""


@pytest.mark.parametrize(
    ("elements", "spacing", "aspect"),
    [
        ({}, (0.5, 0.75), 0.5 / 0.75),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.2, 0.1]}, (0.2, 0.1), 2.0),
        ({"PixelSpacing": None, "PixelAspectRatio": [4, 3]}, None, 4 / 3),
        ({"PixelSpacing": [0, 1]}, None, 1.0),
        ({"PixelSpacing": None}, None, 1.0),
    ],
)
def test_spacing_and_the_shape_of_a_pixel(elements, spacing, aspect) -> None:
    from s4s_notebook.imaging.instance import Instance

    frame = Instance.from_dataset(image(**elements)).frames[0]
    assert frame.spacing == spacing
    assert frame.aspect == pytest.approx(aspect)
