"""The studies of the sandbox's archive: files that ship with pydicom, and phantoms.

The files of pydicom are served unchanged, with their own dates, UIDs and names. Study descriptions
and body parts, which a radiology information system would add, are listed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import derived_objects, mr_volumes, nodule_studies, phantom_files, volume_studies
from .chest_phantom import SLICES, Sphere
from .people import PEOPLE
from .phantom_files import Exam


@dataclass(frozen=True)
class PackagedStudy:
    """A study whose files ship with pydicom; ``started`` is given if the header has no date."""

    patient_id: str
    description: str
    body_site: str
    files: tuple[str, ...]
    started: str = ""


@dataclass(frozen=True)
class PhantomSeries:
    """A series of a phantom, described before its files exist."""

    number: int
    modality: str
    description: str
    instances: int
    sop_class: str


@dataclass(frozen=True)
class PhantomStudy:
    """A study that is generated on its first request.

    Attributes:
        exam: patient and study.
        body_site: the part of the body.
        series: its series.
        write: writes its files to a folder.
        truth: true values in its images: name, value and UCUM unit.
    """

    exam: Exam
    body_site: str
    series: tuple[PhantomSeries, ...]
    write: Callable[[Exam, Path], Iterator[Path]]
    truth: tuple[tuple[str, float, str], ...] = ()


def _files(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"dicomdirtests/{folder}/{name}" for name in names)


DANIEL, SUSAN, JOSEPH, _, RUTH = PEOPLE
PACKAGED_STUDIES: tuple[PackagedStudy, ...] = (
    PackagedStudy(
        DANIEL.id,
        "Echocardiogram, parasternal long axis, cine",
        "HEART",
        ("examples_ybr_color.dcm",),
    ),
    PackagedStudy(DANIEL.id, "MR abdomen, liver", "ABDOMEN", ("examples_overlay.dcm",)),
    PackagedStudy(DANIEL.id, "MR knee without contrast", "KNEE", ("MR_small.dcm",)),
    PackagedStudy(
        DANIEL.id, "Whole body bone scan", "WHOLEBODY", ("JPEG-lossy.dcm", "JPEG2000.dcm")
    ),
    PackagedStudy(
        DANIEL.id,
        "XR cervical spine, 4 views",
        "CSPINE",
        _files("77654033", "CR1/6154", "CR2/6247", "CR3/6278"),
    ),
    PackagedStudy(
        SUSAN.id,
        "US soft tissue, lymph node",
        "EXTREMITY",
        ("examples_rgb_color.dcm", "examples_jpeg2k.dcm"),
    ),
    PackagedStudy(SUSAN.id, "US obstetric", "UTERUS", ("examples_palette.dcm",)),
    PackagedStudy(
        SUSAN.id,
        "MR angiography, brain",
        "BRAIN",
        _files("98892003/MR1", "5641")
        + _files("98892003/MR2", "6273", "6605", "6935")
        + _files("98892003/MR700", "4467", "4528", "4558", "4588", "4618", "4648", "4678"),
    ),
    PackagedStudy(
        SUSAN.id,
        "MR brain",
        "BRAIN",
        _files("98892003/MR1", "4919") + _files("98892003/MR2", "4950", "4981", "5011"),
    ),
    PackagedStudy(
        SUSAN.id,
        "MR angiography, carotids",
        "NECK",
        _files("98892003/MR1", "15820") + _files("98892003/MR2", "15970"),
    ),
    PackagedStudy(JOSEPH.id, "CT thoracic spine without contrast", "TSPINE", ("CT_small.dcm",)),
    PackagedStudy(
        JOSEPH.id,
        "CT abdomen",
        "ABDOMEN",
        _files("98892001/CT2N", "6293", "6924")
        + _files("98892001/CT5N", "2062", "2392", "2693", "3023", "3353"),
    ),
    PackagedStudy(
        JOSEPH.id,
        "CT head without contrast",
        "HEAD",
        _files("77654033/CT2", "17106", "17136", "17166", "17196"),
    ),
    PackagedStudy(
        JOSEPH.id,
        "CT head without contrast, temporal bones",
        "HEAD",
        ("J2K_pixelrep_mismatch.dcm",),
    ),
    PackagedStudy(
        JOSEPH.id,
        "CT head without contrast, plain",
        "HEAD",
        ("693_J2KI.dcm",),
        started="2016-09-07T08:15:00",
    ),
    PackagedStudy(JOSEPH.id, "Radiotherapy dose", "ABDOMEN", ("rtdose_rle.dcm",)),
    PackagedStudy(JOSEPH.id, "Electrocardiogram, 12 leads", "HEART", ("waveform_ecg.dcm",)),
    PackagedStudy(
        JOSEPH.id, "Report of a reading", "", ("reportsi.dcm",), started="2005-05-30T17:45:00"
    ),
    PackagedStudy(
        JOSEPH.id,
        "Colour test card, photographs",
        "",
        ("SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_gdcm_KY.dcm"),
        started="2017-01-01T12:00:00",
    ),
)


def _thin_chest() -> PhantomSeries:
    slices = nodule_studies.SLICES
    return PhantomSeries(1, "CT", "Axial 3 mm, standard", slices, phantom_files.CT_STORAGE)


def _nodule_truth(nodule: Sphere) -> tuple[tuple[str, float, str], ...]:
    return (
        ("nodule volume", nodule.volume, "mm3"),
        ("nodule diameter", 2 * nodule.radius, "mm"),
    )


PHANTOM_STUDIES: tuple[PhantomStudy, ...] = (
    PhantomStudy(
        Exam("chest-ct", DANIEL, "20181114", "101530", "SB0018001", "CT chest without contrast"),
        "CHEST",
        (PhantomSeries(1, "CT", "Axial 5 mm, standard", SLICES, phantom_files.CT_STORAGE),),
        phantom_files.chest_ct,
    ),
    PhantomStudy(
        Exam("chest-film", DANIEL, "20181114", "093000", "SB0018002", "XR chest, frontal"),
        "CHEST",
        (PhantomSeries(1, "DX", "Chest PA", 1, phantom_files.DX_STORAGE),),
        phantom_files.chest_radiograph,
    ),
    PhantomStudy(
        Exam(
            "mammogram", SUSAN, "20180306", "140500", "SB0018003", "Screening mammogram, both sides"
        ),
        "BREAST",
        tuple(
            PhantomSeries(number, "MG", f"{side} MLO", 1, phantom_files.MG_STORAGE)
            for number, side in enumerate("LR", start=1)
        ),
        phantom_files.screening_mammogram,
    ),
    *(
        PhantomStudy(
            Exam(f"mammogram-{date[:4]}", RUTH, date, "101000", accession, "Screening mammogram"),
            "BREAST",
            tuple(
                PhantomSeries(number, "MG", f"{side} {view}", 1, phantom_files.MG_STORAGE)
                for number, (side, view) in enumerate(nodule_studies.VIEWS, start=1)
            ),
            nodule_studies.mammograms,
        )
        for date, accession in (("20160510", "SB0018010"), ("20180515", "SB0018011"))
    ),
    PhantomStudy(
        Exam("first-film", RUTH, "20180528", "084500", "SB0018012", "XR chest, frontal, cough"),
        "CHEST",
        (PhantomSeries(1, "DX", "Chest PA", 1, phantom_files.DX_STORAGE),),
        nodule_studies.first_film,
    ),
    PhantomStudy(
        Exam("first-ct", RUTH, "20180604", "112000", "SB0018013", "CT chest, nodule"),
        "CHEST",
        (_thin_chest(),),
        nodule_studies.first_ct,
        _nodule_truth(nodule_studies.EARLIER),
    ),
    PhantomStudy(
        Exam("follow-up-ct", RUTH, "20181205", "094000", "SB0018014", "CT chest, follow-up"),
        "CHEST",
        (
            _thin_chest(),
            PhantomSeries(2, "SEG", "Nodule, right upper lobe", 1, derived_objects.SEG_STORAGE),
            PhantomSeries(3, "RTSTRUCT", "Nodule, target", 1, derived_objects.RTSTRUCT_STORAGE),
            PhantomSeries(4, "SR", "Report", 1, derived_objects.SR_STORAGE),
        ),
        nodule_studies.follow_up_ct,
        _nodule_truth(nodule_studies.LATER),
    ),
    PhantomStudy(
        Exam("pet-ct", RUTH, "20181219", "110000", "SB0018015", "PET/CT chest, glucose"),
        "CHEST",
        (
            PhantomSeries(
                1,
                "CT",
                "CT for attenuation, low dose",
                nodule_studies.SLICES,
                phantom_files.CT_STORAGE,
            ),
            PhantomSeries(
                2, "PT", "PET, corrected", nodule_studies.SLICES, volume_studies.PET_STORAGE
            ),
        ),
        volume_studies.pet_ct,
        (
            *_nodule_truth(nodule_studies.LATER),
            ("nodule SUV", volume_studies.NODULE_SUV, "g/ml"),
            ("liver SUV", volume_studies.LIVER_SUV, "g/ml"),
        ),
    ),
    PhantomStudy(
        Exam("head-mr", RUTH, "20190108", "143000", "SB0018016", "MR head, three weightings"),
        "BRAIN",
        tuple(
            PhantomSeries(
                number, "MR", name, volume_studies.HEAD_SHAPE[0], volume_studies.MR_STORAGE
            )
            for number, (name, *_) in enumerate(volume_studies.HEAD_SERIES, start=1)
        ),
        volume_studies.head_mr,
        (("lesion volume", mr_volumes.LESION_VOLUME, "mm3"),),
    ),
    PhantomStudy(
        Exam("knee-mr", RUTH, "20170912", "160000", "SB0018017", "MR knee, right, fat saturated"),
        "KNEE",
        (
            PhantomSeries(
                1,
                "MR",
                "Sagittal PD, fat saturated",
                volume_studies.KNEE_SLICES,
                volume_studies.MR_STORAGE,
            ),
        ),
        volume_studies.knee_mr,
    ),
    PhantomStudy(
        Exam("perfusion", RUTH, "20190220", "220500", "SB0018018", "CT perfusion, head"),
        "HEAD",
        (
            PhantomSeries(
                1,
                "CT",
                "Perfusion, 20 phases",
                volume_studies.PHASES * volume_studies.PERFUSION_SHAPE[0],
                phantom_files.CT_STORAGE,
            ),
        ),
        volume_studies.perfusion,
        (
            ("arterial onset", volume_studies.ONSET, "s"),
            ("delay of the left middle territory", volume_studies.DELAY, "s"),
        ),
    ),
    PhantomStudy(
        Exam("echo", RUTH, "20181127", "134500", "SB0018019", "Echocardiogram, four chambers"),
        "HEART",
        (PhantomSeries(1, "US", "Apical four chambers", 1, volume_studies.US_STORAGE),),
        volume_studies.echo_cine,
        (("left ventricle length", volume_studies.VENTRICLE_MM, "mm"),),
    ),
)


@dataclass(frozen=True)
class UnavailableStudy:
    """A study that the archive lists but cannot serve, such as films that were not digitised."""

    patient_id: str
    description: str
    body_site: str
    modality: str
    started: str
    study_uid: str


UNAVAILABLE_STUDIES: tuple[UnavailableStudy, ...] = (
    UnavailableStudy(
        JOSEPH.id,
        "XR chest, films not scanned",
        "CHEST",
        "CR",
        "1998-03-17T09:00:00",
        phantom_files.phantom_uid("films-of-1998"),
    ),
)
