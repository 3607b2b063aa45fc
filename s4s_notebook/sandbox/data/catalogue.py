"""The studies of the sandbox's archive: files that ship with pydicom, and phantoms.

The files of pydicom are served unchanged, with their own dates, UIDs and names. Study descriptions
and body parts, which a radiology information system would add, are listed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import phantom_files
from .chest_phantom import SLICES
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
    """A study that is generated on its first request; ``write`` writes its files to a folder."""

    patient_id: str
    body_site: str
    exam: Exam
    series: tuple[PhantomSeries, ...]
    write: Callable[[Exam, Path], Iterator[Path]]


def _brain(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"dicomdirtests/98892003/{folder}/{name}" for name in names)


PACKAGED_STUDIES: tuple[PackagedStudy, ...] = (
    PackagedStudy(
        "smart-1288992",
        "Echocardiogram, parasternal long axis, cine",
        "HEART",
        ("examples_ybr_color.dcm",),
    ),
    PackagedStudy("smart-1288992", "MR abdomen, liver", "ABDOMEN", ("examples_overlay.dcm",)),
    PackagedStudy("smart-1288992", "MR knee without contrast", "KNEE", ("MR_small.dcm",)),
    PackagedStudy(
        "smart-1288992", "Whole body bone scan", "WHOLEBODY", ("JPEG-lossy.dcm", "JPEG2000.dcm")
    ),
    PackagedStudy(
        "smart-1288992",
        "XR cervical spine, 4 views",
        "CSPINE",
        tuple(f"dicomdirtests/77654033/{name}" for name in ("CR1/6154", "CR2/6247", "CR3/6278")),
    ),
    PackagedStudy(
        "smart-1137192",
        "US soft tissue, lymph node",
        "EXTREMITY",
        ("examples_rgb_color.dcm", "examples_jpeg2k.dcm"),
    ),
    PackagedStudy("smart-1137192", "US obstetric", "UTERUS", ("examples_palette.dcm",)),
    PackagedStudy(
        "smart-1137192",
        "MR angiography, brain",
        "BRAIN",
        _brain("MR1", "5641")
        + _brain("MR2", "6273", "6605", "6935")
        + _brain("MR700", "4467", "4528", "4558", "4588", "4618", "4648", "4678"),
    ),
    PackagedStudy(
        "smart-1137192",
        "MR brain",
        "BRAIN",
        _brain("MR1", "4919") + _brain("MR2", "4950", "4981", "5011"),
    ),
    PackagedStudy(
        "smart-1137192",
        "MR angiography, carotids",
        "NECK",
        _brain("MR1", "15820") + _brain("MR2", "15970"),
    ),
    PackagedStudy(
        "smart-1551992", "CT thoracic spine without contrast", "TSPINE", ("CT_small.dcm",)
    ),
    PackagedStudy(
        "smart-1551992",
        "CT abdomen",
        "ABDOMEN",
        tuple(
            f"dicomdirtests/98892001/{name}"
            for name in (
                "CT2N/6293",
                "CT2N/6924",
                "CT5N/2062",
                "CT5N/2392",
                "CT5N/2693",
                "CT5N/3023",
                "CT5N/3353",
            )
        ),
    ),
    PackagedStudy(
        "smart-1551992",
        "CT head without contrast",
        "HEAD",
        tuple(f"dicomdirtests/77654033/CT2/{n}" for n in ("17106", "17136", "17166", "17196")),
    ),
    PackagedStudy(
        "smart-1551992",
        "CT head without contrast, temporal bones",
        "HEAD",
        ("J2K_pixelrep_mismatch.dcm",),
    ),
    PackagedStudy(
        "smart-1551992",
        "CT head without contrast, plain",
        "HEAD",
        ("693_J2KI.dcm",),
        started="2016-09-07T08:15:00",
    ),
    PackagedStudy("smart-1551992", "Radiotherapy dose", "ABDOMEN", ("rtdose_rle.dcm",)),
    PackagedStudy("smart-1551992", "Electrocardiogram, 12 leads", "HEART", ("waveform_ecg.dcm",)),
    PackagedStudy(
        "smart-1551992", "Report of a reading", "", ("reportsi.dcm",), started="2005-05-30T17:45:00"
    ),
    PackagedStudy(
        "smart-1551992",
        "Colour test card, photographs",
        "",
        ("SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_gdcm_KY.dcm"),
        started="2017-01-01T12:00:00",
    ),
)

PHANTOM_STUDIES: tuple[PhantomStudy, ...] = (
    PhantomStudy(
        "smart-1288992",
        "CHEST",
        Exam(
            key="chest-ct",
            patient_id="1288992",
            patient_name="Synthetic-Adams^Daniel",
            birth_date="19351223",
            sex="M",
            date="20181114",
            time="101530",
            accession="SB0018001",
            description="CT chest without contrast",
        ),
        (PhantomSeries(1, "CT", "Axial 5 mm, standard", SLICES, phantom_files.CT_STORAGE),),
        phantom_files.chest_ct,
    ),
    PhantomStudy(
        "smart-1288992",
        "CHEST",
        Exam(
            key="chest-film",
            patient_id="1288992",
            patient_name="Synthetic-Adams^Daniel",
            birth_date="19351223",
            sex="M",
            date="20181114",
            time="093000",
            accession="SB0018002",
            description="XR chest, frontal",
        ),
        (PhantomSeries(1, "DX", "Chest PA", 1, phantom_files.DX_STORAGE),),
        phantom_files.chest_radiograph,
    ),
    PhantomStudy(
        "smart-1137192",
        "BREAST",
        Exam(
            key="mammogram",
            patient_id="1137192",
            patient_name="Synthetic-Clark^Susan",
            birth_date="19410228",
            sex="F",
            date="20180306",
            time="140500",
            accession="SB0018003",
            description="Screening mammogram, both sides",
        ),
        tuple(
            PhantomSeries(number, "MG", f"{side} MLO", 1, phantom_files.MG_STORAGE)
            for number, side in enumerate("LR", start=1)
        ),
        phantom_files.screening_mammogram,
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
        "smart-1551992",
        "XR chest, films not scanned",
        "CHEST",
        "CR",
        "1998-03-17T09:00:00",
        phantom_files.phantom_uid("films-of-1998"),
    ),
)
