"""NIfTI with its sidecars, beside dcm2niix; pictures as PNG."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from PIL import Image
from pydicom.uid import MRImageStorage, generate_uid

from s4s_notebook.errors import NotAnImage
from s4s_notebook.imaging import read, render

from .make import AXIAL, CORONAL, image, save, stack

DCM2NIIX = shutil.which("dcm2niix", path=str(Path(sys.executable).parent)) or "dcm2niix"
#: Rows to the left and back, columns down the body and forward: nothing is parallel to an axis.
TURN = SimpleITK.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.5).GetMatrix()
ROW, COLUMN, THROUGH = np.array(TURN).reshape(3, 3).T
WAYS = np.array([[1.0, 0, 0], [0, 0.6, 0.8], [-0.48, 0.64, 0.6], [0.6, -0.8, 0]])


def dcm2niix(folder: Path, out: Path) -> Path:
    """What dcm2niix makes of a folder: the one NIfTI file."""
    out.mkdir()
    subprocess.run(
        [DCM2NIIX, "-f", "theirs", "-z", "n", "-o", out, folder], check=True, capture_output=True
    )
    [path] = out.glob("*.nii")
    return path


def diffusion(folder: Path, vendor: str) -> Path:
    """Four directions between two volumes of b 0, of seven oblique slices."""
    folder.mkdir()
    generator = np.random.default_rng(7)
    study = {"FrameOfReferenceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    for volume, (b, way) in enumerate([(0, None), *((1000, way) for way in WAYS), (0, None)]):
        for z in range(7):
            number = volume * 7 + z + 1
            made = image(
                generator.integers(0, 900, (8, 6)).astype(np.int16), **study,
                Modality="MR", SOPClassUID=MRImageStorage, Manufacturer=vendor,
                ImageType=["ORIGINAL", "PRIMARY", "M", "ND"], PixelSpacing=[2, 1.5],
                InstanceNumber=number, AcquisitionNumber=volume + 1, SliceThickness=3,
                SpacingBetweenSlices=3, RepetitionTime=4000, EchoTime=80, FlipAngle=90,
                EchoNumbers=1, MagneticFieldStrength=3, InPlanePhaseEncodingDirection="COL",
                AcquisitionTime=f"1000{4 * volume:02}.{z}", MRAcquisitionType="2D",
                ImagePositionPatient=[float(v) for v in np.round(THROUGH * 3 * z + 5, 6)],
                ImageOrientationPatient=[float(v) for v in np.round([*ROW, *COLUMN], 9)],
                RescaleSlope=1, RescaleIntercept=0,
            )  # fmt: skip
            if vendor == "SIEMENS":
                block = made.private_block(0x0019, "SIEMENS MR HEADER", create=True)
                block.add_new(0x0C, "IS", b)
                if way is not None:
                    block.add_new(0x0E, "FD", [*way])
            else:
                made.DiffusionBValue = b
                made.DiffusionGradientOrientation = [0.0, 0, 0] if way is None else [*way]
            save(made, folder / f"{number:03}.dcm")
    return folder


def world(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Values with the rows from the same end, and the affine that belongs to them."""
    loaded = nibabel.load(path)
    values, affine = np.asarray(loaded.dataobj), loaded.affine
    if np.linalg.det(affine) > 0:
        rows = values.shape[1]
        affine = affine @ np.array([[1, 0, 0, 0], [0, -1, 0, rows - 1], [0, 0, 1, 0], [0, 0, 0, 1]])
        values = values[:, ::-1]
    return values, affine


