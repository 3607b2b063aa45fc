"""What is no pixel: structured reports, overlays, documents, curves, tiles."""

from __future__ import annotations

import highdicom
import numpy as np
import pytest
from highdicom.sr.coding import CodedConcept
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from s4s_notebook.errors import MalformedDICOM, NotAnImage
from s4s_notebook.imaging import read

from .make import image, save


def without_pixels(sop_class, modality, **elements):
    none = dict.fromkeys(("PixelData", "Rows", "Columns", "PixelSpacing"))
    made = image(None, Modality=modality, SeriesInstanceUID=generate_uid(), **none, **elements)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = sop_class
    return made


def code(meaning, value="1", scheme="99X"):
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = value, scheme, meaning
    return Sequence([made])


def item(kind, name, relation="CONTAINS", below=(), **elements):
    made = Dataset()
    made.RelationshipType, made.ValueType = relation, kind
    if name:
        made.ConceptNameCodeSequence = code(name, name[:4])
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    if below:
        made.ContentSequence = Sequence(below)
    return made


def number(name, value, unit, below=()):
    measured = Dataset()
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = value, code(unit, unit, "UCUM")
    total = Sequence([measured]) if value is not None else Sequence([])
    return item("NUM", name, below=below, MeasuredValueSequence=total)


def report(*items):
    made = without_pixels("1.2.840.10008.5.1.4.1.1.88.33", "SR")
    made.ValueType, made.ConceptNameCodeSequence = "CONTAINER", code("Imaging Report")
    made.CompletionFlag, made.VerificationFlag = "COMPLETE", "VERIFIED"
    made.ContentSequence = Sequence(items)
    return made


def test_a_report_reads_as_text_and_as_a_frame(tmp_path) -> None:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = "1.2", "1.2.3.4"
    reference.ReferencedFrameNumber = 7
    picture = item("IMAGE", "", "SELECTED FROM", ReferencedSOPSequence=Sequence([reference]))
    circle = item(
        "SCOORD", "", "INFERRED FROM", [picture], GraphicType="CIRCLE", GraphicData=[1, 2, 3, 2]
    )
    site = item("CODE", "Finding Site", "HAS CONCEPT MOD", ConceptCodeSequence=code("Right lung"))
    missing = number("Volume", None, "mm3")
    missing.NumericValueQualifierCodeSequence = code("Not a number")
    finding = item(
        "CONTAINER", "Finding", below=[
            item("TEXT", "Tracking Identifier", "HAS OBS CONTEXT", TextValue="Nodule 1"),
            number("Diameter", "17.25", "mm", [circle, site]),
            missing,
            item("TEXT", "Impression", TextValue="Two lines:\nthe second \x1b[31mred"),
        ],
    )  # fmt: skip
    save(report(item("DATE", "Date of study", Date="20200102"), finding), tmp_path / "a.dcm")
    made = read(tmp_path).report()
    assert made.text.splitlines() == [
        "Imaging Report",
        "(complete, verified)",
        "  1 Date of study: 20200102",
        "  2 Finding",
        "    2.1 Tracking Identifier: Nodule 1",
        "    2.2 Diameter: 17.25 mm",
        "      2.2.1 CIRCLE 1, 2, 3, 2",
        "        2.2.1.1 image 1.2.3.4, frame 7",
        "      2.2.2 Finding Site: Right lung",
        "    2.3 Volume: no value (Not a number)",
        "    2.4 Impression: Two lines:",
        "the second \\u001b[31mred",
    ]
    first, second = made.measurements.to_dict("records")
    assert (first["name"], first["value"], first["unit"]) == ("Diameter", 17.25, "mm")
    assert (first["path"], first["site"]) == ("Imaging Report > Finding", "Right lung")
    assert (first["tracking"], first["sop_uid"], first["frame"]) == ("Nodule 1", "1.2.3.4", 7)
    assert np.isnan(second["value"])
    assert second["qualifier"] == "Not a number"
    assert "canary" not in repr(made).lower()


