"""A segmentation, a structure set and a report of the same nodule, as DICOM objects.

Segmentation (PS3.3 A.51), RT Structure Set (A.19) and Comprehensive SR (A.35.3) refer to the
images of a CT series that was written before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from .phantom_files import Exam, common_elements, phantom_uid, write_file

SEG_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
RTSTRUCT_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
SR_STORAGE = "1.2.840.10008.5.1.4.1.1.88.33"
_DETACHED = "1.2.840.10008.3.1.2.3.1"  # Detached Study Management, as Study Component in RTSTRUCT


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _reference(ds: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = ds.SOPClassUID
    reference.ReferencedSOPInstanceUID = ds.SOPInstanceUID
    return reference


def _series_reference(images: Sequence[Dataset]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    series.ReferencedInstanceSequence = [_reference(image) for image in images]
    return series


def headers(paths: Sequence[Path]) -> list[Dataset]:
    """Return the datasets of some files, without their pixels."""
    return [dcmread(path, stop_before_pixels=True) for path in paths]


def write_segmentation(
    exam: Exam, folder: Path, images: Sequence[Dataset], masks: NDArray[np.bool_], number: int
) -> Path:
    """Write a binary segmentation with one frame for each slice that the nodule touches.

    Args:
        exam: the study.
        folder: where to write.
        images: the headers of the CT slices.
        masks: which voxels are the nodule, shape (slices, rows, columns).
        number: the series number.

    Returns:
        The path of the file.
    """
    first = images[0]
    ds = common_elements(
        exam, SEG_STORAGE, phantom_uid(exam.key, str(number)), number=number, instance=1
    )
    ds.Modality, ds.SeriesDescription = "SEG", "Nodule, right upper lobe"
    ds.BodyPartExamined = "CHEST"
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "NODULE", "Nodule", "Reader^A"
    ds.ImageType, ds.SegmentationType = ["DERIVED", "PRIMARY"], "BINARY"
    ds.SoftwareVersions, ds.DeviceSerialNumber = "1", "1"
    ds.FrameOfReferenceUID = first.FrameOfReferenceUID
    ds.ReferencedSeriesSequence = [_series_reference(images)]
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel = 1, "Nodule"
    segment.SegmentAlgorithmType = "MANUAL"
    segment.SegmentedPropertyCategoryCodeSequence = [
        _code("49755003", "SCT", "Morphologically Abnormal Structure")
    ]
    segment.SegmentedPropertyTypeCodeSequence = [_code("27925004", "SCT", "Nodule")]
    segment.RecommendedDisplayCIELabValue = [45000, 52000, 50000]
    ds.SegmentSequence = [segment]
    touched = [index for index in range(len(images)) if masks[index].any()]
    organization = phantom_uid(exam.key, str(number), "dimensions")
    ds.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=organization)]
    ds.DimensionIndexSequence = [
        _item(
            DimensionOrganizationUID=organization,
            DimensionIndexPointer=pointer,
            FunctionalGroupPointer=group,
        )
        for pointer, group in ((0x0062000B, 0x0062000A), (0x00200032, 0x00209113))
    ]
    ds.SharedFunctionalGroupsSequence = [
        _item(
            PlaneOrientationSequence=[_item(ImageOrientationPatient=first.ImageOrientationPatient)],
            PixelMeasuresSequence=[
                _item(
                    PixelSpacing=first.PixelSpacing,
                    SliceThickness=first.SliceThickness,
                    SpacingBetweenSlices=first.SliceThickness,
                )
            ],
            SegmentIdentificationSequence=[_item(ReferencedSegmentNumber=1)],
        )
    ]
    ds.PerFrameFunctionalGroupsSequence = [
        _segment_frame(images[index], position) for position, index in enumerate(touched, start=1)
    ]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns, ds.NumberOfFrames = first.Rows, first.Columns, len(touched)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 1, 1, 0, 0
    ds.LossyImageCompression = "00"
    bits = np.packbits(masks[touched].ravel(), bitorder="little").tobytes()
    ds.PixelData = bits + b"\0" * (len(bits) % 2)
    ds["PixelData"].VR = "OB"
    return write_file(ds, folder)


def _item(**elements: object) -> Dataset:
    item = Dataset()
    for name, value in elements.items():
        setattr(item, name, value)
    return item


def _segment_frame(image: Dataset, position: int) -> Dataset:
    source = _reference(image)
    source.PurposeOfReferenceCodeSequence = [
        _code("121322", "DCM", "Source image for image processing operation")
    ]
    derivation = _item(
        SourceImageSequence=[source],
        DerivationCodeSequence=[_code("113076", "DCM", "Segmentation")],
    )
    return _item(
        DerivationImageSequence=[derivation],
        FrameContentSequence=[_item(DimensionIndexValues=[1, position])],
        PlanePositionSequence=[_item(ImagePositionPatient=image.ImagePositionPatient)],
    )


def write_structure_set(
    exam: Exam,
    folder: Path,
    images: Sequence[Dataset],
    outlines: Sequence[tuple[int, NDArray[np.float64]]],
    number: int,
) -> Path:
    """Write a structure set with the closed outlines of the nodule.

    Args:
        exam: the study.
        folder: where to write.
        images: the headers of the CT slices.
        outlines: index of the slice, and the points of the outline in mm, shape (n, 3).
        number: the series number.

    Returns:
        The path of the file.
    """
    ds = common_elements(
        exam, RTSTRUCT_STORAGE, phantom_uid(exam.key, str(number)), number=number, instance=1
    )
    ds.Modality, ds.SeriesDescription = "RTSTRUCT", "Nodule, planned target"
    ds.StructureSetLabel, ds.StructureSetName = "NODULE", "Nodule"
    ds.StructureSetDate, ds.StructureSetTime = exam.date, exam.time
    frame = images[0].FrameOfReferenceUID
    series = Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    series.ContourImageSequence = [_reference(image) for image in images]
    study = _item(
        ReferencedSOPClassUID=_DETACHED,
        ReferencedSOPInstanceUID=exam.study_uid,
        RTReferencedSeriesSequence=[series],
    )
    ds.ReferencedFrameOfReferenceSequence = [
        _item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])
    ]
    ds.StructureSetROISequence = [
        _item(
            ROINumber=1,
            ReferencedFrameOfReferenceUID=frame,
            ROIName="Nodule",
            ROIGenerationAlgorithm="MANUAL",
        )
    ]
    ds.ROIContourSequence = [
        _item(
            ReferencedROINumber=1,
            ROIDisplayColor=[255, 60, 60],
            ContourSequence=[
                _item(
                    ContourImageSequence=[_reference(images[index])],
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(points),
                    ContourData=[f"{value:.3f}" for value in points.ravel()],
                )
                for index, points in outlines
            ],
        )
    ]
    ds.RTROIObservationsSequence = [
        _item(ObservationNumber=1, ReferencedROINumber=1, RTROIInterpretedType="GTV")
    ]
    ds["RTROIObservationsSequence"].value[0].ROIInterpreter = "Reader^A"
    return write_file(ds, folder)


def write_report(
    exam: Exam,
    folder: Path,
    images: Sequence[Dataset],
    measurements: Sequence[tuple[str, str, str, float, str]],
    texts: Sequence[tuple[str, str, str]],
    number: int,
) -> Path:
    """Write a report with sections of text and measurements.

    Args:
        exam: the study.
        folder: where to write.
        images: headers of the images that were read.
        measurements: code, scheme and name of what was measured; value; UCUM unit.
        texts: code, name and text of each section.
        number: the series number.

    Returns:
        The path of the file.
    """
    ds = common_elements(
        exam, SR_STORAGE, phantom_uid(exam.key, str(number)), number=number, instance=1
    )
    ds.Modality, ds.SeriesDescription = "SR", "Report"
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "UNVERIFIED"
    ds.ReferencedPerformedProcedureStepSequence, ds.PerformedProcedureCodeSequence = [], []
    ds.CurrentRequestedProcedureEvidenceSequence = [_evidence(exam, images)]
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = [_code("18748-4", "LN", "Diagnostic imaging report")]
    ds.ContentSequence = [
        _content("CONTAINER", code, "LN", name, _content("TEXT", code, "LN", name, text))
        for code, name, text in texts
    ]
    if measurements:
        entries = [
            _measurement(code, scheme, name, value, unit)
            for code, scheme, name, value, unit in measurements
        ]
        container = _content("CONTAINER", "59776-5", "LN", "Procedure findings", *entries)
        ds.ContentSequence.append(container)
    return write_file(ds, folder)


def _evidence(exam: Exam, images: Sequence[Dataset]) -> Dataset:
    series = _item(
        SeriesInstanceUID=images[0].SeriesInstanceUID,
        ReferencedSOPSequence=[_reference(image) for image in images],
    )
    return _item(StudyInstanceUID=exam.study_uid, ReferencedSeriesSequence=[series])


def _content(kind: str, code: str, scheme: str, name: str, *inner: Dataset | str) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", kind
    item.ConceptNameCodeSequence = [_code(code, scheme, name)]
    if kind == "CONTAINER":
        item.ContinuityOfContent, item.ContentSequence = "SEPARATE", list(inner)
    else:
        item.TextValue = str(inner[0])
    return item


def _measurement(code: str, scheme: str, name: str, value: float, unit: str) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "NUM"
    item.ConceptNameCodeSequence = [_code(code, scheme, name)]
    measured = Dataset()
    measured.NumericValue = f"{value:.1f}"
    measured.MeasurementUnitsCodeSequence = [_code(unit, "UCUM", unit)]
    item.MeasuredValueSequence = [measured]
    return item
