"""A series becomes volumes with one picture at each position, or the split is refused."""

from __future__ import annotations

import itertools
import random
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from s4s_notebook.errors import AmbiguousVolume
from s4s_notebook.imaging import read, render
from s4s_notebook.imaging.splitting import cluster
from s4s_notebook.widgets.viewer.planes import Cuts

from .make import AXIAL, enhanced, image, save, stack

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "dicom"
MR = {"Modality": "MR", "RescaleSlope": None, "RescaleIntercept": None}


def case(name: str, folder: Path) -> Any:
    """The one series of an input that failed once."""
    with zipfile.ZipFile(CASES / f"{name}.zip") as archive:
        archive.extractall(folder)
    [series] = read(folder).series
    return series


def grid(folder: Path, rows: list[dict[str, Any]], depths: list[float], **more: Any) -> Path:
    """One slice for each row of elements at each depth; its values are the row's number."""
    number = 0
    for at, elements in enumerate(rows):
        for depth in depths:
            number += 1
            values = {**MR, "InstanceNumber": number, **more, **elements}
            values = {name: v(depth) if callable(v) else v for name, v in values.items()}
            made = image(
                np.full((4, 6), at, np.int16), ImagePositionPatient=[0, 0, depth], **values
            )
            save(made, folder / f"{number}.dcm")
    return folder


@pytest.mark.parametrize(
    ("name", "count", "slices", "step", "coords", "unit"),
    [
        ("real_ge_fmri", 2, 4, 3.6, {"time": [0, 1]}, ""),
        ("ctp", 5, 4, 5, {"time": [0, 1, 2, 3, 4]}, "s"),
        ("cine", 8, 3, 10, {"phase": [0, 40, 80, 120, 160, 200, 240, 280]}, "ms"),
    ],
)
@pytest.mark.needs("shared-data")
def test_inputs_that_were_fused_once(name, count, slices, step, coords, unit, tmp_path) -> None:
    series = case(name, tmp_path)
    assert [len(volume) for volume in series.volumes] == [slices] * count
    assert [round(volume.spacing[0], 4) for volume in series.volumes] == [step] * count
    stacked = series.stack4d()
    assert (stacked.coords, [*stacked.units.values()]) == (coords, [unit])
    assert len(series.stacks) == count
    with pytest.raises(AmbiguousVolume, match=f"{count} volumes"):
        series.volume()
    written = nibabel.load(series.to_nifti(tmp_path / "a.nii.gz"))
    assert written.shape == (*series.volumes[0].shape[::-1], count)
    assert np.array_equal(np.moveaxis(np.asarray(written.dataobj), -1, 0).swapaxes(1, 3), stacked)


@pytest.mark.needs("shared-data")
def test_copies_and_noise_in_the_orientation(tmp_path) -> None:
    copies = case("dup", tmp_path / "dup")
    assert [(len(v), v.spacing[0]) for v in copies.volumes] == [(4, 5)]
    assert [p.why for p in copies.problems] == ["4 files left out: a copy of another one"]
    noise = case("iop_1e-8", tmp_path / "iop")
    assert [(len(v), v.spacing[0]) for v in noise.volumes] == [(8, 5)]


