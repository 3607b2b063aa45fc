import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s4s_notebook.errors import (
    DICOMError,
    IntegrityError,
    InvalidDICOM,
    MalformedDICOM,
    TruncatedDICOM,
)
from s4s_notebook.fhir.resources import is_uid
from s4s_notebook.store import header as store_header
from s4s_notebook.store.header import executable, read_header

from . import dicom


def header(data):
    return read_header(memoryview(data))


@pytest.mark.parametrize("syntax", [dicom.EXPLICIT, dicom.IMPLICIT, dicom.BIG, dicom.DEFLATED])
def test_every_encoding_tells_the_same(syntax):
    found = header(dicom.make(syntax=syntax, patient="P7"))
    assert found.study_uid == dicom.STUDY
    assert found.series_uid == dicom.SERIES
    assert found.sop_uid == found.meta_sop_uid == dicom.sop(1)
    assert found.sop_class == found.meta_sop_class == dicom.CT
    assert found.patient_id == "P7"
    assert found.transfer_syntax == syntax


def test_it_agrees_with_pydicom_on_pydicoms_own_files():
    import pydicom
    from pydicom.data import get_testdata_file

    names = "CT_small MR_small JPEG2000 image_dfl 693_UNCI MR_small_bigendian rtplan test-SR"
    for name in [f"{name}.dcm" for name in names.split()]:
        path = get_testdata_file(name)
        with open(path, "rb") as file:
            data = file.read()
        truth = pydicom.dcmread(path, force=True)
        if data[128:132] != b"DICM" or "SeriesInstanceUID" not in truth:
            continue
        found = header(data)
        assert found.series_uid == truth.SeriesInstanceUID, name
        assert found.study_uid == truth.StudyInstanceUID, name
        assert found.sop_uid == truth.SOPInstanceUID, name
        assert found.patient_id == truth.get("PatientID", ""), name


def sequence(inner: bytes, vr: bytes = b"SQ") -> bytes:
    """A sequence of undefined length with one item of undefined length."""
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + inner
    item += struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return dicom.element(0x00181234, vr, item + end, length=0xFFFFFFFF)


def test_uids_inside_a_sequence_are_not_taken_for_the_files_own():
    decoy = dicom.element(0x0020000D, b"UI", b"9.9.9")
    assert header(dicom.make(before_uids=sequence(decoy))).study_uid == dicom.STUDY
    assert header(dicom.make(before_uids=sequence(sequence(decoy)))).study_uid == dicom.STUDY
    nothing_defined = dicom.element(0x00181234, b"SQ", decoy)
    assert header(dicom.make(before_uids=nothing_defined)).study_uid == dicom.STUDY


def test_unknown_vr_of_undefined_length_is_read_as_implicit():
    decoy = dicom.element(0x0020000D, b"UI", b"9.9.9", explicit=False)
    assert header(dicom.make(before_uids=sequence(decoy, b"UN"))).study_uid == dicom.STUDY


def test_nesting_and_lengths_are_bounded():
    deep = b"".join(
        dicom.element(0x00181234, b"SQ", b"", length=0xFFFFFFFF)
        + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        for _ in range(5000)
    )
    with pytest.raises(MalformedDICOM):
        header(dicom.make(before_uids=deep))
    with pytest.raises(MalformedDICOM):
        header(dicom.make(before_uids=dicom.element(0x00181234, b"UT", b"", length=1 << 30)))
    with pytest.raises(MalformedDICOM):
        header(dicom.make(before_uids=struct.pack("<HHI", 0xFFFE, 0xE00D, 0)))
    with pytest.raises(MalformedDICOM):
        header(b"\0" * 128 + b"DICM" + struct.pack("<HH2s", 2, 1, b"OB") + b"\0\0")


def test_a_deflate_bomb_costs_no_memory_and_a_bounded_time(monkeypatch):
    import zlib

    def bomb(size):
        packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
        return packer.compress(b"\0" * size) + packer.flush()

    start = dicom.make(syntax=dicom.DEFLATED)
    meta_end = start.index(dicom.DEFLATED.encode()) + 22
    assert header(start[:meta_end] + bomb(64 << 20)).study_uid == ""
    monkeypatch.setattr(store_header, "_INFLATE_LIMIT", 8 << 20)
    with pytest.raises(MalformedDICOM, match="8 MiB"):
        header(start[:meta_end] + bomb(16 << 20))
    with pytest.raises(MalformedDICOM):
        header(start[:meta_end] + b"\xff\xff\xff no deflate stream")


@pytest.mark.parametrize("data", [b"", b"DICM", b"\0" * 131, b"\0" * 500])
def test_no_dicm_is_not_dicom(data):
    with pytest.raises(InvalidDICOM):
        header(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 400), st.binary(max_size=8))
def test_no_bytes_raise_anything_untyped(tail, at, splice):
    good = dicom.make()[132:]
    for data in (tail, good[:at] + splice + good[at + len(splice) :]):
        with contextlib.suppress(DICOMError):
            header(b"\0" * 128 + b"DICM" + data)