def test_a_report_by_highdicom(tmp_path) -> None:
    """TID 1500, as other programs write it."""
    source = get_testdata_file("CT_small.dcm")
    observer = highdicom.sr.ObserverContext(
        codes.DCM.Device, highdicom.sr.DeviceObserverIdentifyingAttributes(generate_uid())
    )
    measurement = highdicom.sr.Measurement(
        codes.SCT.Diameter, 12.5, CodedConcept("mm", "UCUM", "millimeter"),
        finding_sites=[highdicom.sr.FindingSite(codes.SCT.Lung)],
    )  # fmt: skip
    group = highdicom.sr.MeasurementsAndQualitativeEvaluations(
        highdicom.sr.TrackingIdentifier(generate_uid(), "Lesion A"),
        measurements=[measurement],
        source_images=[
            highdicom.sr.SourceImageForMeasurementGroup.from_source_image(dcmread(source))
        ],
    )
    content = highdicom.sr.MeasurementReport(
        highdicom.sr.ObservationContext(observer), codes.LN.CTUnspecifiedBodyRegion, [group]
    )
    made = highdicom.sr.ComprehensiveSR(
        [dcmread(source)], content, generate_uid(), 1, generate_uid(), 1, "Maker"
    )
    save(made, tmp_path / "sr.dcm")
    [row] = read(tmp_path).report().measurements.to_dict("records")
    assert (row["name"], row["value"], row["unit"]) == ("Diameter", 12.5, "mm")
    assert (row["site"], row["tracking"]) == ("Lung", "Lesion A")
    assert row["sop_uid"] == dcmread(source).SOPInstanceUID


@pytest.mark.parametrize(
    ("name", "lines", "values"),
    [
        ("test-SR.dcm", 35, [3.0, 3.0]),
        ("reportsi.dcm", 10, []),
        ("reportsi_with_empty_number_tags.dcm", 10, []),
    ],
)
def test_real_reports(name, lines, values) -> None:
    made = read(get_testdata_file(name)).report()
    assert len(made.text.splitlines()) >= lines
    assert made.measurements["value"].tolist() == values


def test_a_study_without_a_report_says_what_it_holds() -> None:
    with pytest.raises(NotAnImage, match="12-lead ECG Waveform Storage"):
        read(get_testdata_file("waveform_ecg.dcm")).report()
    with pytest.raises(NotAnImage, match="CT Image Storage"):
        read(get_testdata_file("CT_small.dcm")).report()


@pytest.mark.parametrize("name", ["examples_overlay.dcm", "MR-SIEMENS-DICOM-WithOverlays.dcm"])
def test_overlays_equal_pydicom(name) -> None:
    path = get_testdata_file(name)
    [overlay] = read(path).series[0].frames[0].overlays
    theirs = dcmread(path).overlay_array(0x6000)
    assert np.array_equal(overlay.mask, theirs.reshape(theirs.shape[-2:]))
    assert overlay.mask.any()


def laid(mask, origin=(1, 1), frames=1, first=None):
    made = image(np.zeros((6 * max(frames, 1), 9), np.int16))
    made.Rows, made.NumberOfFrames = 6, frames
    made.add_new((0x6002, 0x0010), "US", mask.shape[-2])
    made.add_new((0x6002, 0x0011), "US", mask.shape[-1])
    made.add_new((0x6002, 0x0040), "CS", "R")
    made.add_new((0x6002, 0x0050), "SS", list(origin))
    made.add_new((0x6002, 0x1500), "LO", "Lesion")
    if mask.ndim == 3:
        made.add_new((0x6002, 0x0015), "IS", len(mask))
    if first is not None:
        made.add_new((0x6002, 0x0051), "US", first)
    bits = np.packbits(mask.ravel(), bitorder="little").tobytes()
    made.add_new((0x6002, 0x3000), "OW", bits + b"\0" * (len(bits) % 2))
    return made