@pytest.mark.parametrize(
    ("rows", "axis", "values", "unit"),
    [
        ([{"EchoTime": 2.3}, {"EchoTime": 4.6}], "echo", [2.3, 4.6], "ms"),
        ([{"EchoNumbers": n, "EchoTime": 5} for n in (1, 2)], "echo", [5, 5], "ms"),
        ([{"InversionTime": t} for t in (300, 900)], "inversion_time", [300, 900], "ms"),
        ([{"FlipAngle": a} for a in (3, 15)], "flip_angle", [3, 15], "degree"),
        ([{"DiffusionBValue": b} for b in (0, 1000)], "b_value", [0, 1000], "s/mm2"),
        (
            [{"DiffusionBValue": 0}]
            + [{"DiffusionBValue": 800, "DiffusionGradientOrientation": way}
               for way in ([1, 0, 0], [0, 1, 0], [0, 0, 1])],
            "b_value", [0, 800, 800, 800], "s/mm2",
        ),
        ([{"ImageType": ["ORIGINAL", "PRIMARY", part]} for part in "MP"], "part", ["M", "P"], ""),
        ([{"TemporalPositionIdentifier": n} for n in (1, 2, 3)], "time", [0, 1, 2], ""),
        ([{"FrameReferenceTime": t} for t in (5000, 15000, 40000)], "time", [5, 15, 40], "s"),
        ([{"TriggerTime": t} for t in (0, 33, 66)], "phase", [0, 33, 66], "ms"),
        ([{"AcquisitionNumber": n} for n in (3, 4)], "time", [0, 1], ""),
        ([{"AcquisitionTime": t} for t in ("235957.5", "235959.75")], "time", [0, 2.25], "s"),
        (
            [{"AcquisitionDate": d, "AcquisitionTime": t}
             for d, t in (("20240229", "235958"), ("20240301", "000001"))],
            "time", [0, 3], "s",
        ),
        ([{"ContentTime": t} for t in ("100000", "100002.5")], "time", [0, 2.5], "s"),
    ],
)  # fmt: skip
def test_what_differs_at_each_position_is_an_axis(rows, axis, values, unit, tmp_path) -> None:
    random.Random(3).shuffle(order := [*range(len(rows))])
    grid(tmp_path, [rows[at] for at in order], [0, 2, 4, 6])
    [series] = read(tmp_path).series
    stacked = series.stack4d()
    assert stacked.dims == (axis, "z", "y", "x")
    coords = stacked.coords[axis]
    if "DiffusionGradientOrientation" in rows[-1]:  # directions stay in the order of acquisition
        coords = sorted(coords)
    assert (coords, stacked.units[axis]) == (values, unit)
    if len(set(map(str, values))) == len(values):
        assert [order[int(v[0][0, 0])] for v in series.volumes] == [*range(len(rows))]
    assert series.problems == ()
    assert all(volume.spacing == (2, 0.5, 0.75) for volume in series.volumes)


def test_siemens_ge_philips_and_uih_store_the_b_value_in_elements_of_their_own(tmp_path) -> None:
    def siemens(made: Dataset, b: int) -> None:
        made.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", b)

    def ge(made: Dataset, b: int) -> None:
        block = made.private_block(0x0043, "GEMS_PARM_01", create=True)
        block.add_new(0x39, "IS", [1_000_000_000 + b, 8, 0, 0])

    def philips(made: Dataset, b: int) -> None:
        made.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x03, "FL", b)

    def uih(made: Dataset, b: int) -> None:
        made.private_block(0x0065, "Image Private Header", create=True).add_new(0x09, "FD", b)

    for vendor in (siemens, ge, philips, uih):
        folder = tmp_path / vendor.__name__
        folder.mkdir()
        for number, (b, depth) in enumerate(itertools.product((0, 750), (0, 3, 6))):
            made = image(**MR, InstanceNumber=number, ImagePositionPatient=[0, 0, depth])
            vendor(made, b)
            save(made, folder / f"{number}.dcm")
        [series] = read(folder).series
        assert series.stack4d().coords == {"b_value": [0, 750]}, vendor.__name__


def test_two_axes_that_make_a_full_product_are_two_dimensions(tmp_path) -> None:
    rows = [
        {"EchoTime": te, "ImageType": ["ORIGINAL", "PRIMARY", part]}
        for te in (2, 4, 6) for part in "MP"
    ]  # fmt: skip
    [series] = read(grid(tmp_path, rows, [0, 1, 2, 3])).series
    stacked = series.stack4d()
    assert stacked.dims == ("part", "echo", "z", "y", "x")
    assert stacked.shape == (2, 3, 4, 4, 6)
    values = np.asarray(stacked)
    assert values[:, :, 0, 0, 0].tolist() == [[0, 2, 4], [1, 3, 5]]
    array = stacked.to_xarray()
    assert array.sel(part="P", echo=4).to_numpy().max() == 3
    assert np.array_equal(array.isel(echo=1, z=2).to_numpy(), values[:, 1, 2])
    assert np.array_equal(stacked[..., 2], values[..., 2])
    assert np.array_equal(stacked[1, 2], values[1, 2])
    with pytest.raises(AmbiguousVolume, match="part, echo"):
        stacked.to_nifti(tmp_path / "a.nii")


