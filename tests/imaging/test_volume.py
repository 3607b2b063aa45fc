"""Volumes lie in space where SimpleITK puts them."""

from __future__ import annotations

import sys

import nibabel
import numpy as np
import pytest
import SimpleITK
from pydicom.data import get_testdata_file

from s4s_notebook.errors import AmbiguousVolume, NotAnImage
from s4s_notebook.imaging import pixels, read

from .make import CORONAL, enhanced, image, save, stack

OBLIQUE = (0.8, 0.6, 0.0, -0.48, 0.64, -0.6)


def itk(series) -> SimpleITK.Image:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(frame.instance.path) for frame in series.frames])
    return reader.Execute()


def oblique_places(many: int, step: float) -> list[list[float]]:
    through = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    return [list(np.array([10.0, -20.0, 30.0]) + through * step * at) for at in range(many)]


@pytest.fixture(params=["axial", "coronal", "oblique"])
def series(request, tmp_path):
    if request.param == "axial":
        stack(tmp_path, [(-12.5, 3.25, 2.5 * z) for z in (4, 2, 3, 1, 0)], RescaleIntercept=-1024)
    elif request.param == "coronal":
        stack(tmp_path, [(1, 2.0 * y, 3) for y in (2, 0, 1)], CORONAL, RescaleSlope=0.5)
    else:
        stack(tmp_path, oblique_places(4, 1.75), OBLIQUE)
    return read(tmp_path).series[0]


def test_geometry_equals_simpleitk(series) -> None:
    volume, theirs = series.volume(), itk(series)
    assert volume.origin == pytest.approx(theirs.GetOrigin())
    assert volume.spacing == pytest.approx(theirs.GetSpacing()[::-1])
    direction = np.array(theirs.GetDirection()).reshape(3, 3)
    assert np.allclose(volume.axes[::-1].T, direction, atol=1e-6)
    for index in ((0, 0, 0), (3, 2, 1), (5, 0, 2)):
        point = volume.affine @ [*index, 1]
        assert point[:3] == pytest.approx(theirs.TransformIndexToPhysicalPoint(index), abs=1e-4)
    assert np.array_equal(np.asarray(volume), SimpleITK.GetArrayFromImage(theirs))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_equals_simpleitk(series, tmp_path, name) -> None:
    ours = nibabel.load(series.to_nifti(tmp_path / name))
    SimpleITK.WriteImage(itk(series), str(tmp_path / "theirs.nii.gz"))
    theirs = nibabel.load(tmp_path / "theirs.nii.gz")
    assert np.allclose(ours.affine, theirs.affine, atol=1e-4)
    assert np.array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
    again = SimpleITK.ReadImage(str(tmp_path / name))
    assert np.allclose(again.GetOrigin(), itk(series).GetOrigin(), atol=1e-4)
    assert np.allclose(again.GetDirection(), itk(series).GetDirection(), atol=1e-4)


def test_a_real_slice_equals_simpleitk(tmp_path) -> None:
    path = get_testdata_file("CT_small.dcm")
    volume = read(path).series[0].volume()
    theirs = SimpleITK.ReadImage(path)
    assert np.array_equal(np.asarray(volume), SimpleITK.GetArrayFromImage(theirs))
    assert volume.origin == pytest.approx(theirs.GetOrigin())


def test_an_enhanced_object_makes_the_same_volume(tmp_path) -> None:
    save(enhanced([0, 3, 1, 2]), tmp_path / "a.dcm")
    volume = read(tmp_path).series[0].volume()
    assert volume.spacing == (1.0, 0.25, 0.25)
    assert volume[:, 1, 1].tolist() == [0, 2, 3, 1]


def test_xarray_is_lazy_and_has_millimetres(series, monkeypatch) -> None:
    monkeypatch.setattr(pixels.frame_cache, "limit", 0)
    pixels.frame_cache._kept.clear()
    asked: list[int] = []
    volume = series.volume()
    whole = np.asarray(volume)
    plain = volume.slice
    monkeypatch.setattr(volume, "slice", lambda at: asked.append(at) or plain(at))
    array = volume.to_xarray()
    assert asked == []
    assert array.dims == ("z", "y", "x")
    assert array.shape == volume.shape
    assert np.array_equal(array[1].to_numpy(), whole[1])
    assert asked == [1]
    assert np.array_equal(array.isel(y=2, x=slice(1, 4)).to_numpy(), whole[:, 2, 1:4])
    assert np.array_equal(array.to_numpy(), whole)
    assert float(array.x[1]) == pytest.approx(volume.spacing[2])
    assert array.x.attrs["units"] == "mm"


def test_uneven_slices_are_told_and_keep_their_places(tmp_path) -> None:
    stack(tmp_path, [(0, 0, z) for z in (0, 1, 2, 6)])
    volume = read(tmp_path).series[0].volume()
    assert volume.to_xarray().z.to_numpy().tolist() == [0, 1, 2, 6]
    with pytest.raises(AmbiguousVolume, match="not evenly spaced") as caught:
        volume.to_nifti(tmp_path / "a.nii")
    assert "resample=True" in str(caught.value)
    assert not (tmp_path / "a.nii").exists()
    with pytest.warns(UserWarning, match="resampled: the slices are not evenly spaced"):
        image = nibabel.load(volume.to_nifti(tmp_path / "a.nii", resample=True))
    assert image.header.get_zooms() == pytest.approx((0.75, 0.5, 2.0))
    # Slices hold their numbers, at 0, 1, 2 and 6 mm: what lies between is linear.
    assert np.asarray(image.dataobj)[0, 0].tolist() == [0, 2, 2, 3]


