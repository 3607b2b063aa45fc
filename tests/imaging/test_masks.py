"""Masks equal the arrays that they were written from; contours equal matplotlib and geometry."""

from __future__ import annotations

import math

import highdicom
import numpy as np
import pytest
import SimpleITK
from matplotlib.path import Path as Outline
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, generate_uid

from s4s_notebook.errors import InvalidRegion, UncertainMask
from s4s_notebook.imaging import read

from .make import AXIAL, CORONAL, image, save

FRAME, OTHER = "1.2.826.0.1.3680043.9.7", "1.2.826.0.1.3680043.9.8"
GENERATOR = np.random.default_rng(3)
SHAPE = (7, 19, 23)  # 437 pixels: frames of one bit do not begin at a byte


def ct(folder, depths=range(0, 14, 2), shape=SHAPE[1:], orientation=AXIAL, spacing=(0.5, 0.75)):
    """A CT in one frame of reference; slice k is filled with noise."""
    folder.mkdir(exist_ok=True)
    through = np.cross(orientation[:3], orientation[3:])
    files = []
    for at, z in enumerate(depths):
        pixels = GENERATOR.integers(0, 2000, shape).astype(np.int16)
        made = image(
            pixels, FrameOfReferenceUID=FRAME, InstanceNumber=at + 1, SliceThickness=2,
            ImageOrientationPatient=list(orientation), PixelSpacing=list(spacing),
            ImagePositionPatient=list(np.array([5.0, -3.0, 1.0]) + through * z),
        )  # fmt: skip
        made.PatientBirthDate, made.PatientSex, made.StudyDate, made.StudyTime = "", "", "", ""
        made.AccessionNumber = made.ReferringPhysicianName = made.StudyID = ""
        made.RescaleIntercept, made.ImageType = -1024, ["ORIGINAL", "PRIMARY", "AXIAL"]
        files.append(save(made, folder / f"{at:03}.dcm"))
    return files


def segment(number, label="liver"):
    return highdicom.seg.SegmentDescription(
        number, label, codes.SCT.Organ, codes.SCT.Liver,
        highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
    )  # fmt: skip


def by_highdicom(files, array, kind, labels=("liver", "tumour"), **more):
    return highdicom.seg.Segmentation(
        [dcmread(file) for file in files], array, kind,
        [segment(at + 1, label) for at, label in enumerate(labels)],
        generate_uid(), 9, generate_uid(), 1, "Maker", "Model", "1", "Serial", **more,
    )  # fmt: skip


def series_of(folder):
    return next(series for series in read(folder).series if series.modality == "CT")


def blobs():
    array = GENERATOR.random((*SHAPE, 2)) > 0.6
    array[2] = array[5, ..., 1] = False  # empty frames, which writers leave out
    return array


@pytest.mark.parametrize("order", [1, -1])
def test_a_binary_segmentation_by_highdicom(tmp_path, order) -> None:
    files, array = ct(tmp_path), blobs()
    kind = highdicom.seg.SegmentationTypeValues.BINARY
    made = by_highdicom(files[::order], array[::order].astype(np.uint8), kind)
    save(made, tmp_path / "seg.dcm")
    masks = series_of(tmp_path).masks
    assert [(mask.name, mask.number, mask.kind) for mask in masks] == [
        ("liver", 1, "segment"), ("tumour", 2, "segment"),
    ]  # fmt: skip
    for at, mask in enumerate(masks):
        assert np.array_equal(mask.values, array[..., at])
        assert mask.notes == ()


def test_a_fractional_segmentation_and_its_threshold(tmp_path) -> None:
    files = ct(tmp_path)
    array = GENERATOR.integers(0, 256, SHAPE) / 255
    kind = highdicom.seg.SegmentationTypeValues.FRACTIONAL
    save(by_highdicom(files, array, kind, ("liver",)), tmp_path / "seg.dcm")
    [mask] = series_of(tmp_path).masks
    assert mask.fractions == pytest.approx(array, abs=1e-6)
    assert np.array_equal(mask.values, array >= 0.5)
    assert mask.at_least(0.9).values.sum() == (array >= 0.9).sum()