def test_jitter_of_the_echo_time_is_no_axis(tmp_path) -> None:
    rows = [{"EchoTime": lambda z, te=te: te + z * 1e-3} for te in (2, 9)]
    [series] = read(grid(tmp_path, rows, [0, 1, 2, 3])).series
    assert [len(volume) for volume in series.volumes] == [4, 4]
    assert series.stack4d().dims[0] == "echo"


def test_a_number_that_counts_over_the_slices_is_no_axis(tmp_path) -> None:
    """Each picture has an AcquisitionNumber of its own: it orders nothing."""
    for at in range(8):
        stack(tmp_path, [(0, 0, at // 2)], AcquisitionNumber=at + 1)
    [series] = read(tmp_path).series
    assert [len(volume) for volume in series.volumes] == [4, 4]
    assert "time points by InstanceNumber; the headers state no times" in [
        problem.why for problem in series.problems
    ]


def test_trigger_times_that_differ_from_slice_to_slice_order_each_position(tmp_path) -> None:
    rows = [{"TriggerTime": lambda z, at=at: at * (40 + z)} for at in (2, 0, 1)]
    [series] = read(grid(tmp_path, rows, [0, 5, 10])).series
    assert series.stack4d().dims[0] == "phase"
    assert [int(volume[0][0, 0]) for volume in series.volumes] == [1, 2, 0]
    assert series.stack4d().coords["phase"] == [0, 45, 90]


@pytest.mark.parametrize("order", ["slice first", "time first"])
def test_both_orders_of_instance_numbers(order, tmp_path) -> None:
    pairs = [*itertools.product(range(3), range(4))]
    pairs.sort(key=lambda pair: pair if order == "slice first" else pair[::-1])
    for number, (time, z) in enumerate(pairs):
        made = image(
            np.full((4, 6), time, np.int16), ImagePositionPatient=[0, 0, z], InstanceNumber=number
        )
        save(made, tmp_path / f"{number}.dcm")
    [series] = read(tmp_path).series
    assert [sorted({int(f.stored()[0, 0]) for f in v.frames}) for v in series.volumes] == [
        [0], [1], [2],
    ]  # fmt: skip


def test_a_lost_picture_is_refused_and_an_element_may_decide(tmp_path) -> None:
    grid(tmp_path, [{}] * 3, [0, 1, 2, 3])
    (tmp_path / "6.dcm").unlink()
    [series] = read(tmp_path).series
    assert len(series.frames) == 11
    for act in (lambda: series.volumes, series.volume, series.stack4d, series.to_xarray):
        with pytest.raises(AmbiguousVolume, match=r"11 pictures lie at 4 positions \(3, 2, 3, 3"):
            act()
    assert any("11 pictures lie at 4 positions" in p.why for p in series.problems)
    with pytest.raises(AmbiguousVolume, match="split_by"):
        series.volume()
    # With a keyword that the headers fill, the short volume stands beside the full ones.
    named = tmp_path / "named"
    named.mkdir()
    grid(named, [{"SeriesDescription": text} for text in "ABC"], [0, 1, 2, 3])
    (named / "6.dcm").unlink()
    [series] = read(named).series
    assert len(series.volume(2, split_by="SeriesDescription")) == 4
    assert len(series.volume(1, split_by="SeriesDescription")) == 3
    with pytest.raises(AmbiguousVolume, match="together they make no array"):
        series.stack4d(split_by="SeriesDescription")
    with pytest.raises(AmbiguousVolume, match="StationName does not tell them apart"):
        series.volume(0, split_by="StationName")


def test_a_slice_lost_from_one_echo_leaves_two_volumes(tmp_path) -> None:
    grid(tmp_path, [{"EchoTime": 2}, {"EchoTime": 9}], [0, 1, 2, 3])
    (tmp_path / "7.dcm").unlink()
    [series] = read(tmp_path).series
    assert [len(volume) for volume in series.volumes] == [4, 3]
    with pytest.raises(AmbiguousVolume):
        series.stack4d()


@pytest.mark.parametrize(
    "elements",
    [
        [{"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}],
        [{"AcquisitionTime": "100000"}, {"AcquisitionTime": "100030"}],
        [{"AcquisitionNumber": 1, "AcquisitionTime": "235959"},
         {"AcquisitionNumber": 1, "AcquisitionTime": "235959.5"}],
    ],
)  # fmt: skip
def test_overlapping_slabs_are_volumes_of_their_own(elements, tmp_path) -> None:
    stack(tmp_path, [(0, 0, z) for z in (0, 5, 10, 15)], **elements[0])
    stack(tmp_path, [(0, 0, z) for z in (12, 17, 22, 27)], **elements[1])
    [series] = read(tmp_path).series
    assert [(len(v), v.spacing[0], v.origin[2]) for v in series.volumes] == [(4, 5, 0), (4, 5, 12)]


def test_diffusion_and_time_in_enhanced_objects(tmp_path) -> None:
    made = enhanced([0, 1, 2, 0, 1, 2])
    for at, group in enumerate(made.PerFrameFunctionalGroupsSequence):
        item = Dataset()
        item.DiffusionBValue = 800.0 * (at // 3)
        group.MRDiffusionSequence = [item]
    [series] = read(save(made, tmp_path / "a.dcm")).series
    assert [[f.index for f in volume.frames] for volume in series.volumes] == [[0, 1, 2], [3, 4, 5]]
    assert series.stack4d().coords == {"b_value": [0, 800]}


def test_private_dimensions_of_an_enhanced_object_tell_its_volumes_apart(tmp_path) -> None:
    made = enhanced([0, 1, 0, 1])
    pointers = (0x00209057, 0x20051011)  # position in the stack, and a private one
    made.DimensionIndexSequence = [Dataset() for _ in pointers]
    for item, pointer in zip(made.DimensionIndexSequence, pointers, strict=True):
        item.DimensionIndexPointer = pointer
    for at, group in enumerate(made.PerFrameFunctionalGroupsSequence):
        content = Dataset()
        content.DimensionIndexValues = [at % 2 + 1, at // 2]
        group.FrameContentSequence = [content]
    [series] = read(save(made, tmp_path / "a.dcm")).series
    assert [[f.index for f in volume.frames] for volume in series.volumes] == [[0, 1], [2, 3]]


def test_two_objects_under_one_uid_are_told(tmp_path) -> None:
    first = image(np.full((4, 6), 1, np.int16))
    save(first, tmp_path / "1.dcm")
    first.PixelData = np.full((4, 6), 2, np.int16).tobytes()
    save(first, tmp_path / "2.dcm")
    [series] = read(tmp_path).series
    assert len(series.frames) == 1
    [problem] = series.problems
    assert "1.dcm and 2.dcm have one SOP Instance UID and different pixels" in problem.why


def test_a_copy_that_was_compressed_again_is_a_copy(tmp_path) -> None:
    made = image(np.arange(24, dtype=np.int16).reshape(4, 6))
    save(made, tmp_path / "1.dcm")
    made.compress(RLELossless, generate_instance_uid=False)
    save(made, tmp_path / "2.dcm")
    [series] = read(tmp_path).series
    assert [problem.why for problem in series.problems] == [
        "1 file left out: a copy of another one"
    ]


@pytest.mark.parametrize("noise", [1e-8, 5e-5])
def test_orientations_are_one_within_a_tolerance(noise, tmp_path) -> None:
    for z in range(6):
        ways = [1, noise * (-1) ** z, 0, -noise * (-1) ** z, 1, 0]
        stack(tmp_path, [(0, 0, 4 * z)], ways)
    [series] = read(tmp_path).series
    assert [(len(v), v.spacing[0]) for v in series.volumes] == [(6, 4)]


def test_orientations_that_differ_are_two_stacks(tmp_path) -> None:
    for z in range(6):
        stack(tmp_path, [(0, 0, 4 * z)], [1, 0.01 * (z % 2), 0, -0.01 * (z % 2), 1, 0])
    assert [len(series.frames) for series in read(tmp_path).series] == [3, 3]


def test_numbers_are_one_within_a_tolerance_by_gaps() -> None:
    assert cluster([3.0, 1.0, 1.04, 1.08, 2.0], lambda _: 0.05) == [2, 0, 0, 0, 1]
    assert cluster(["b", "a", "b"]) == [1, 0, 1]
    assert cluster([(1.0, 0.0), (0.0, 1.0), (1.0, 0.0004)]) == [1, 0, 1]


# ------------------------------------------------------------------ tilt


def blob(points: np.ndarray) -> np.ndarray:
    """A smooth phantom: its value at points in mm (LPS)."""
    away = points - np.array([16.0, 14.0, 12.0])
    return 1000 * np.exp(-(away**2).sum(axis=-1) / (2 * 6.0**2))


def tilted(folder: Path, angle: float) -> Any:
    """The phantom in slices that a gantry tilted by ``angle`` degrees cut."""
    slope = np.tan(np.radians(angle))
    rows, columns = np.mgrid[:32, :32].astype(float)
    for at in range(9):
        origin = np.array([0.0, at * 3.0 * slope, at * 3.0])
        points = origin + np.stack([columns, rows, 0 * rows], axis=-1)
        pixels = np.rint(blob(points)).astype(np.int16)
        made = image(pixels, ImagePositionPatient=[*origin], PixelSpacing=[1, 1], InstanceNumber=at)
        made.ImageOrientationPatient = list(AXIAL)
        save(made, folder / f"{at}.dcm")
    [series] = read(folder).series
    return series


@pytest.mark.parametrize("angle", [15.0, -12.0])
def test_a_tilted_stack_is_resampled_to_where_the_body_is(angle, tmp_path) -> None:
    """The oracle is the phantom itself: other programs shear such a stack wrongly."""
    series = tilted(tmp_path, angle)
    volume = series.volume()
    assert volume.sheared
    straight = volume.resample()
    assert not straight.sheared
    with pytest.warns(UserWarning, match="resampled: the gantry is tilted"):
        path = series.to_nifti(tmp_path / "a.nii.gz")
    for values, affine in [
        (np.asarray(straight), straight.affine),
        (np.asarray(nibabel.load(path).dataobj).T,
         np.diag([-1, -1, 1, 1]) @ nibabel.load(path).affine),
    ]:  # fmt: skip
        z, y, x = np.indices(values.shape)
        points = np.stack([x, y, z, np.ones_like(x)], axis=-1) @ affine.T
        inside = values > -1024
        assert inside.sum() > 0.6 * values.size
        assert np.abs(values - blob(points[..., :3]))[inside].max() < 12  # of 1000
    theirs = SimpleITK.ReadImage(str(path))  # its axes are orthogonal, so ITK takes it
    assert theirs.TransformIndexToPhysicalPoint((0, 0, 0)) == pytest.approx(straight.origin)
    assert b"resampled" in nibabel.load(path).header["descrip"].tobytes()


def test_a_sheared_file_has_no_qform(tmp_path) -> None:
    volume = tilted(tmp_path, 15).volume()
    with pytest.warns(UserWarning, match="ITK"):
        header = nibabel.load(volume.to_nifti(tmp_path / "a.nii", sheared=True)).header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (0, 1)
    assert np.allclose(np.diag([-1, -1, 1, 1]) @ header.get_sform(), volume.affine, atol=1e-4)
    array = volume.to_xarray()
    assert "y" not in array.coords
    assert array.attrs["sheared"] == 1


def test_a_shift_below_a_quarter_of_a_pixel_is_no_shear(tmp_path) -> None:
    stack(tmp_path, [(0, z * 0.01, z) for z in range(5)])
    volume = read(tmp_path).series[0].volume()
    assert not volume.sheared
    assert volume.axes[0].tolist() == [0, 0, 1]


@pytest.mark.needs("shared-data")
def test_the_real_tilted_stack_says_so(tmp_path) -> None:
    volume = case("real_gantry_tilt", tmp_path).volume()
    assert volume.sheared
    assert "sheared" in repr(volume)
    with pytest.warns(UserWarning, match="tilted"):
        path = volume.to_nifti(tmp_path / "a.nii")
    assert SimpleITK.ReadImage(str(path)).GetDimension() == 3


@pytest.mark.parametrize("plane", ["1", "2"])
def test_cuts_through_a_tilted_stack_are_true_to_scale(plane, tmp_path) -> None:
    series = tilted(tmp_path, 15)
    cuts = Cuts()
    ids = {entry["key"]: entry["ids"] for entry in cuts.planes(series)}[plane]
    _, place, pixels = cuts.cut(series, plane, ids[len(ids) // 2])
    rows, columns = np.indices(pixels.shape)
    right, down = np.array(place["orientation"]).reshape(2, 3)
    assert abs(right @ down) < 1e-9
    points = (
        np.array(place["position"])
        + columns[..., None] * place["spacing"][1] * right
        + rows[..., None] * place["spacing"][0] * down
    )
    inside = pixels > -1024
    assert blob(points)[inside].max() > 500
    assert np.abs(pixels - blob(points))[inside].max() < 12


def test_cuts_through_uneven_slices_are_true_to_scale(tmp_path) -> None:
    for at, z in enumerate((0, 3, 6, 12, 15)):
        made = image(np.full((4, 6), 10 * z, np.int16), ImagePositionPatient=[0, 0, z])
        save(made, tmp_path / f"{at}.dcm")
    [series] = read(tmp_path).series
    _, place, pixels = Cuts().cut(series, "1", 1)
    step = place["spacing"][0]
    assert step == 3.75
    assert pixels[:, 0].tolist() == [round(150 - 10 * step * row) for row in range(5)]


def test_resampling_to_another_grid_equals_simpleitk(tmp_path) -> None:
    values = np.random.default_rng(5).integers(0, 900, (6, 4, 6)).astype(np.int16)
    for z in range(6):
        made = image(values[z], ImagePositionPatient=[0, 0, 2 * z], Modality="MR")
        save(made, tmp_path / f"{z}.dcm")
    volume = read(tmp_path).series[0].volume()
    finer = volume.resample(spacing=(1.0, 0.5, 0.5))
    assert finer.spacing == pytest.approx((1.0, 0.5, 0.5))
    source = SimpleITK.GetImageFromArray(values.astype(np.float32))
    source.SetSpacing((0.75, 0.5, 2.0))
    reference = SimpleITK.Image(finer.shape[2], finer.shape[1], finer.shape[0], 8)
    reference.SetSpacing((0.5, 0.5, 1.0))
    theirs = SimpleITK.GetArrayFromImage(SimpleITK.Resample(source, reference))
    inside = np.index_exp[:11, :4, :8]  # ITK keeps the edge for half a voxel more
    assert np.abs(np.asarray(finer)[inside] - theirs[inside]).max() <= 0.5
    back = finer.resample(to=volume)
    assert back.shape == volume.shape
    assert np.array_equal(np.asarray(back)[..., ::2], values[..., ::2])


# ------------------------------------------------------------------ geometry stated elsewhere


@pytest.mark.needs("shared-data")
def test_a_tomogram_states_its_geometry_for_the_detector(tmp_path) -> None:
    series = case("nm", tmp_path)
    volume = series.volume()
    assert volume.shape == (16, 32, 32)
    assert volume.spacing == pytest.approx((4, 4, 4))
    assert series.plane


@pytest.mark.parametrize("step", [2.5, -2.5])
def test_the_sign_of_a_tomograms_step_counts(step, tmp_path) -> None:
    detector = Dataset()
    detector.ImageOrientationPatient, detector.ImagePositionPatient = list(AXIAL), [1, 2, 30]
    pixels = np.repeat(np.arange(3, dtype=np.int16), 24).reshape(-1, 6)
    made = image(
        pixels, Modality="NM", Rows=4, NumberOfFrames=3, SliceVector=[1, 2, 3],
        SpacingBetweenSlices=step, ImageType=["ORIGINAL", "PRIMARY", "RECON TOMO"],
        DetectorInformationSequence=[detector],
        ImageOrientationPatient=None, ImagePositionPatient=None,
    )  # fmt: skip
    [series] = read(save(made, tmp_path / "a.dcm")).series
    expected = [(1, 2, 30 + at * step) for at in range(3)]
    assert [frame.position for frame in series.frames] == sorted(expected)
    made.ImageType = ["ORIGINAL", "PRIMARY", "TOMO"]  # projections
    assert read(save(made, tmp_path / "a.dcm")).series[0].frames[0].position is None


@pytest.mark.parametrize("slice_first", [True, False])
def test_time_slots_of_a_gated_tomogram_are_volumes(slice_first, tmp_path) -> None:
    pairs = [(slot, at) for slot in (1, 2) for at in (1, 2, 3)]
    if not slice_first:
        pairs.sort(key=lambda pair: pair[::-1])
    detector = Dataset()
    detector.ImageOrientationPatient, detector.ImagePositionPatient = list(AXIAL), [0, 0, 0]
    pixels = np.repeat(np.array([slot for slot, _ in pairs], np.int16), 24).reshape(-1, 6)
    made = image(
        pixels, Modality="NM", Rows=4, NumberOfFrames=6, SpacingBetweenSlices=4,
        SliceVector=[at for _, at in pairs], TimeSlotVector=[slot for slot, _ in pairs],
        ImageType=["ORIGINAL", "PRIMARY", "RECON GATED TOMO"],
        DetectorInformationSequence=[detector],
        ImageOrientationPatient=None, ImagePositionPatient=None,
    )  # fmt: skip
    [series] = read(save(made, tmp_path / "a.dcm")).series
    assert [np.unique(volume).tolist() for volume in series.volumes] == [[1], [2]]
    assert [volume.shape for volume in series.volumes] == [(3, 4, 6)] * 2
    assert series.problems == ()


@pytest.mark.needs("shared-data")
def test_the_thickness_of_a_real_enhanced_slice(tmp_path) -> None:
    assert case("enh1", tmp_path).volume().spacing[0] == 7


@pytest.mark.parametrize(
    ("measures", "top", "step"),
    [
        ({"SliceThickness": 7}, {}, 7),
        ({"SliceThickness": 7, "SpacingBetweenSlices": 9}, {}, 9),
        ({"SliceThickness": 7}, {"SliceThickness": 3}, 7),  # the groups go first
        ({}, {"SliceThickness": 3}, 3),
    ],
)
def test_the_thickness_of_one_enhanced_slice(measures, top, step, tmp_path) -> None:
    made = enhanced([5.0])
    for keyword, value in measures.items():
        setattr(made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0], keyword, value)
    for keyword, value in top.items():
        setattr(made, keyword, value)
    [series] = read(save(made, tmp_path / "a.dcm")).series
    assert series.volume().spacing == (step, 0.25, 0.25)


@pytest.mark.needs("shared-data")
def test_a_diffusion_map_is_a_ramp_of_greys(tmp_path) -> None:
    [frame] = case("fa_ww1", tmp_path).frames
    values, greys = frame.values(), render(frame)
    assert len(np.unique(greys)) > 200
    assert np.abs(greys - values.clip(0, 1) * 255).max() <= 1


@pytest.mark.needs("shared-data")
def test_a_map_has_the_quantity_that_it_states(tmp_path) -> None:
    frame = case("rwvm", tmp_path).frames[0]
    assert frame.real_world[0].unit == "mm2/s"
    assert frame.real_world_values().max() == pytest.approx(0.0012)
