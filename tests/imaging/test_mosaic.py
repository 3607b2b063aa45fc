"""Siemens mosaics: the slices of a volume side by side in one picture."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom.dataset import Dataset

from s4s_notebook.errors import AmbiguousVolume, DICOMError
from s4s_notebook.imaging import read
from s4s_notebook.imaging.mosaic import csa_numbers

from .make import image, save

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "dicom"
CSA = "SIEMENS CSA HEADER"


def csa(**elements: list[str]) -> bytes:
    """A CSA header of version 2 with these elements."""
    out = b"SV10\4\3\2\1" + struct.pack("<II", len(elements), 77)
    for name, values in elements.items():
        out += struct.pack("<64si4siii", name.encode(), len(values), b"FD", 4, len(values), 77)
        for value in values:
            data = value.encode() + b"\0"
            out += struct.pack("<4i", len(data), len(data), 77, len(data))
            out += data + b"\0" * (-len(data) % 4)
    return out


def mosaic(
    count: int | None, normal: list[str] | None = None, protocol: str = "", **more: Any
) -> Dataset:
    """A sheet of 3 x 3 tiles of 4 x 6 pixels, each filled with its number; ``count`` are slices."""
    tiles = np.repeat(np.arange(9, dtype=np.int16), 24).reshape(3, 3, 4, 6)
    stated = {
        "Modality": "MR", "ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"],
        "PixelSpacing": [2, 1],
        "SpacingBetweenSlices": 5, "ImagePositionPatient": [-9.0, -12.0, 30.0],
    }  # fmt: skip
    made = image(tiles.swapaxes(1, 2).reshape(12, 18), **{**stated, **more})
    if count is not None:
        made.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", count)
    block = made.private_block(0x0029, CSA, create=True)
    if normal is not None:
        block.add_new(0x10, "OB", csa(EchoLinePosition=["64"], SliceNormalVector=normal))
    if protocol:
        block.add_new(0x20, "OB", b"SV10" + protocol.encode())
    return made


def slices(folder: Path, made: Dataset) -> Any:
    [series] = read(save(made, folder / "a.dcm")).series
    return series


#: p + r · 1 mm · (18 - 6) / 2 + c · 2 mm · (12 - 4) / 2
FIRST = (-3.0, -4.0, 30.0)


@pytest.mark.parametrize(
    ("sign", "order"), [("1", [0, 1, 2, 3, 4, 5, 6]), ("-1", [6, 5, 4, 3, 2, 1, 0])]
)
def test_a_mosaic_is_unfolded_along_the_stated_normal(sign, order, tmp_path) -> None:
    series = slices(tmp_path, mosaic(7, ["0.0", "0.0", sign]))
    volume = series.volume()
    assert volume.shape == (7, 4, 6)
    assert [int(volume[at][0, 0]) for at in range(7)] == order
    assert all(np.ptp(volume[at]) == 0 for at in range(7))
    at = order.index(0)
    assert series.frames[at].position == FIRST
    assert volume.spacing == (5, 2, 1)
    assert series.plane == "axial"
    assert series.problems == ()


def test_the_protocol_states_what_the_header_does_not(tmp_path) -> None:
    protocol = (
        "sSliceArray.asSlice[0].sPosition.dTra\t = 30\n"
        "sSliceArray.asSlice[7].sPosition.dTra = -5.0\n"
        "sSliceArray.lSize = 8\n"
    )
    volume = slices(tmp_path, mosaic(None, None, protocol)).volume()
    assert [int(volume[at][0, 0]) for at in range(8)] == [7, 6, 5, 4, 3, 2, 1, 0]


def test_without_a_normal_the_slices_follow_that_of_the_picture_and_it_is_told(tmp_path) -> None:
    made = mosaic(9, SliceThickness=4)
    del made.SpacingBetweenSlices
    series = slices(tmp_path, made)
    assert series.volume().spacing[0] == 4
    assert [problem.why for problem in series.problems] == [
        "absent; SliceThickness was used", "absent: the slices are taken along the normal",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "made",
    [
        lambda: mosaic(None),  # nine tiles, and nobody says how many are slices
        lambda: mosaic(20),  # does not divide the sheet
        lambda: mosaic(7, ImagePositionPatient=None),
    ],
)
def test_a_mosaic_that_cannot_be_unfolded_makes_no_volume(made, tmp_path) -> None:
    series = slices(tmp_path, made())
    assert series.frames[0].stored().shape == (12, 18)
    assert series.problems
    with pytest.raises(DICOMError, match=r"mosaics|no place in space"):
        series.volume()


def test_the_matrix_that_is_written_as_text_has_to_agree(tmp_path) -> None:
    made = mosaic(7)
    made.private_block(0x0051, "SIEMENS MR HEADER", create=True).add_new(0x0B, "SH", "64p2*64")
    with pytest.raises(AmbiguousVolume, match="mosaics"):
        slices(tmp_path, made).volume()
    made[0x0051, 0x100B].value = "4*6"
    assert len(slices(tmp_path, made).volume()) == 7


def test_a_grid_of_another_vendor_is_refused(tmp_path) -> None:
    made = image(np.zeros((12, 18), np.int16), Modality="MR")
    made.private_block(0x0065, "Image Private Header", create=True).add_new(0x50, "DS", "9")
    with pytest.raises(AmbiguousVolume, match="mosaics"):
        slices(tmp_path, made).volume()


def test_a_damaged_csa_header_says_nothing() -> None:
    good = csa(SliceNormalVector=["0", "0", "1"])
    assert csa_numbers(good, "SliceNormalVector") == (0, 0, 1)
    for end in range(0, len(good) - 4, 7):
        assert csa_numbers(good[:end], "SliceNormalVector") in ((), (0, 0), (0, 0, 1))
    assert csa_numbers(good, "Other") == csa_numbers(b"", "Other") == ()


@pytest.mark.needs("shared-data")
def test_a_real_mosaic_is_as_dcm2niix_has_it(tmp_path) -> None:
    with zipfile.ZipFile(CASES / "real_siemens_mosaic.zip") as archive:
        archive.extractall(tmp_path)
    [series] = read(tmp_path).series
    written = nibabel.load(series.to_nifti(tmp_path / "a.nii"))
    assert written.shape == (72, 72, 5, 2)
    # dcm2niix stores the rows from the other end: its last row is our first.
    theirs = np.array([[-3, 0, 0, 108], [0, 3, 0, -105], [0, 0, 12, 16], [0, 0, 0, 1]])
    flip = np.array([[1, 0, 0, 0], [0, -1, 0, 71], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert np.allclose(written.affine, theirs @ flip)
    assert series.stack4d().units == {"time": "s"}
    assert float(written.header["pixdim"][4]) == pytest.approx(2.435, abs=1e-3)