def test_a_label_map(tmp_path) -> None:
    files = ct(tmp_path)
    array = GENERATOR.integers(0, 3, SHAPE).astype(np.uint8)
    kind = highdicom.seg.SegmentationTypeValues.LABELMAP
    save(by_highdicom(files, array, kind), tmp_path / "seg.dcm")
    masks = series_of(tmp_path).masks
    assert [mask.name for mask in masks] == ["liver", "tumour"]  # and not the background
    for mask in masks:
        assert np.array_equal(mask.values, array == mask.number)


def packed(array, orientation=AXIAL, spacing=(0.5, 0.75), *, frame=FRAME, places=None, step=2.0):
    """A binary segmentation of one segment, its bits packed by hand, the first in the lowest."""
    bits = np.packbits(array.ravel().astype(np.uint8), bitorder="little").tobytes()
    none = {"PixelSpacing": None, "ImageOrientationPatient": None, "ImagePositionPatient": None}
    made = image(np.zeros(array.shape[1:], np.uint8), Modality="SEG", **none)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    made.SeriesInstanceUID, made.FrameOfReferenceUID = generate_uid(), frame
    made.NumberOfFrames, made.BitsAllocated, made.BitsStored, made.HighBit = len(array), 1, 1, 0
    made.PixelData = bits + b"\0" * (len(bits) % 2)
    made["PixelData"].VR = "OB"
    made.SegmentationType = "BINARY"
    item, shared, measures, plane = Dataset(), Dataset(), Dataset(), Dataset()
    item.SegmentNumber, item.SegmentLabel = 1, "by hand"
    made.SegmentSequence = Sequence([item])
    measures.PixelSpacing, measures.SpacingBetweenSlices = list(spacing), step
    plane.ImageOrientationPatient = list(orientation)
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([plane])
    made.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for place in places or [[5, -3, 1 + 2 * at] for at in range(len(array))]:
        group, where, number = Dataset(), Dataset(), Dataset()
        where.ImagePositionPatient, number.ReferencedSegmentNumber = [float(v) for v in place], 1
        group.PlanePositionSequence = Sequence([where])
        group.SegmentIdentificationSequence = Sequence([number])
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return made


def test_bits_packed_by_hand_and_frames_in_any_order(tmp_path) -> None:
    ct(tmp_path)
    array = GENERATOR.random(SHAPE) > 0.5
    order = [3, 0, 6, 1]
    places = [[5, -3, 1 + 2 * at] for at in order]
    save(packed(array[order], places=places), tmp_path / "seg.dcm")
    [mask] = series_of(tmp_path).masks
    expected = np.zeros(SHAPE, bool)
    expected[order] = array[order]
    assert np.array_equal(mask.values, expected)


def test_another_grid_is_resampled_to_the_nearest_as_simpleitk_does(tmp_path) -> None:
    ct(tmp_path)
    array = GENERATOR.random((5, 16, 12)) > 0.5
    places = [[4.3, 2.2, 0.4 + 3.1 * at] for at in range(5)]  # coarser, shifted, flipped rows
    flipped = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    made = packed(array, flipped, (0.83, 1.21), places=places[::-1], step=3.1)
    save(made, tmp_path / "seg.dcm")
    series = series_of(tmp_path)
    [mask] = series.masks
    theirs = SimpleITK.GetImageFromArray(array[::1].astype(np.uint8))
    theirs.SetSpacing((1.21, 0.83, 3.1))
    theirs.SetOrigin(places[-1])
    theirs.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, -1))
    reference = SimpleITK.ReadImage([str(f.instance.path) for f in series.frames])
    resampled = SimpleITK.Resample(
        theirs, reference, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor
    )
    assert np.array_equal(mask.values, SimpleITK.GetArrayFromImage(resampled).astype(bool))
    assert mask.values.any()
    assert "nearest" in mask.notes[0]


def test_a_coronal_segmentation_of_an_axial_series(tmp_path) -> None:
    ct(tmp_path)
    array = GENERATOR.random((8, 7, 10)) > 0.4
    places = [[5.0, -2.0 + 0.5 * at, 13.0] for at in range(8)]
    made = packed(array, CORONAL, (2.0, 0.75), places=places, step=0.5)
    save(made, tmp_path / "seg.dcm")
    [mask] = series_of(tmp_path).masks
    expected = np.zeros(SHAPE, bool)  # row k of a cut lies at z = 13 - 2k
    expected[:, 2:10, :10] = array.transpose(1, 0, 2)[::-1]
    assert np.array_equal(mask.values, expected)


