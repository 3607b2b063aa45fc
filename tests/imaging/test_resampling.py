"""Resampled volumes equal SimpleITK; projections are of millimetres, and padding never wins."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK

from s4s_notebook.errors import AmbiguousVolume
from s4s_notebook.imaging import read

from .make import AXIAL, CORONAL, image, save

GENERATOR = np.random.default_rng(5)
OBLIQUE = (0.8, 0.6, 0.0, -0.48, 0.64, -0.6)


def volume_of(folder, depths, orientation=AXIAL, shape=(12, 16), frame="1.2.3", **more):
    folder.mkdir()
    through = np.cross(orientation[:3], orientation[3:])
    for at, z in enumerate(depths):
        pixels = GENERATOR.integers(0, 2000, shape)
        place = list(np.array([2.0, -4.0, 7.0]) + through * z)
        made = image(
            np.asarray(pixels, np.int16), ImagePositionPatient=place, InstanceNumber=at + 1,
            ImageOrientationPatient=list(orientation), FrameOfReferenceUID=frame, **more,
        )  # fmt: skip
        made.SeriesInstanceUID = f"1.2.{abs(hash(folder.name)) % 10**9}"
        save(made, folder / f"{at}.dcm")
    return read(folder).series[0].volume()


def itk(volume):
    return SimpleITK.ReadImage([str(frame.instance.path) for frame in volume.frames])


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, OBLIQUE])
def test_another_grid_equals_simpleitk(orientation, tmp_path) -> None:
    moving = volume_of(tmp_path / "a", [0, 2, 4, 6, 8])
    fixed = volume_of(tmp_path / "b", [0, 1.5, 3], orientation, (9, 7))
    ours = moving.resample(to=fixed)
    theirs = SimpleITK.Resample(
        SimpleITK.Cast(itk(moving), SimpleITK.sitkFloat64), itk(fixed), SimpleITK.Transform(),
        SimpleITK.sitkLinear, -5000.0,
    )  # fmt: skip
    expected = SimpleITK.GetArrayFromImage(theirs)
    low = SimpleITK.GetArrayFromImage(
        SimpleITK.Resample(
            SimpleITK.Cast(itk(moving), SimpleITK.sitkFloat64) * 0 + 1, itk(fixed),
            SimpleITK.Transform(), SimpleITK.sitkLinear, 0.0,
        )
    )  # fmt: skip
    values = np.asarray(ours)
    # ITK holds the edge's value for half a voxel beyond the outermost centres.
    both = (low == 1) & (values != -1024)
    assert both.any()
    assert np.abs(values[both] - expected[both]).max() <= 0.5 + 1e-3
    assert ours.shape == fixed.shape
    assert np.allclose(ours.affine, fixed.affine)


@pytest.mark.parametrize("depths", [[0, 1, 2, 6, 7], [0, 4, 5, 9.5, 11]])
def test_uneven_slices_are_interpolated_where_they_lie(depths, tmp_path) -> None:
    """From and onto uneven slices, a ramp in space has its value everywhere."""
    folder = tmp_path / "ramp"
    folder.mkdir()
    for at, z in enumerate(depths):
        pixels = np.full((6, 8), 100 * z, np.int16)
        place = {"ImagePositionPatient": [0, 0, z], "InstanceNumber": at}
        save(image(pixels, FrameOfReferenceUID="1.2.3", **place), folder / f"{at}.dcm")
    moving = read(folder).series[0].volume()
    straight = moving.resample(spacing=(0.5, 0.5, 0.75))
    assert np.asarray(straight)[:, 2, 2] == pytest.approx(100 * straight.depths, abs=1)
    other = tmp_path / "other"
    other.mkdir()
    places = [0.5, 1.0, 3.0, depths[-1] - 0.25]
    for at, z in enumerate(places):
        made = image(np.zeros((6, 8), np.int16), ImagePositionPatient=[0, 0, z])
        made.FrameOfReferenceUID, made.SeriesInstanceUID = "1.2.3", "1.2.4"
        save(made, other / f"{at}.dcm")
    fixed = read(other).series[0].volume()
    onto = moving.resample(to=fixed)
    assert np.asarray(onto)[:, 2, 2] == pytest.approx(100 * np.array(places), abs=1)
    assert onto.depths == pytest.approx(fixed.depths)
    with pytest.raises(AmbiguousVolume, match="not evenly spaced"):
        onto.to_nifti(tmp_path / "a.nii")


@pytest.mark.parametrize("frame", ["1.2.99", ""])
def test_another_or_no_frame_of_reference_is_refused(frame, tmp_path) -> None:
    moving = volume_of(tmp_path / "a", [0, 2, 4])
    fixed = volume_of(tmp_path / "b", [0, 2, 4], frame=frame)
    with pytest.raises(AmbiguousVolume, match="frame"):
        moving.resample(to=fixed)
    assert moving.resample(to=fixed, aligned=True).shape == fixed.shape
    with pytest.raises(AmbiguousVolume, match="frame"):  # what is in memory knows its frame too
        moving.resample(spacing=1.0).resample(to=fixed)


def test_one_slice_without_a_thickness_is_not_made_isotropic(tmp_path) -> None:
    with pytest.raises(AmbiguousVolume, match="how thick"):
        volume_of(tmp_path / "a", [0]).isotropic()
    thick = volume_of(tmp_path / "b", [0], SliceThickness=3)
    assert thick.isotropic().spacing == pytest.approx((0.5, 0.5, 0.5))


def test_isotropic_has_cubes_and_the_same_extent(tmp_path) -> None:
    volume = volume_of(tmp_path / "a", [0, 2, 4, 6], OBLIQUE)
    cubes = volume.isotropic()
    assert cubes.spacing == pytest.approx((0.5, 0.5, 0.5))
    assert cubes.shape == (13, 12, 24)
    assert np.allclose(cubes.axes, volume.axes)
    assert cubes.origin == pytest.approx(volume.origin)
    assert np.array_equal(np.asarray(cubes)[::4, :, ::3], np.asarray(volume)[:, :, ::2])


@pytest.mark.parametrize(("kind", "reduce"), [("max", np.max), ("min", np.min), ("mean", np.mean)])
@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_a_projection_equals_numpy(kind, reduce, axis, tmp_path) -> None:
    volume = volume_of(tmp_path / "a", [0, 2, 4, 6, 8])
    values = np.moveaxis(np.asarray(volume), "zyx".index(axis), 0)
    whole = volume.mip(axis=axis, kind=kind)
    assert np.asarray(whole)[0] == pytest.approx(reduce(values, axis=0), rel=1e-6)
    step = volume.spacing["zyx".index(axis)]
    thin = np.asarray(volume.mip(slab=2 * step, axis=axis, kind=kind))
    assert thin.shape == values.shape
    for at in range(len(values)):
        near = values[max(at - 1, 0) : at + 2]
        assert thin[at] == pytest.approx(reduce(near, axis=0), rel=1e-6)
    points = np.array([[1, 2, 3, 1.0]]).T  # column, row, slice of the projection
    slab = volume.mip(slab=step, axis=axis)
    index = np.insert(np.array([1.0, 2.0]), 2 - "zyx".index(axis), 3.0)
    assert slab.affine @ points == pytest.approx(volume.affine @ np.array([[*index, 1.0]]).T)


def test_a_slab_of_uneven_slices_is_of_millimetres(tmp_path) -> None:
    volume = volume_of(tmp_path / "a", [0, 1, 2, 6, 7])
    thin, values = np.asarray(volume.mip(slab=2.0)), np.asarray(volume)
    assert np.array_equal(thin[2], values[1:3].max(axis=0))  # 6 mm is too far
    assert np.array_equal(thin[3], values[3:5].max(axis=0))


def test_padding_never_wins(tmp_path) -> None:
    pixels = np.full((4, 6), 3000, np.int16)
    pixels[:, :3] = 10
    for at in range(3):
        made = image(pixels.copy(), ImagePositionPatient=[0, 0, at], PixelPaddingValue=3000)
        save(made, tmp_path / f"{at}.dcm")
    volume = read(tmp_path).series[0].volume()
    assert np.asarray(volume.mip()).max() == 10
    assert np.asarray(volume.resample(spacing=0.5)).max() <= 10


def test_a_sheared_volume_is_projected_on_straight_axes(tmp_path) -> None:
    for at in range(6):  # a bright line along z, in slices that are shifted
        pixels = np.zeros((40, 8), np.int16)
        pixels[20 - 2 * at, 4] = 1000
        made = image(pixels, ImagePositionPatient=[0, at, 2 * at], PixelSpacing=[0.5, 0.5])
        save(made, tmp_path / f"{at}.dcm")
    volume = read(tmp_path).series[0].volume()
    assert volume.sheared
    seen = np.asarray(volume.mip())[0]
    assert (seen > 500).sum() == 1
    for wrong in ({"axis": "zy"}, {"kind": "sum"}, {"slab": 0}):
        with pytest.raises(ValueError, match=r"axis|slab"):
            volume.mip(**wrong)
