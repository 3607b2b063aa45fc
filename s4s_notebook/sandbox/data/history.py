"""A Medicare claim history for each participant."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from . import claims
from .archive import ArchivedStudy
from .claim_elements import Encounter, ServiceLine
from .people import Person, Resource

OFFICE: tuple[tuple[str, float, float], ...] = (
    ("99213", 145, 74.1),
    ("99214", 215, 109.3),
    ("99203", 230, 109.0),
    ("G0439", 210, 117.7),
)
EXTRAS: tuple[tuple[str, float, float], ...] = (
    ("36415", 18, 3.0),
    ("80053", 62, 14.5),
    ("83036", 48, 13.3),
    ("93000", 74, 17.2),
    ("85025", 41, 10.6),
)
PROBLEMS: tuple[tuple[str, str], ...] = (
    ("I10", "ESSENTIAL (PRIMARY) HYPERTENSION"),
    ("E11.9", "TYPE 2 DIABETES MELLITUS WITHOUT COMPLICATIONS"),
    ("E78.5", "HYPERLIPIDEMIA, UNSPECIFIED"),
    ("J44.9", "CHRONIC OBSTRUCTIVE PULMONARY DISEASE, UNSPECIFIED"),
    ("M17.9", "OSTEOARTHRITIS OF KNEE, UNSPECIFIED"),
)
DRUGS: tuple[tuple[str, str, float], ...] = (
    ("00093505698", "Atorvastatin Calcium - ATORVASTATIN CALCIUM", 18.4),
    ("00378001801", "Metoprolol Tartrate - METOPROLOL TARTRATE", 9.1),
    ("00093104801", "Metformin Hydrochloride - METFORMIN HYDROCHLORIDE", 11.9),
    ("00173068220", "Ventolin HFA - ALBUTEROL SULFATE", 61.3),
)
STAYS: tuple[tuple[str, str, float], ...] = (
    ("470", "MAJOR JOINT REPLACEMENT", 13250.4),
    ("194", "SIMPLE PNEUMONIA & PLEURISY", 6120.7),
)


@dataclass
class ClaimHistory:
    """The claims of one person and what is true about them."""

    claims: list[Resource] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    non_matches: list[NonMatch] = field(default_factory=list)
    unpaid: list[str] = field(default_factory=list)


class ClaimGenerator:
    """Writes the history of one person; the same seed gives the same history."""

    def __init__(self, who: Person, studies: Sequence[ArchivedStudy], seed: int) -> None:
        self._who = who
        self._studies = studies
        self._random = random.Random(f"{seed}/{who.id}")  # noqa: S311 - data, not secrets
        self._number = int(who.mrn) * 10_000
        self._npi = f"99{self._random.randrange(10**8):08d}"
        self.record = ClaimHistory()

    def write(self) -> ClaimHistory:
        """Forty claims and more; none for a person without studies."""
        if not self._studies:
            return self.record
        for study in self._studies:
            self._bill_study(study)
        for decoy in UNRELATED_SERVICES:
            if decoy.patient_id == self._who.id:
                line = ServiceLine(decoy.code, decoy.charge, decoy.allowed, decoy.modifiers)
                claim = self._claim(claims.carrier_claim, decoy.date, [line])
                self.record.non_matches.append(NonMatch(self._who.id, claim, 1, decoy.why))
        self._everyday()
        return self.record

    def _bill_study(self, study: ArchivedStudy) -> None:
        bill = IMAGING_CHARGES.get(study.description)
        if bill is None:
            self.record.unpaid.append(study.uid)
            return
        day = _plus(study.started[:10], bill.late)
        for component, claim, line in self._bills(bill, day):
            self.record.payments.append(Payment(self._who.id, study.uid, claim, line, component))

    def _bills(self, bill: ImagingCharge, day: str) -> Iterator[tuple[str, str, int]]:
        about = (bill.diagnosis,)
        office = ServiceLine(bill.code, bill.charge, bill.allowed, service_type="4")
        reading = ServiceLine(
            bill.code, bill.charge * 0.3, bill.allowed * 0.3, ("26",), service_type="4"
        )
        technical = ServiceLine(
            bill.code, bill.charge * 0.7, bill.allowed * 0.7, ("TC",), service_type="4"
        )
        hospital = ServiceLine(
            bill.code, bill.charge * 0.7, bill.allowed * 0.7, revenue=bill.revenue
        )
        if bill.way == "global":
            visit = ServiceLine("99213", 145, 74.1)
            yield "global", self._claim(claims.carrier_claim, day, [visit, office], about), 2
        elif bill.way == "components":
            yield "professional", self._claim(claims.carrier_claim, day, [reading], about), 1
            yield "technical", self._claim(claims.carrier_claim, day, [technical], about), 1
        elif bill.way == "split":
            clinic = ServiceLine("G0463", 190, 98.0, revenue="0510")
            yield "professional", self._claim(claims.carrier_claim, day, [reading], about), 1
            yield (
                "technical",
                self._claim(claims.outpatient_claim, day, [clinic, hospital], about),
                2,
            )
        else:
            yield "professional", self._claim(claims.carrier_claim, day, [reading], about), 1
            yield "stay", self._stay(_plus(day, -1), 4, bill, "065", 7410.0), 2

    def _visit(self, start: str, end: str, about: tuple[tuple[str, str], ...]) -> Encounter:
        self._number += self._random.randrange(1, 90)
        processed = _plus(end, self._random.randrange(9, 24))
        # Nothing can have been updated before the archive existed, nor twice the same ms.
        seen = max(_plus(processed, 7), _plus("2014-06-01", self._number % 900))
        clock = self._random.randrange(86_400_000)
        return Encounter(
            patient_id=self._who.id,
            claim_id=str(self._number),
            start=start,
            end=end,
            processed=processed,
            updated=_instant(seen, clock),
            provider=self._npi,
            diagnoses=about or tuple(self._random.sample(PROBLEMS, 2)),
        )

    def _claim(
        self,
        make: object,
        day: str,
        lines: Sequence[ServiceLine],
        about: tuple[tuple[str, str], ...] = (),
    ) -> str:
        visit = self._visit(day, day, about)
        made = (
            claims.carrier_claim(visit, lines)
            if make is claims.carrier_claim
            else claims.outpatient_claim(visit, lines)
        )
        self.record.claims.append(made)
        return str(made["id"])

    def _stay(
        self, start: str, days: int, bill: ImagingCharge | None, drg: str, paid: float
    ) -> str:
        about = (bill.diagnosis,) if bill else ()
        visit = self._visit(start, _plus(start, days), about)
        lines = [ServiceLine("", 2100.0 * days, 0, revenue="0120", units=days)]
        if bill:
            lines.append(ServiceLine("", bill.charge, 0, revenue=bill.revenue))
        lines.append(ServiceLine("", 812.35, 0, revenue="0250", units=11))
        lines.append(ServiceLine("", 1440.0, 0, revenue="0300", units=9))
        made = claims.inpatient_claim(visit, lines, drg, paid)
        self.record.claims.append(made)
        return str(made["id"])

    def _everyday(self) -> None:
        for year in range(2009, 2020):
            for _ in range(2):
                lines = [ServiceLine(*self._random.choice(OFFICE))]
                lines += [ServiceLine(*extra) for extra in self._random.sample(EXTRAS, 2)]
                self._claim(claims.carrier_claim, self._day(year), lines)
            if year % 3 == 0:
                lines = [
                    ServiceLine("99283", 610, 221.4, revenue="0450"),
                    ServiceLine("80053", 85, 14.5, revenue="0301"),
                ]
                self._claim(claims.outpatient_claim, self._day(year), lines)
        for drg, _, paid in STAYS:
            self._stay(self._day(self._random.randrange(2010, 2018)), 3, None, drg, paid)
        for fill in range(16):
            ndc, drug, price = DRUGS[fill % len(DRUGS)]
            day = self._day(2012 + fill // 2)
            cost = price * self._random.uniform(0.9, 1.3)
            visit = self._visit(day, day, ())
            made = claims.prescription_drug_event(
                visit, ndc, drug, cost, days=30, fill=fill // len(DRUGS)
            )
            self.record.claims.append(made)

    def _day(self, year: int) -> str:
        day = dt.date(year, 1, 1) + dt.timedelta(days=self._random.randrange(365))
        return day.isoformat()


def _plus(day: str, days: int) -> str:
    return (dt.date.fromisoformat(day) + dt.timedelta(days=days)).isoformat()


def _instant(day: str, milliseconds: int) -> str:
    moment = dt.datetime.fromisoformat(day) + dt.timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds") + "Z"


def ground_truth(records: Sequence[ClaimHistory]) -> GroundTruth:
    """All records' truths as one."""
    return GroundTruth(
        tuple(p for record in records for p in record.payments),
        tuple(u for record in records for u in record.unpaid),
        tuple(d for record in records for d in record.non_matches),
    )


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
class NonMatch:
    """A radiology line that paid for no study held here, and why one might think so."""

    patient_id: str
    claim: str
    line: int
    why: str