@pytest.mark.parametrize("vendor", ["SIEMENS", "Philips Medical Systems"])
def test_diffusion_equals_dcm2niix(vendor, tmp_path) -> None:
    folder = diffusion(tmp_path / "in", vendor)
    theirs = dcm2niix(folder, tmp_path / "theirs")
    [series] = read(folder).series
    ours = series.to_nifti(tmp_path / "ours.nii")
    (values, affine), (other, their_affine) = world(ours), world(theirs)
    assert values.shape == (6, 8, 7, 6)
    assert np.array_equal(values, other)
    assert np.allclose(affine, their_affine, atol=1e-4)
    assert ours.with_suffix(".bval").read_text().split() == ["0", *["1000"] * 4, "0"]
    # Each file's vectors are along its own axes, with x reversed by the sign of its affine.
    vectors, their_vectors = (np.loadtxt(path.with_suffix(".bvec")).T for path in (ours, theirs))
    directions = [
        _in_world(vectors, nibabel.load(ours).affine),
        _in_world(their_vectors, nibabel.load(theirs).affine),
    ]
    assert np.allclose(directions[0], directions[1], atol=1e-4)
    assert np.allclose(directions[0][1:5], WAYS * [-1, -1, 1], atol=1e-4)  # RAS


def _in_world(vectors: np.ndarray, affine: np.ndarray) -> np.ndarray:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    sign = [-1 if np.linalg.det(axes) > 0 else 1, 1, 1]
    return (vectors * sign) @ axes.T


def test_the_sidecar_agrees_with_dcm2niix_and_names_nobody(tmp_path) -> None:
    folder = diffusion(tmp_path / "in", "SIEMENS")
    theirs = json.loads(dcm2niix(folder, tmp_path / "out").with_suffix(".json").read_text())
    path = read(folder).series[0].to_nifti(tmp_path / "a.nii.gz")
    text = (tmp_path / "a.json").read_text()
    ours = json.loads(text)
    for name in ("RepetitionTime", "EchoTime", "FlipAngle", "MagneticFieldStrength", "Modality",
                 "SliceThickness", "SpacingBetweenSlices"):  # fmt: skip
        assert ours[name] == pytest.approx(theirs[name]), name
    assert ours["PhaseEncodingAxis"] == "j"
    assert ours["RepetitionTime"] == 4.0  # seconds
    assert "Canary" not in text
    assert "canary" not in text
    assert sorted(entry.name for entry in tmp_path.glob("a.*")) == [
        "a.bval", "a.bvec", "a.json", path.name,
    ]  # fmt: skip


GE, UIH = "GE MEDICAL SYSTEMS", "UIH"
TURN = [float(part) for part in np.round([math.cos(0.3), math.sin(0.3)], 6)]
PLANES = {
    "axial": AXIAL,
    "tilted": (1.0, 0.0, 0.0, 0.0, TURN[0], -TURN[1]),
    "turned": (TURN[0], TURN[1], 0.0, -TURN[1], TURN[0], 0.0),
    "coronal": CORONAL,
    "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
}


def own_axes(folder, vendor, orientation, phase="COL", position="HFS"):
    """Diffusion whose directions stand along axes of the vendor's own."""
    folder.mkdir()
    through = np.cross(orientation[:3], orientation[3:])
    ways = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0.64, 0.48), (-0.36, 0.48, 0.8)]
    for at in range(24):
        time, z = divmod(at, 4)
        pixels = (np.arange(12 * 10).reshape(12, 10) + 10 * time + z).astype(np.int16)
        made = image(
            pixels, Modality="MR", InstanceNumber=at + 1, Manufacturer=vendor,
            ImageOrientationPatient=list(orientation), PatientPosition=position,
            ImagePositionPatient=[float(v) for v in np.round([10, 20, 30] + 3 * z * through, 5)],
            InPlanePhaseEncodingDirection=phase, ImageType=["ORIGINAL", "PRIMARY", "OTHER"],
            RepetitionTime=5000, EchoTime=80, ScanningSequence="EP", SliceThickness=3,
        )  # fmt: skip
        made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = MRImageStorage
        del made.RescaleSlope, made.RescaleIntercept
        if vendor == GE:
            block = made.private_block(0x0019, "GEMS_ACQU_01", create=True)
            for element, value in zip((0xBB, 0xBC, 0xBD), ways[time], strict=True):
                block.add_new(element, "DS", f"{value:.6f}")
            block = made.private_block(0x0043, "GEMS_PARM_01", create=True)
            block.add_new(0x39, "IS", [1000 if time else 0, 0, 0, 0])
        else:
            block = made.private_block(0x0065, "Image Private Header", create=True)
            block.add_new(0x09, "FD", 1000.0 if time else 0.0)
            block.add_new(0x37, "FD", [float(value) for value in ways[time]])
        save(made, folder / f"{at:03}.dcm")
    return folder