@pytest.mark.parametrize("kind", ["segment", "contours", "dose"])
def test_another_frame_of_reference_is_refused(kind, tmp_path) -> None:
    ct(tmp_path)
    if kind == "segment":
        save(packed(np.ones(SHAPE, bool), frame=OTHER), tmp_path / "other.dcm")
    elif kind == "contours":
        square = [5, -3, 1, 9, -3, 1, 9, 2, 1]
        save(structures([("a", [square])], frame=OTHER), tmp_path / "other.dcm")
    else:
        save(dose(np.ones((3, 4, 5)), frame=OTHER), tmp_path / "other.dcm")
    series = series_of(tmp_path)
    with pytest.raises(UncertainMask, match="frame of reference"):
        assert series.doses if kind == "dose" else series.masks


def test_without_a_frame_of_reference_the_references_decide(tmp_path) -> None:
    files = ct(tmp_path)
    made = packed(np.ones(SHAPE, bool), frame="")
    path = save(made, tmp_path / "seg.dcm")
    with pytest.raises(UncertainMask, match="refers to none"):
        assert series_of(tmp_path).masks
    item = Dataset()
    item.ReferencedSOPInstanceUID = dcmread(files[0]).SOPInstanceUID
    made.ReferencedSeriesSequence = Sequence([item])
    save(made, path)
    assert series_of(tmp_path).masks[0].values.all()
    made.FrameOfReferenceUID = OTHER  # a reference does not stand for a registration
    save(made, path)
    with pytest.raises(UncertainMask, match="another frame of reference"):
        assert series_of(tmp_path).masks


def test_frames_without_a_position_follow_the_pictures_that_they_refer_to(tmp_path) -> None:
    files, array = ct(tmp_path), GENERATOR.random((3, *SHAPE[1:])) > 0.5
    made = packed(array)
    for group, at in zip(made.PerFrameFunctionalGroupsSequence, (5, 0, 2), strict=True):
        del group.PlanePositionSequence
        source, image_ = Dataset(), Dataset()
        source.ReferencedSOPInstanceUID = dcmread(files[at]).SOPInstanceUID
        image_.SourceImageSequence = Sequence([source])
        group.DerivationImageSequence = Sequence([image_])
    path = save(made, tmp_path / "seg.dcm")
    [mask] = series_of(tmp_path).masks
    assert np.array_equal(mask.values[[5, 0, 2]], array)
    assert mask.values.sum() == array.sum()
    del made.PerFrameFunctionalGroupsSequence[1].DerivationImageSequence
    save(made, path)
    with pytest.raises(UncertainMask, match="no position"):
        assert series_of(tmp_path).masks


def test_two_frames_at_one_place_are_refused_and_those_outside_are_noted(tmp_path) -> None:
    ct(tmp_path)
    array = np.ones((2, *SHAPE[1:]), bool)
    path = save(packed(array, places=[[5, -3, 1], [5, -3, 1]]), tmp_path / "seg.dcm")
    with pytest.raises(UncertainMask, match="one place"):
        assert series_of(tmp_path).masks[0].values
    save(packed(array, places=[[5, -3, 1], [5, -3, 99]]), path)
    [mask] = series_of(tmp_path).masks
    assert mask.values.sum() == array[0].size
    assert mask.notes == ("1 frame outside of the series",)


def test_a_slice_that_the_series_lost_is_told(tmp_path) -> None:
    files, array = ct(tmp_path), GENERATOR.random(SHAPE) > 0.5
    save(packed(array), tmp_path / "seg.dcm")
    files[3].unlink()
    series = series_of(tmp_path)
    [mask] = series.masks
    assert np.array_equal(mask.values, array[[0, 1, 2, 4, 5, 6]])
    assert mask.notes[1] == "1 frame between the slices, or outside of the series"


@pytest.mark.parametrize("order", ["implicit", "big"])
def test_bits_in_other_transfer_syntaxes(order, tmp_path) -> None:
    ct(tmp_path)
    array = GENERATOR.random(SHAPE) > 0.5
    made, implicit = packed(array), order == "implicit"
    uid = ImplicitVRLittleEndian if implicit else ExplicitVRBigEndian
    made.file_meta.TransferSyntaxUID = uid
    dcmwrite(
        tmp_path / "seg.dcm", made, implicit_vr=implicit, little_endian=implicit,
        force_encoding=True,
    )  # fmt: skip
    assert np.array_equal(series_of(tmp_path).masks[0].values, array)