@dataclass(frozen=True)
class GroundTruth:
    """Which claim line paid for which study; studies that no claim paid for; distractors."""

    payments: tuple[Payment, ...]
    unpaid: tuple[str, ...]
    non_matches: tuple[NonMatch, ...]


@dataclass(frozen=True)
class ImagingCharge:
    """``way``: global, split (26 + hospital), components (26 + TC), stay; ``late``: days after."""

    code: str
    revenue: str
    charge: float
    allowed: float
    way: str = "global"
    late: int = 0
    diagnosis: tuple[str, str] = ("R91.8", "OTHER NONSPECIFIC ABNORMAL FINDING OF LUNG FIELD")


# By the study's description. What is missing here nobody billed to Medicare.
IMAGING_CHARGES: dict[str, ImagingCharge] = {
    "CT chest without contrast": ImagingCharge("71250", "0352", 640, 212.4, "split"),
    "XR chest, frontal": ImagingCharge("71045", "0324", 88, 26.15, "split"),
    "MR abdomen, liver": ImagingCharge(
        "74183",
        "0610",
        1890,
        521.7,
        "components",
        diagnosis=("K76.9", "LIVER DISEASE, UNSPECIFIED"),
    ),
    "MR knee without contrast": ImagingCharge(
        "73721", "0610", 1220, 318.9, diagnosis=("M25.561", "PAIN IN RIGHT KNEE")
    ),
    "Whole body bone scan": ImagingCharge(
        "78306", "0341", 910, 281.05, "split", diagnosis=("M89.9", "DISORDER OF BONE, UNSPECIFIED")
    ),
    "XR cervical spine, 4 views": ImagingCharge(
        "72050", "0320", 190, 55.6, late=2, diagnosis=("M54.2", "CERVICALGIA")
    ),
    "Screening mammogram, both sides": ImagingCharge(
        "77067",
        "0403",
        310,
        139.0,
        diagnosis=("Z12.31", "ENCNTR SCREEN MAMMOGRAM FOR MALIGNANT NEOPLASM OF BREAST"),
    ),
    "US soft tissue, lymph node": ImagingCharge(
        "76882", "0402", 260, 58.3, late=1, diagnosis=("R59.0", "LOCALIZED ENLARGED LYMPH NODES")
    ),
    "US obstetric": ImagingCharge(
        "76805", "0402", 420, 142.2, "components", diagnosis=("Z36.89", "ANTENATAL SCREENING")
    ),
    "MR angiography, brain": ImagingCharge(
        "70544", "0615", 1480, 341.3, "split", diagnosis=("I67.1", "CEREBRAL ANEURYSM")
    ),
    "MR brain": ImagingCharge(
        "70551", "0611", 1510, 305.8, "split", diagnosis=("I67.1", "CEREBRAL ANEURYSM")
    ),
    "MR angiography, carotids": ImagingCharge(
        "70547", "0615", 1430, 338.2, "split", diagnosis=("I65.29", "CAROTID ARTERY STENOSIS")
    ),
    "CT thoracic spine without contrast": ImagingCharge(
        "72128", "0352", 720, 228.1, late=3, diagnosis=("M54.6", "PAIN IN THORACIC SPINE")
    ),
    "CT abdomen": ImagingCharge(
        "74150", "0352", 760, 241.9, "components", diagnosis=("R10.9", "ABDOMINAL PAIN")
    ),
    "CT head without contrast": ImagingCharge(
        "70450", "0351", 590, 166.0, diagnosis=("R51", "HEADACHE")
    ),
    "CT head without contrast, temporal bones": ImagingCharge(
        "70450", "0351", 610, 171.2, "stay", diagnosis=("I63.9", "CEREBRAL INFARCTION")
    ),
    "CT head without contrast, plain": ImagingCharge(
        "70450", "0351", 600, 168.5, "split", diagnosis=("S09.90XA", "UNSPECIFIED INJURY OF HEAD")
    ),
    "Radiotherapy dose": ImagingCharge(
        "77295", "0333", 1650, 498.0, diagnosis=("C61", "MALIGNANT NEOPLASM OF PROSTATE")
    ),
}