@pytest.mark.parametrize(
    ("vendor", "plane"),
    [(GE, "axial"), (GE, "tilted"), (GE, "turned"), *((UIH, plane) for plane in PLANES)],
)
def test_directions_along_the_vendors_axes_equal_dcm2niix(vendor, plane, tmp_path) -> None:
    folder = own_axes(tmp_path / "in", vendor, PLANES[plane])
    theirs = dcm2niix(folder, tmp_path / "theirs")
    ours = read(folder).series[0].to_nifti(tmp_path / "ours.nii")
    in_world = [
        _in_world(np.loadtxt(path.with_suffix(".bvec")).T, nibabel.load(path).affine)
        for path in (ours, theirs)
    ]
    assert np.allclose(in_world[0], in_world[1], atol=2e-4)
    assert ours.with_suffix(".bval").read_text() == theirs.with_suffix(".bval").read_text()


@pytest.mark.parametrize(
    ("plane", "phase", "position"),
    [("coronal", "COL", "HFS"), ("axial", "ROW", "HFS"), ("axial", "COL", "FFS")],
)
def test_ge_directions_beyond_what_is_proven_are_not_written(
    plane, phase, position, tmp_path
) -> None:
    folder = own_axes(tmp_path / "in", GE, PLANES[plane], phase, position)
    with pytest.warns(UserWarning, match="axes of its own"):
        path = read(folder).series[0].to_nifti(tmp_path / "a.nii")
    assert path.with_suffix(".bval").exists()
    assert not path.with_suffix(".bvec").exists()


@pytest.mark.parametrize("late", [0.0, 0.4])
def test_the_clocks_of_slices_are_slice_timing_where_volumes_agree(late, tmp_path) -> None:
    order = [0, 2, 1, 3]  # interleaved
    for volume in range(3):
        for z in range(4):
            seconds = 2.0 * volume + 0.45 * order[z] + late * (volume == 1 and z == 2)
            save(
                image(
                    Modality="MR", ImagePositionPatient=[0, 0, 3 * z], RepetitionTime=2000,
                    AcquisitionNumber=volume + 1, MRAcquisitionType="2D",
                    AcquisitionTime=f"1200{seconds:09.6f}", InstanceNumber=10 * volume + z,
                ),
                tmp_path / f"{volume}{z}.dcm",
            )  # fmt: skip
    path = read(tmp_path).series[0].to_nifti(tmp_path / "a.nii")
    sidecar = json.loads(path.with_suffix(".json").read_text())
    if late:
        assert "SliceTiming" not in sidecar
    else:
        assert sidecar["SliceTiming"] == pytest.approx([0, 0.9, 0.45, 1.35])


def test_directions_that_are_not_certain_are_not_written(tmp_path) -> None:
    folder = diffusion(tmp_path / "ge", "GE MEDICAL SYSTEMS")
    with pytest.warns(UserWarning, match="axes of its own"):
        path = read(folder).series[0].to_nifti(tmp_path / "a.nii")
    assert path.with_suffix(".bval").exists()
    assert not path.with_suffix(".bvec").exists()


def test_uneven_times_are_in_the_sidecar_and_not_in_the_header(tmp_path) -> None:
    for time in (0, 10, 40):
        stack(tmp_path, [(0, 0, z) for z in range(3)], FrameReferenceTime=1000 * time + 5000,
              Modality="PT", ActualFrameDuration=5000 + time)  # fmt: skip
    path = read(tmp_path).series[0].to_nifti(tmp_path / "a.nii")
    values = json.loads(path.with_suffix(".json").read_text())
    assert values["FrameTimesStart"] == [5, 15, 45]
    assert values["FrameDuration"] == [5.0, 5.01, 5.04]
    header = nibabel.load(path).header
    assert (header["pixdim"][4], header.get_xyzt_units()) == (1.0, ("mm", "unknown"))