def test_executable_preambles_are_known_and_others_pass():
    for magic in (b"MZ\x90", b"\x7fELF", b"<html", b" <!DOCTYPE html", b"#!/bin/sh", b"PK\x03\x04"):
        assert executable(magic.ljust(128, b"\0"))
    for harmless in (b"", b"II*\0", b"MM\0*", b"DICOM preamble text"):
        assert not executable(harmless.ljust(128, b"\0"))


@pytest.mark.parametrize(
    "text", ["", "1.", ".1", "1..2", "1.2.3\n", "1.2/../3", "1" * 65, "1.٣", "a.b"]
)
def test_what_is_no_uid(text):
    assert not is_uid(text)


def test_what_is_a_uid():
    assert is_uid("1.2.840.10008.1.0")
    assert is_uid("1" * 64)


SYNTAXES = [dicom.EXPLICIT, dicom.IMPLICIT, dicom.BIG, dicom.DEFLATED]


def by_window(data, first=132, window=300):
    """The header as it is read where only a beginning, and then windows, are in memory."""
    seen = []

    def read(at):
        seen.append(at)
        return memoryview(data)[at : at + window]

    return read_header(memoryview(data)[:first], len(data), read), seen


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    "before",
    [b"", sequence(b""), dicom.element(0x00181234, b"UT", b"x" * 2000)],
    ids=["plain", "sequence", "long"],
)
def test_windows_tell_the_same_as_the_whole(syntax, before):
    before = before if syntax == dicom.EXPLICIT else b""
    whole = dicom.make(syntax=syntax, before_uids=before, size=100_000)
    for first in (132, 200, 333, 1000, len(whole)):
        found, seen = by_window(whole, first)
        assert found == header(whole)
        if syntax != dicom.DEFLATED:
            assert len(seen) < 30, "pixels were read, not skipped"


def fragments(count, end=True):
    """Encapsulated pixels (PS3.5 A.4): an empty offset table, and fragments."""
    parts = b"".join(
        struct.pack("<HHI", 0xFFFE, 0xE000, size) + b"j" * size for size in [0, *[1000] * count]
    )
    closing = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) if end else b""
    return dicom.element(0x7FE00010, b"OB", parts + closing, length=0xFFFFFFFF)


ROWS = dicom.element(0x00280010, b"US", b"\1\0")
PADDING = dicom.element(0xFFFCFFFC, b"OB", b"\0" * 50)
JPEG = "1.2.840.10008.1.2.4.50"


def whole_files():
    """Sound instances: each encoding, with what may follow the pixels."""
    for syntax in SYNTAXES:
        yield dicom.make(syntax=syntax, size=3000)
    image = dicom.make(after_uids=ROWS, size=3000)
    bare = image[: image.rindex(b"\xe0\x7f\x10\0")]
    yield image
    yield image + PADDING
    yield bare + fragments(5)
    yield bare + fragments(5) + PADDING


@pytest.mark.fault("J09")
@pytest.mark.parametrize("data", [*whole_files()])
def test_a_file_that_is_cut_anywhere_is_found_out(data):
    header(data)
    header(data + b"\0" * 7)
    for end in range(len(data) - len(PADDING) + 1, len(data)):
        with pytest.raises(IntegrityError):
            header(data[:end])
        with pytest.raises(TruncatedDICOM):
            by_window(data[:end])


@pytest.mark.fault("J09")
@pytest.mark.parametrize("percent", [95, 60, 50, 20])
@pytest.mark.parametrize("data", [*whole_files()])
def test_a_share_of_a_file_is_found_out(data, percent):
    with pytest.raises(IntegrityError):
        header(data[: len(data) * percent // 100])


@pytest.mark.fault("J09")
def test_an_image_that_ends_between_two_elements_is_found_out():
    image = dicom.make(after_uids=ROWS)
    with pytest.raises(TruncatedDICOM, match="before its pixels"):
        header(image[: image.rindex(b"\xe0\x7f\x10\0")])


@pytest.mark.fault("J09")
def test_what_is_no_element_may_not_follow():
    with pytest.raises(TruncatedDICOM):
        header(dicom.make() + b"x" * 5)
    with pytest.raises(TruncatedDICOM):
        header(dicom.make() + b"\0" * 20 + b"x")


@pytest.mark.fault("J09")
def test_pydicoms_own_files_are_sound_or_known_to_be_cut():
    import pydicom.data

    folder = Path(pydicom.data.__file__).parent / "test_files"
    cut, sound = set(), 0
    for path in folder.rglob("*.dcm"):
        data = path.read_bytes()
        if data[128:132] == b"DICM":
            try:
                header(data)
                sound += 1
            except TruncatedDICOM:
                cut.add(path.stem)
    assert sound > 60
    assert cut <= {"rtplan_truncated", "MR_truncated", "emri_small_jpeg_2k_lossless_too_short"}


def test_elements_are_counted(monkeypatch):
    monkeypatch.setattr(store_header, "_MOST", 5)
    with pytest.raises(MalformedDICOM, match="more than 5 elements"):
        header(dicom.make())
