import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s4s_notebook.errors import DICOMError, InvalidDICOM, MalformedDICOM
from s4s_notebook.fhir.resources import is_uid
from s4s_notebook.store.header import TooShort, executable, read_header

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


def test_a_deflate_bomb_costs_a_megabyte():
    import zlib

    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = packer.compress(b"\0" * (64 << 20)) + packer.flush()
    start = dicom.make(syntax=dicom.DEFLATED)
    meta_end = start.index(dicom.DEFLATED.encode()) + 22
    found = header(start[:meta_end] + bomb)
    assert found.study_uid == ""
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


@pytest.mark.parametrize("syntax", [dicom.EXPLICIT, dicom.IMPLICIT, dicom.BIG, dicom.DEFLATED])
@pytest.mark.parametrize("before", [b"", sequence(dicom.element(0x0020000D, b"UI", b"9.9.9"))])
def test_a_beginning_tells_the_same_as_the_whole_or_that_it_is_too_short(syntax, before):
    before = before if syntax == dicom.EXPLICIT else b""
    whole = dicom.make(syntax=syntax, before_uids=before, size=500)
    told = set()
    for end in range(132, len(whole) + 1):
        try:
            assert read_header(memoryview(whole)[:end], len(whole)) == header(whole)
            told.add("the same")
        except TooShort:
            assert end < len(whole)
            told.add("too short")
    assert told == {"the same", "too short"}


def test_a_beginning_that_lies_about_lengths_is_found_out_by_the_size_of_the_whole():
    long = dicom.make(before_uids=dicom.element(0x00181234, b"UT", b"", length=1 << 20))
    for size, error in ((len(long), MalformedDICOM), (len(long) + (1 << 21), TooShort)):
        with pytest.raises(error):
            read_header(memoryview(long), size)