def test_a_mask_lies_on_a_tilted_an_uneven_and_a_timed_series(tmp_path) -> None:
    array = GENERATOR.random((4, 20, 24)) > 0.5
    for name, places in (
        ("tilted", [[0, 1.0 * at, 3.0 * at] for at in range(4)]),
        ("uneven", [[0, 0, z] for z in (0, 2, 4, 9)]),
    ):
        folder = tmp_path / name
        folder.mkdir()
        for time in range(2):
            for at, place in enumerate(places):
                made = image(
                    np.full((20, 24), 10 * time + at, np.int16), FrameOfReferenceUID=FRAME,
                    ImagePositionPatient=place, TemporalPositionIdentifier=time + 1,
                    InstanceNumber=10 * time + at,
                )  # fmt: skip
                save(made, folder / f"{time}{at}.dcm")
        save(packed(array, places=places), folder / "seg.dcm")
        series = series_of(folder)
        [mask] = series.masks
        assert np.array_equal(mask.values, array), name
        if name == "tilted":
            table = series.measure(mask)
            assert table["volume"].tolist() == pytest.approx([array.sum() * 0.375 * 3] * 2)
            assert table["mean"].diff()[1] == pytest.approx(10)


def structures(regions, frame=FRAME, kind="CLOSED_PLANAR"):
    """A structure set; each region has contours in mm, flat."""
    made = image(None, Modality="RTSTRUCT", SeriesInstanceUID=generate_uid(), PixelSpacing=None)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    for keyword in ("PixelData", "Rows", "Columns", "FrameOfReferenceUID"):
        if keyword in made:
            delattr(made, keyword)
    names, contours = [], []
    for number, (name, outlines) in enumerate(regions, 1):
        region, item = Dataset(), Dataset()
        region.ROINumber, region.ROIName = number, name
        region.ReferencedFrameOfReferenceUID = frame
        item.ReferencedROINumber = number
        total = []
        for outline in outlines:
            contour = Dataset()
            contour.ContourGeometricType = kind
            contour.ContourData = [round(float(v), 4) for v in np.ravel(outline)]
            contour.NumberOfContourPoints = len(contour.ContourData) // 3
            total.append(contour)
        item.ContourSequence = Sequence(total)
        names.append(region)
        contours.append(item)
    made.StructureSetROISequence, made.ROIContourSequence = Sequence(names), Sequence(contours)
    return made


def circle(radius, z, center=(0.0, 0.0), points=120):
    turn = np.linspace(0, 2 * math.pi, points, endpoint=False)
    x, y = center[0] + radius * np.cos(turn), center[1] + radius * np.sin(turn)
    return np.stack([x, y, np.full(points, z)], axis=1)


def sphere(radius, depths, center):
    """Circles of a sphere at the depths of slices."""
    return [
        circle(math.sqrt(radius**2 - (z - center[2]) ** 2), z, center)
        for z in depths
        if abs(z - center[2]) < radius
    ]


@pytest.mark.parametrize(
    ("radius", "spacing"), [(30, (0.9, 0.7)), (12, (0.5, 0.5)), (9, (0.6,) * 2)]
)
def test_a_sphere_has_its_volume_and_equals_matplotlib(radius, spacing, tmp_path) -> None:
    size = int(2.4 * radius / min(spacing))
    zs = np.arange(-radius - 2, radius + 3, 1.0)
    ct(tmp_path, zs, (size, size), spacing=spacing)
    center = (5 + size * spacing[1] / 2 + 0.13, -3 + size * spacing[0] / 2 - 0.21, 1.3)
    outlines = sphere(radius, zs + 1, center)
    save(structures([("ball", outlines)]), tmp_path / "rt.dcm")
    series = series_of(tmp_path)
    [mask] = series.masks
    [row] = series.measure(mask).to_dict("records")
    assert row["volume"] == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.02)
    expected = np.zeros(mask.shape, bool)
    i, j = np.meshgrid(np.arange(size), np.arange(size))
    centres = np.stack([5 + i * spacing[1], -3 + j * spacing[0]], axis=-1).reshape(-1, 2)
    for outline in outlines:
        at = int(np.argmin(np.abs(zs + 1 - outline[0, 2])))
        inside = Outline(np.vstack([outline, outline[:1]])[:, :2]).contains_points(centres)
        expected[at] = inside.reshape(size, size)
    both = (mask.values & expected).sum()
    assert 2 * both / (mask.values.sum() + expected.sum()) >= 0.999


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_a_contour_within_a_contour_is_a_hole(kind, tmp_path) -> None:
    ct(tmp_path, [0], (200, 200), spacing=(0.5, 0.5))
    center = (55.0, 47.0)
    outlines = [circle(40, 1, center), circle(20, 1, center), circle(8, 1, center)]
    save(structures([("ring", outlines)], kind=kind), tmp_path / "rt.dcm")
    [mask] = series_of(tmp_path).masks
    area = math.pi * (40**2 - 20**2 + 8**2)
    assert mask.values.sum() * 0.25 == pytest.approx(area, rel=0.01)
    assert not mask.values[0, 100, 130]  # in the hole


