"""How each held study was paid for, and claims that look as if they paid for one.

The sandbox knows the answer, so a method that links claims to images can be scored on it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Payment:
    """One claim line that truly paid for one study.

    ``claim`` is the EOB's ``id``, ``line`` its ``item.sequence``; ``component`` says which
    part: ``global``, ``professional`` (26), ``technical`` (TC or the hospital's line) or
    ``stay`` (a charge within an inpatient DRG, which has no payment of its own).
    """

    patient_id: str
    study_uid: str
    claim: str
    line: int
    component: str


@dataclass(frozen=True)
class Distractor:
    """A radiology line that paid for no study held here, and why one might think so."""

    patient_id: str
    claim: str
    line: int
    why: str


@dataclass(frozen=True)
class Truth:
    """Which claim line paid for which study; studies that no claim paid for; distractors."""

    payments: tuple[Payment, ...]
    unpaid: tuple[str, ...]
    distractors: tuple[Distractor, ...]


@dataclass(frozen=True)
class Bill:
    """``way``: global, split (26 + hospital), components (26 + TC), stay; ``late``: days after."""

    code: str
    revenue: str
    charge: float
    allowed: float
    way: str = "global"
    late: int = 0
    diagnosis: tuple[str, str] = ("R91.8", "OTHER NONSPECIFIC ABNORMAL FINDING OF LUNG FIELD")


# By the study's description. What is missing here nobody billed to Medicare.
BILLS: dict[str, Bill] = {
    "CT chest without contrast": Bill("71250", "0352", 640, 212.4, "split"),
    "XR chest, frontal": Bill("71045", "0324", 88, 26.15, "split"),
    "MR abdomen, liver": Bill(
        "74183",
        "0610",
        1890,
        521.7,
        "components",
        diagnosis=("K76.9", "LIVER DISEASE, UNSPECIFIED"),
    ),
    "MR knee without contrast": Bill(
        "73721", "0610", 1220, 318.9, diagnosis=("M25.561", "PAIN IN RIGHT KNEE")
    ),
    "Whole body bone scan": Bill(
        "78306", "0341", 910, 281.05, "split", diagnosis=("M89.9", "DISORDER OF BONE, UNSPECIFIED")
    ),
    "XR cervical spine, 4 views": Bill(
        "72050", "0320", 190, 55.6, late=2, diagnosis=("M54.2", "CERVICALGIA")
    ),
    "Screening mammogram, both sides": Bill(
        "77067",
        "0403",
        310,
        139.0,
        diagnosis=("Z12.31", "ENCNTR SCREEN MAMMOGRAM FOR MALIGNANT NEOPLASM OF BREAST"),
    ),
    "US soft tissue, lymph node": Bill(
        "76882", "0402", 260, 58.3, late=1, diagnosis=("R59.0", "LOCALIZED ENLARGED LYMPH NODES")
    ),
    "US obstetric": Bill(
        "76805", "0402", 420, 142.2, "components", diagnosis=("Z36.89", "ANTENATAL SCREENING")
    ),
    "MR angiography, brain": Bill(
        "70544", "0615", 1480, 341.3, "split", diagnosis=("I67.1", "CEREBRAL ANEURYSM")
    ),
    "MR brain": Bill(
        "70551", "0611", 1510, 305.8, "split", diagnosis=("I67.1", "CEREBRAL ANEURYSM")
    ),
    "MR angiography, carotids": Bill(
        "70547", "0615", 1430, 338.2, "split", diagnosis=("I65.29", "CAROTID ARTERY STENOSIS")
    ),
    "CT thoracic spine without contrast": Bill(
        "72128", "0352", 720, 228.1, late=3, diagnosis=("M54.6", "PAIN IN THORACIC SPINE")
    ),
    "CT abdomen": Bill(
        "74150", "0352", 760, 241.9, "components", diagnosis=("R10.9", "ABDOMINAL PAIN")
    ),
    "CT head without contrast": Bill("70450", "0351", 590, 166.0, diagnosis=("R51", "HEADACHE")),
    "CT head without contrast, temporal bones": Bill(
        "70450", "0351", 610, 171.2, "stay", diagnosis=("I63.9", "CEREBRAL INFARCTION")
    ),
    "CT head without contrast, plain": Bill(
        "70450", "0351", 600, 168.5, "split", diagnosis=("S09.90XA", "UNSPECIFIED INJURY OF HEAD")
    ),
    "Radiotherapy dose": Bill(
        "77295", "0333", 1650, 498.0, diagnosis=("C61", "MALIGNANT NEOPLASM OF PROSTATE")
    ),
}


@dataclass(frozen=True)
class Decoy:
    """A radiology line without a study here: same day, same modality, or never done."""

    patient_id: str
    date: str
    code: str
    charge: float
    allowed: float
    why: str
    modifiers: tuple[str, ...] = ()


DECOYS: tuple[Decoy, ...] = (
    Decoy("smart-1288992", "2018-11-14", "76700", 330, 118.4, "same day as the CT, other modality"),
    Decoy(
        "smart-1288992", "2017-05-22", "71250", 640, 209.9, "same code, a CT of 18 months before"
    ),
    Decoy("smart-1288992", "2004-08-26", "73030", 95, 29.8, "same day as the MR, a film elsewhere"),
    Decoy("smart-1137192", "2017-03-02", "77067", 310, 137.5, "last year's mammogram"),
    Decoy("smart-1137192", "2018-03-06", "76642", 240, 85.1, "same day as the mammogram, US"),
    Decoy("smart-1137192", "2003-05-05", "71046", 92, 31.0, "same day as three MRs, a chest film"),
    Decoy("smart-1551992", "2016-09-07", "72125", 650, 188.0, "same day and scanner, the neck"),
    Decoy(
        "smart-1551992",
        "2016-08-31",
        "70450",
        600,
        0.0,
        "the appointment of a week before, not carried out (modifier 53), paid nothing",
        ("53",),
    ),
    Decoy("smart-1551992", "2004-02-20", "71046", 92, 30.4, "a month after the CT, a chest film"),
)