@pytest.mark.parametrize("origin", [(1, 1), (3, 4), (-1, 0), (5, 8)])
def test_an_overlay_lies_where_its_origin_says(origin, tmp_path) -> None:
    mask = np.random.default_rng(1).random((4, 5)) > 0.4
    save(laid(mask, origin), tmp_path / "a.dcm")
    [overlay] = read(tmp_path).series[0].frames[0].overlays
    expected = np.zeros((6, 9), bool)
    for row, column in zip(*np.nonzero(mask), strict=True):
        at = row + origin[0] - 1, column + origin[1] - 1
        if 0 <= at[0] < 6 and 0 <= at[1] < 9:
            expected[at] = True
    assert np.array_equal(overlay.mask, expected)
    assert (overlay.kind, overlay.label, overlay.group) == ("region", "Lesion", 0x6002)


def test_an_overlay_of_many_frames(tmp_path) -> None:
    mask = np.random.default_rng(2).random((2, 6, 9)) > 0.5  # 54 bits: not at a byte
    save(laid(mask, frames=4, first=2), tmp_path / "a.dcm")
    frames = read(tmp_path).series[0].frames
    assert [len(frame.overlays) for frame in frames] == [0, 1, 1, 0]
    assert np.array_equal(frames[1].overlays[0].mask, mask[0])
    assert np.array_equal(frames[2].overlays[0].mask, mask[1])


def test_overlays_are_drawn_on_request_and_damaged_ones_refused(tmp_path) -> None:
    path = save(laid(np.ones((6, 9), bool)), tmp_path / "a.dcm")
    study = read(path)
    assert len(study.plot().axes[0].images) == 1
    drawn = study.plot(overlays=True).axes[0].images
    assert len(drawn) == 2
    assert (np.asarray(drawn[1].get_array())[..., 3] > 0).all()
    made = laid(np.ones((6, 9), bool))
    made[0x6002, 0x3000].value = b"\1\2"
    save(made, path)
    with pytest.raises(MalformedDICOM, match="shorter"):
        _ = read(path).series[0].frames[0].overlays
    del made[0x6002, 0x3000]
    save(made, path)
    with pytest.raises(MalformedDICOM, match="bits of the pixel data"):
        read(path).plot(overlays=True)
    assert read(path).plot().alt


def test_a_pdf_can_be_saved(tmp_path) -> None:
    pdf = b"%PDF-1.7\nsome pages\n%%EOF"  # an odd number of bytes: padded in the file
    made = without_pixels("1.2.840.10008.5.1.4.1.1.104.1", "DOC")
    made.EncapsulatedDocument, made.EncapsulatedDocumentLength = pdf + b"\0", len(pdf)
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    save(made, tmp_path / "a.dcm")
    [series] = read(tmp_path).series
    assert "Encapsulated PDF" in series.label
    assert series.save_document(tmp_path / "a.pdf").read_bytes() == pdf
    made.EncapsulatedDocument = b"<html></html>\0"
    save(made, tmp_path / "a.dcm")
    with pytest.raises(MalformedDICOM, match="PDF"):
        read(tmp_path).series[0].save_document(tmp_path / "b.pdf")
    assert not (tmp_path / "b.pdf").exists()
    with pytest.raises(NotAnImage, match="CT Image"):
        read(get_testdata_file("CT_small.dcm")).series[0].save_document(tmp_path / "c.pdf")


def test_curves_and_whole_slides_say_what_they_are(tmp_path) -> None:
    [ecg] = read(get_testdata_file("waveform_ecg.dcm")).series
    assert ecg.label == "ECG · 12-lead ECG Waveform Storage"
    none = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
    made = image(np.zeros((8, 6, 3), np.uint8), Modality="SM", **none)
    made.Rows, made.NumberOfFrames = 4, 2
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    save(made, tmp_path / "a.dcm")
    [series] = read(tmp_path).series
    assert series.label.endswith("VL Whole Slide Microscopy Image Storage · Chest · 2 tiles")