def test_a_keyhole_and_an_oblique_series(tmp_path) -> None:
    """A hole that is joined to the outline by a cut, on slices that are turned in space."""
    turned = (0.8, 0.6, 0.0, -0.48, 0.64, -0.6)
    ct(tmp_path, [0, 3], (60, 60), turned, (1.0, 1.0))
    outer = [(10, 10), (50, 10), (50, 50), (10, 50), (10, 10)]
    inner = [(20, 20), (20, 30), (30, 30), (30, 20), (20, 20)]
    plane = np.array(outer + inner, float)
    through = np.cross(turned[:3], turned[3:])
    points = (
        np.array([5.0, -3.0, 1.0]) + 3 * through
        + plane[:, :1] * np.array(turned[:3]) + plane[:, 1:] * np.array(turned[3:])
    )  # fmt: skip
    save(structures([("keyhole", [points])]), tmp_path / "rt.dcm")
    [mask] = series_of(tmp_path).masks
    at = 0 if mask.values[0].any() else 1
    assert mask.values.sum() == mask.values[at].sum() == pytest.approx(1600 - 100, abs=90)
    assert not mask.values[at, 25, 25]
    assert mask.values[at, 45, 25]


def test_what_is_no_contour_of_a_slice_is_told(tmp_path) -> None:
    ct(tmp_path)
    good = circle(3, 3.0, (10, 0))
    between, far = circle(2, 4.1, (10, 0)), circle(2, 88, (10, 0))
    upright = np.array([[9, 0, 1], [10, 0, 5], [11, 0, 3.0]])
    twice = good[:2]
    outlines = [good, circle(3, 3.9, (10, 0)), between, far, upright, twice]
    save(structures([("a", outlines)]), tmp_path / "rt.dcm")
    series = series_of(tmp_path)
    [mask] = series.masks
    assert mask.values.any(axis=(1, 2)).tolist() == [False, True, True] + [False] * 4
    notes = "; ".join(mask.notes)
    for words in (
        "fewer than three",
        "across the slices",
        "between slices",
        "outside of the series",
    ):
        assert words in notes
    assert "across the slices" in series.measure(mask)["note"][0]


def test_points_are_no_mask(tmp_path) -> None:
    ct(tmp_path)
    save(structures([("isocentre", [[5, 5, 3]])], kind="POINT"), tmp_path / "rt.dcm")
    with pytest.raises(UncertainMask, match="isocentre: no closed contour"):
        assert series_of(tmp_path).masks
    both = structures([("isocentre", [[5, 5, 3]]), ("a", [circle(3, 3.0, (10, 0))])])
    both.ROIContourSequence[0].ContourSequence[0].ContourGeometricType = "POINT"
    save(both, tmp_path / "rt.dcm")
    with pytest.warns(UserWarning, match="isocentre"):
        [mask] = series_of(tmp_path).masks
    assert mask.name == "a"


def dose(values, frame=FRAME, offsets=(0.0, 3.0, 7.0), units="GY"):
    """A dose grid of uneven planes."""
    stored = np.rint(np.asarray(values) * 1000).astype(np.uint32)
    made = image(
        stored.reshape(-1, stored.shape[2]), Modality="RTDOSE", Rows=stored.shape[1],
        NumberOfFrames=len(stored), FrameOfReferenceUID=frame, DoseGridScaling=0.001,
        DoseUnits=units, DoseType="PHYSICAL", DoseSummationType="PLAN",
        GridFrameOffsetVector=list(offsets), PixelSpacing=[2.0, 3.0],
        ImagePositionPatient=[4.0, -4.0, 0.0], SeriesInstanceUID=generate_uid(),
    )  # fmt: skip
    del made.RescaleSlope, made.RescaleIntercept
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.2"
    return made