def test_a_missing_extra_says_what_to_install(series, monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "nibabel", None)
    monkeypatch.setitem(sys.modules, "xarray", None)
    for act in (series.to_xarray, lambda: series.to_nifti(tmp_path / "a.nii")):
        with pytest.raises(ModuleNotFoundError, match=r"s4s-notebook\[volume\]"):
            act()


def test_indexing_decodes_only_what_is_asked(series) -> None:
    volume = series.volume()
    whole = np.asarray(volume)
    assert np.array_equal(volume[-1], whole[-1])
    assert np.array_equal(volume[1:, 2], whole[1:, 2])
    assert np.array_equal(volume[..., 3], whole[..., 3])
    assert np.array_equal(volume[[0, 2], 1:3, ::2], whole[[0, 2], 1:3, ::2])
    assert volume[5:5].shape == (0, 4, 6)
    with pytest.raises(IndexError):
        volume[99]


def test_the_type_holds_every_value(tmp_path) -> None:
    for at, (elements, kind) in enumerate(
        [
            ({}, np.int16),
            ({"RescaleSlope": 2}, np.int32),
            ({"RescaleSlope": 0.5}, np.float32),
            ({"PixelRepresentation": 0}, np.int32),
            ({"PixelRepresentation": 0, "BitsStored": 12, "HighBit": 11}, np.int16),
        ]
    ):
        path = save(image(**elements), tmp_path / f"{at}.dcm")
        assert read(path).series[0].volume().dtype == kind, elements


@pytest.mark.parametrize("name", ["rtdose.dcm", "rtdose_rle.dcm"])
def test_a_dose_grid_equals_simpleitk(name) -> None:
    path = get_testdata_file(name)
    [series], theirs = read(path).series, SimpleITK.ReadImage(path)
    volume = series.volume()
    assert series.problems == ()
    assert volume.shape == theirs.GetSize()[::-1] == (15, 10, 10)
    assert volume.spacing == pytest.approx(theirs.GetSpacing()[::-1])
    for index in ((0, 0, 0), (3, 2, 1), (9, 9, 14)):
        point = volume.affine @ [*index, 1]
        assert point[:3] == pytest.approx(theirs.TransformIndexToPhysicalPoint(index))


@pytest.mark.parametrize(
    ("offsets", "depths"),
    [
        ([0, 2, 4], [7, 9, 11]),
        ([0, -2, -4], [3, 5, 7]),  # they count against the normal: the last plane is the first
        ([7, 9.5, 12], [7, 9.5, 12]),  # the planes' own z
        ([0, 2], [7, 7, 7]),
    ],
)
def test_offsets_of_a_dose_grid(offsets, depths, tmp_path) -> None:
    """PS3.3 C.8.8.3.2, both ways to write them; too few are of no use."""
    pixels = np.repeat(np.arange(3, dtype=np.int16), 24).reshape(-1, 6)
    made = image(pixels, Modality="RTDOSE", Rows=4, NumberOfFrames=3)
    made.ImagePositionPatient, made.GridFrameOffsetVector = [1, 2, 7], offsets
    [series] = read(save(made, tmp_path / "a.dcm")).series
    assert [frame.position for frame in series.frames] == [(1, 2, z) for z in depths]
    if len(offsets) < 3:
        assert "GridFrameOffsetVector" in [problem.path for problem in series.problems]


def test_pictures_at_one_place_make_no_volume(tmp_path) -> None:
    """A clip has its frame time; of a stack of copies it is said that nothing orders them."""
    pixels = np.zeros((12, 6), np.int16)
    clip = image(pixels, Rows=4, NumberOfFrames=3, FrameTime=40)
    save(clip, tmp_path / "clip.dcm")
    stack(tmp_path, [(0, 0, 5)] * 3, SeriesInstanceUID="1.2.3", SeriesNumber=2)
    moving, copies = read(tmp_path).series
    assert (moving.frame_time, moving.problems) == (40, ())
    assert "2 slices at the place of another" in [problem.why for problem in copies.problems]
    for series in (moving, copies):
        with pytest.raises(AmbiguousVolume, match="3 volumes"):
            series.volume()
        assert series.stack4d().shape == (3, 1, 4, 6)


def test_pictures_without_a_place_or_in_colour_make_no_volume(tmp_path) -> None:
    path = save(image(ImagePositionPatient=None), tmp_path / "a.dcm")
    with pytest.raises(NotAnImage, match="no place"):
        read(path).series[0].volume()
    path = save(image(np.zeros((4, 6, 3), np.uint8)), tmp_path / "b.dcm")
    with pytest.raises(NotAnImage, match="colour"):
        read(path).series[0].volume()