@dataclass(frozen=True)
class UnrelatedService:
    """A radiology line without a study here: same day, same modality, or never done."""

    patient_id: str
    date: str
    code: str
    charge: float
    allowed: float
    why: str
    modifiers: tuple[str, ...] = ()


UNRELATED_SERVICES: tuple[UnrelatedService, ...] = (
    UnrelatedService(
        "smart-1288992", "2018-11-14", "76700", 330, 118.4, "same day as the CT, other modality"
    ),
    UnrelatedService(
        "smart-1288992", "2017-05-22", "71250", 640, 209.9, "same code, a CT of 18 months before"
    ),
    UnrelatedService(
        "smart-1288992", "2004-08-26", "73030", 95, 29.8, "same day as the MR, a film elsewhere"
    ),
    UnrelatedService("smart-1137192", "2017-03-02", "77067", 310, 137.5, "last year's mammogram"),
    UnrelatedService(
        "smart-1137192", "2018-03-06", "76642", 240, 85.1, "same day as the mammogram, US"
    ),
    UnrelatedService(
        "smart-1137192", "2003-05-05", "71046", 92, 31.0, "same day as three MRs, a chest film"
    ),
    UnrelatedService(
        "smart-1551992", "2016-09-07", "72125", 650, 188.0, "same day and scanner, the neck"
    ),
    UnrelatedService(
        "smart-1551992",
        "2016-08-31",
        "70450",
        600,
        0.0,
        "the appointment of a week before, not carried out (modifier 53), paid nothing",
        ("53",),
    ),
    UnrelatedService(
        "smart-1551992", "2004-02-20", "71046", 92, 30.4, "a month after the CT, a chest film"
    ),
)