@pytest.mark.parametrize("down", [False, True])
def test_a_dose_lies_in_gray_on_the_series(down, tmp_path) -> None:
    """The dose grows linearly in space, so each voxel of the CT has a value that is known."""
    ct(tmp_path)
    offsets = (0.0, 3.0, 7.0)
    z, y, x = np.meshgrid(offsets, -4 + 2.0 * np.arange(6), 4 + 3.0 * np.arange(5), indexing="ij")
    values = 10 + 0.5 * x + 0.25 * y + 1.25 * z
    made = dose(values, offsets=offsets)
    if down:  # planes against the normal
        made = dose(values[::-1], offsets=tuple(o - 7 for o in offsets[::-1]))
        made = dose(values[::-1], offsets=(0.0, -4.0, -7.0))
        made.ImagePositionPatient = [4.0, -4.0, 7.0]
    save(made, tmp_path / "dose.dcm")
    series = series_of(tmp_path)
    [entry] = series.doses
    assert (entry.kind, entry.summation, entry.volume.unit) == ("PHYSICAL", "PLAN", "Gy")
    ours = np.asarray(entry.volume)
    assert ours.shape == SHAPE
    k, j, i = np.indices(SHAPE)
    px, py, pz = 5 + 0.75 * i, -3 + 0.5 * j, 1 + 2.0 * k
    inside = (px <= 16) & (py <= 6) & (pz <= 7)
    expected = 10 + 0.5 * px + 0.25 * py + 1.25 * pz
    assert ours[inside] == pytest.approx(expected[inside], abs=2e-3)
    assert np.isnan(ours[~inside]).all()
    [row] = series.measure(np.ones(SHAPE, bool), volume=entry.volume).to_dict("records")
    assert (row["unit"], row["n"]) == ("Gy", inside.sum())
    assert row["excluded"] == (~inside).sum()


def test_a_relative_dose_is_no_dose_in_gray(tmp_path) -> None:
    ct(tmp_path)
    save(dose(np.ones((3, 4, 5)), units="RELATIVE"), tmp_path / "dose.dcm")
    with pytest.raises(UncertainMask, match="RELATIVE"):
        assert series_of(tmp_path).doses


def test_a_mask_of_another_series_is_not_measured(tmp_path) -> None:
    ct(tmp_path / "a")
    ct(tmp_path / "b", range(1, 15, 2))
    save(packed(np.ones(SHAPE, bool)), tmp_path / "a" / "seg.dcm")
    [mask] = series_of(tmp_path / "a").masks
    assert series_of(tmp_path / "a").measure(mask)["n"][0] == np.prod(SHAPE)
    with pytest.raises(InvalidRegion, match="elsewhere"):
        series_of(tmp_path / "b").measure(mask)


def test_a_mask_on_another_grid(tmp_path) -> None:
    ct(tmp_path)
    array = np.zeros(SHAPE, bool)
    array[2:5, 5:15, 4:16] = True
    save(packed(array), tmp_path / "seg.dcm")
    series = series_of(tmp_path)
    [mask] = series.masks
    finer = series.volume().resample(spacing=(1.0, 0.5, 0.75))
    with pytest.raises(InvalidRegion, match=r"resample\(volume\)"):
        series.measure(mask, volume=finer)
    again = mask.resample(finer)
    assert np.array_equal(again.values[::2], array)
    [row] = series.measure(again, volume=finer).to_dict("records")
    assert row["volume"] == pytest.approx(array.sum() * 0.5 * 0.75 * 2, rel=0.35)
    (tmp_path / "other").mkdir()
    save(image(np.zeros((4, 6), np.int16), FrameOfReferenceUID=OTHER), tmp_path / "other" / "a.dcm")
    with pytest.raises(UncertainMask, match="frame of reference"):
        mask.resample(read(tmp_path / "other").series[0].volume())


def test_a_series_without_masks_has_none(tmp_path) -> None:
    ct(tmp_path)
    assert series_of(tmp_path).masks == series_of(tmp_path).doses == []