def test_four_dimensions_of_a_tilted_gantry_are_resampled_too(tmp_path) -> None:
    for time in range(2):
        stack(tmp_path, [(0, z, 3 * z) for z in range(4)], AcquisitionTime=f"10000{time}")
    series = read(tmp_path).series[0]
    with pytest.warns(UserWarning, match="resampled: the gantry is tilted"):
        path = series.to_nifti(tmp_path / "a.nii")
    assert SimpleITK.ReadImage(str(path)).GetSize()[3] == 2
    with pytest.warns(UserWarning, match="ITK"):
        header = nibabel.load(series.to_nifti(tmp_path / "b.nii", sheared=True)).header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (0, 1)


def test_colour_is_rgb(tmp_path) -> None:
    pixels = np.random.default_rng(3).integers(0, 255, (3, 4, 6, 3)).astype(np.uint8)
    for z in range(3):
        save(image(pixels[z], ImagePositionPatient=[0, 0, 2 * z], Modality="MR"),
             tmp_path / f"{z}.dcm")  # fmt: skip
    [series] = read(tmp_path).series
    path = series.to_nifti(tmp_path / "a.nii")
    loaded = nibabel.load(path)
    values = np.asarray(loaded.dataobj)
    assert int(loaded.header["datatype"]) == 128
    for at, channel in enumerate("RGB"):
        assert np.array_equal(values[channel].T, pixels[..., at])
    theirs = SimpleITK.ReadImage(str(path))
    assert np.array_equal(SimpleITK.GetArrayFromImage(theirs), pixels)
    assert theirs.GetSpacing() == pytest.approx((0.75, 0.5, 2))
    with pytest.raises(NotAnImage, match="colour"):
        series.volume()


def test_a_frame_is_saved_as_it_is_shown(tmp_path) -> None:
    ramp = np.arange(600, dtype=np.int16).reshape(20, 30)
    frame = read(save(image(ramp), tmp_path / "a.dcm")).series[0].frames[0]
    with Image.open(frame.save_png(tmp_path / "a.png", (300, 200))) as picture:
        assert np.array_equal(picture, render(frame, (300, 200)))
        assert picture.mode == "L"
    with Image.open(frame.save_png(tmp_path / "b.png", bits=16)) as picture:
        values = np.asarray(picture).astype(int)
    assert (values.min(), values.max(), len(np.unique(values))) == (0, 65535, 600)
    assert np.abs(values // 257 - render(frame)).max() <= 1
    inverse = (
        read(save(image(ramp, PhotometricInterpretation="MONOCHROME1"), tmp_path / "b.dcm"))
        .series[0]
        .frames[0]
    )
    with Image.open(inverse.save_png(tmp_path / "c.png", bits=16)) as picture:
        assert np.asarray(picture)[0, 0] == 65535
    color = read(save(image(np.full((4, 6, 3), 9, np.uint8)), tmp_path / "c.dcm")).series[0]
    with Image.open(color.frames[0].save_png(tmp_path / "d.png")) as picture:
        assert picture.mode == "RGB"
    for element, bits in ((color.frames[0], 16), (frame, 12)):
        with pytest.raises(ValueError, match="bits"):
            element.save_png(tmp_path / "e.png", bits=bits)


def test_a_series_is_saved_in_one_grey_range(tmp_path) -> None:
    for z in range(3):
        made = image(np.full((4, 6), 100 * z, np.int16), ImagePositionPatient=[0, 0, z])
        save(made, tmp_path / f"{z}.dcm")
    paths = read(tmp_path).series[0].save_png(tmp_path / "png")
    assert [path.name for path in paths] == ["0001.png", "0002.png", "0003.png"]
    levels = []
    for path in paths:
        with Image.open(path) as picture:
            levels.append(int(np.asarray(picture)[0, 0]))
    assert levels[0] < 5 < levels[1] < 140 < levels[2]
