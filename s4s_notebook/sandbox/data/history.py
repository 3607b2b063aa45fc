"""Medicare claim histories: office visits, stays, drugs, and the charges for imaging studies.

The generator records which claim line paid for which study, so that a method that links claims to
images can be scored against this ground truth.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from .archive import ArchivedStudy
from .claim_elements import ClaimForms, ClaimHeader, ServiceLine
from .claims import MEDICARE
from .people import Person, Resource

# HCPCS code, charge and allowed charge in dollars.
OFFICE_VISITS: tuple[tuple[str, float, float], ...] = (
    ("99213", 145, 74.1),
    ("99214", 215, 109.3),
    ("99203", 230, 109.0),
    ("G0439", 210, 117.7),
)
OFFICE_SERVICES: tuple[tuple[str, float, float], ...] = (
    ("36415", 18, 3.0),
    ("80053", 62, 14.5),
    ("83036", 48, 13.3),
    ("93000", 74, 17.2),
    ("85025", 41, 10.6),
)
# ICD-10 codes.
CHRONIC_DIAGNOSES = ("I10", "E11.9", "E78.5", "J44.9", "M17.9")
# National Drug Code, display and mean cost in dollars.
DRUGS: tuple[tuple[str, str, float], ...] = (
    ("00093505698", "Atorvastatin Calcium - ATORVASTATIN CALCIUM", 18.4),
    ("00378001801", "Metoprolol Tartrate - METOPROLOL TARTRATE", 9.1),
    ("00093104801", "Metformin Hydrochloride - METFORMIN HYDROCHLORIDE", 11.9),
    ("00173068220", "Ventolin HFA - ALBUTEROL SULFATE", 61.3),
)
# Diagnosis-related group, its name and payment in dollars.
INPATIENT_STAYS: tuple[tuple[str, str, float], ...] = (
    ("470", "MAJOR JOINT REPLACEMENT", 13250.4),
    ("194", "SIMPLE PNEUMONIA & PLEURISY", 6120.7),
)


@dataclass(frozen=True)
class Payment:
    """A claim line that paid for a study.

    Attributes:
        patient_id: FHIR id of the patient.
        study_uid: Study Instance UID.
        claim: id of the ExplanationOfBenefit.
        line: ``item.sequence`` of the line.
        component: ``global``, ``professional`` (modifier 26), ``technical`` (modifier TC or the
            hospital's line) or ``stay`` (a charge within an inpatient DRG, not paid separately).
    """

    patient_id: str
    study_uid: str
    claim: str
    line: int
    component: str


@dataclass(frozen=True)
class NonMatch:
    """A radiology claim line without a study in the archive, and why it resembles one."""

    patient_id: str
    claim: str
    line: int
    reason: str


@dataclass(frozen=True)
class ImageTruth:
    """A true value in the images of a study, as they were drawn.

    Attributes:
        patient_id: FHIR id of the patient.
        study_uid: Study Instance UID.
        name: what it is a value of, such as ``nodule volume``.
        value: the value.
        unit: its unit by UCUM.
    """

    patient_id: str
    study_uid: str
    name: str
    value: float
    unit: str


@dataclass(frozen=True)
class GroundTruth:
    """The true links between claims and studies, and true values in images.

    Attributes:
        payments: claim lines with the study that they paid for.
        unpaid: Study Instance UIDs of studies without a claim.
        non_matches: radiology claim lines without a study.
        images: volumes, lengths and uptakes in the images that the sandbox draws.
    """

    payments: tuple[Payment, ...]
    unpaid: tuple[str, ...]
    non_matches: tuple[NonMatch, ...]
    images: tuple[ImageTruth, ...] = ()

    def image(self, name: str, study_uid: str) -> float:
        """Return a true value in the images of a study.

        Raises:
            KeyError: no such value is recorded.
        """
        for truth in self.images:
            if (truth.name, truth.study_uid) == (name, study_uid):
                return truth.value
        raise KeyError((name, study_uid))


@dataclass(frozen=True)
class ImagingCharge:
    """How an imaging study is billed.

    Attributes:
        code: CPT code of the procedure.
        revenue: revenue centre code on a hospital claim.
        charge: submitted charge in dollars.
        allowed: allowed charge in dollars.
        billing: ``global`` (one carrier line), ``components`` (26 and TC on two carrier claims),
            ``split`` (26 on a carrier claim, the rest on an outpatient claim) or ``stay``
            (26 on a carrier claim, the rest within an inpatient stay).
        delay_days: days from the study to the service date of the claim.
        diagnosis: ICD-10 code.
    """

    code: str
    revenue: str
    charge: float
    allowed: float
    billing: str = "global"
    delay_days: int = 0
    diagnosis: str = "R91.8"

    def service_line(self, share: float = 1, **more: Any) -> ServiceLine:
        """Return a service line with a share of the charges and further attributes."""
        return ServiceLine(self.code, self.charge * share, self.allowed * share, **more)


# By study description. Studies that are missing here were not billed to Medicare.
IMAGING_CHARGES: dict[str, ImagingCharge] = {
    "CT chest without contrast": ImagingCharge("71250", "0352", 640, 212.4, "split"),
    "XR chest, frontal": ImagingCharge("71045", "0324", 88, 26.15, "split"),
    "MR abdomen, liver": ImagingCharge(
        "74183", "0610", 1890, 521.7, "components", diagnosis="K76.9"
    ),
    "MR knee without contrast": ImagingCharge("73721", "0610", 1220, 318.9, diagnosis="M25.561"),
    "Whole body bone scan": ImagingCharge("78306", "0341", 910, 281.05, "split", diagnosis="M89.9"),
    "XR cervical spine, 4 views": ImagingCharge(
        "72050", "0320", 190, 55.6, delay_days=2, diagnosis="M54.2"
    ),
    "Screening mammogram, both sides": ImagingCharge(
        "77067", "0403", 310, 139.0, diagnosis="Z12.31"
    ),
    "US soft tissue, lymph node": ImagingCharge(
        "76882", "0402", 260, 58.3, delay_days=1, diagnosis="R59.0"
    ),
    "US obstetric": ImagingCharge("76805", "0402", 420, 142.2, "components", diagnosis="Z36.89"),
    "MR angiography, brain": ImagingCharge(
        "70544", "0615", 1480, 341.3, "split", diagnosis="I67.1"
    ),
    "MR brain": ImagingCharge("70551", "0611", 1510, 305.8, "split", diagnosis="I67.1"),
    "MR angiography, carotids": ImagingCharge(
        "70547", "0615", 1430, 338.2, "split", diagnosis="I65.29"
    ),
    "CT thoracic spine without contrast": ImagingCharge(
        "72128", "0352", 720, 228.1, delay_days=3, diagnosis="M54.6"
    ),
    "CT abdomen": ImagingCharge("74150", "0352", 760, 241.9, "components", diagnosis="R10.9"),
    "CT head without contrast": ImagingCharge("70450", "0351", 590, 166.0, diagnosis="R51"),
    "CT head without contrast, temporal bones": ImagingCharge(
        "70450", "0351", 610, 171.2, "stay", diagnosis="I63.9"
    ),
    "CT head without contrast, plain": ImagingCharge(
        "70450", "0351", 600, 168.5, "split", diagnosis="S09.90XA"
    ),
    "Radiotherapy dose": ImagingCharge("77295", "0333", 1650, 498.0, diagnosis="C61"),
}


@dataclass(frozen=True)
class UnrelatedService:
    """A billed radiology service without a study in the archive; ``reason`` says how it differs."""

    date: str
    code: str
    charge: float
    allowed: float
    reason: str
    modifiers: tuple[str, ...] = ()


# By patient id.
UNRELATED_SERVICES: dict[str, tuple[UnrelatedService, ...]] = {
    "smart-1288992": (
        UnrelatedService("2018-11-14", "76700", 330, 118.4, "same day as the CT, other modality"),
        UnrelatedService("2017-05-22", "71250", 640, 209.9, "same code, a CT of 18 months before"),
        UnrelatedService("2004-08-26", "73030", 95, 29.8, "same day as the MR, a film elsewhere"),
    ),
    "smart-1137192": (
        UnrelatedService("2017-03-02", "77067", 310, 137.5, "last year's mammogram"),
        UnrelatedService("2018-03-06", "76642", 240, 85.1, "same day as the mammogram, US"),
        UnrelatedService("2003-05-05", "71046", 92, 31.0, "same day as three MRs, a chest film"),
    ),
    "smart-1551992": (
        UnrelatedService("2016-09-07", "72125", 650, 188.0, "same day and scanner, the neck"),
        UnrelatedService(
            "2016-08-31",
            "70450",
            600,
            0.0,
            "the appointment of a week before, not carried out (modifier 53), paid nothing",
            ("53",),
        ),
        UnrelatedService("2004-02-20", "71046", 92, 30.4, "a month after the CT, a chest film"),
    ),
}


@dataclass
class ClaimHistory:
    """The claims of a person, with the ground truth about them."""

    claims: list[Resource] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    non_matches: list[NonMatch] = field(default_factory=list)
    unpaid: list[str] = field(default_factory=list)


class ClaimGenerator:
    """Generates the claim history of a person; the same seed gives the same history.

    Args:
        person: the beneficiary.
        studies: studies of the person in the archive, in the order in which they are billed.
        seed: seed of the random numbers.
        forms: how the payer writes its claims.
    """

    def __init__(
        self,
        person: Person,
        studies: Sequence[ArchivedStudy],
        seed: int,
        forms: ClaimForms = MEDICARE,
    ) -> None:
        self._forms = forms
        self._person = person
        self._studies = studies
        self._random = random.Random(f"{seed}/{person.id}")  # noqa: S311 - data, not secrets
        self._number = int(person.mrn) * 10_000
        self._npi = f"99{self._random.randrange(10**8):08d}"
        self._history = ClaimHistory()

    def generate(self) -> ClaimHistory:
        """Return 40 or more claims; none for a person without studies."""
        if not self._studies:
            return self._history
        for study in self._studies:
            self._add_imaging_claims(study)
        for service in UNRELATED_SERVICES.get(self._person.id, ()):
            line = ServiceLine(service.code, service.charge, service.allowed, service.modifiers)
            claim = self._claim(self._forms.professional, service.date, [line])
            self._history.non_matches.append(NonMatch(self._person.id, claim, 1, service.reason))
        self._add_routine_claims()
        for further in self._forms.further(self._header):
            self._add(further)
        return self._history

    def _add_imaging_claims(self, study: ArchivedStudy) -> None:
        charge = IMAGING_CHARGES.get(study.description)
        if charge is None:
            self._history.unpaid.append(study.uid)
            return
        day = _add_days(study.started[:10], charge.delay_days)
        for component, claim, line in self._charge_claims(charge, day):
            self._history.payments.append(
                Payment(self._person.id, study.uid, claim, line, component)
            )

    def _charge_claims(self, charge: ImagingCharge, day: str) -> Iterator[tuple[str, str, int]]:
        """Add the claims of a charge; yield component, claim id and line of each payment."""

        def carrier_claim(*lines: ServiceLine) -> str:
            return self._claim(self._forms.professional, day, lines, (charge.diagnosis,))

        if charge.billing == "global":
            consultation = ServiceLine("99213", 145, 74.1)
            yield "global", carrier_claim(consultation, charge.service_line(service_type="4")), 2
            return
        professional = charge.service_line(0.3, modifiers=("26",), service_type="4")
        yield "professional", carrier_claim(professional), 1
        if charge.billing == "components":
            technical = charge.service_line(0.7, modifiers=("TC",), service_type="4")
            yield "technical", carrier_claim(technical), 1
        elif charge.billing == "split":
            clinic = ServiceLine("G0463", 190, 98.0, revenue="0510")
            lines = [clinic, charge.service_line(0.7, revenue=charge.revenue)]
            claim = self._claim(self._forms.outpatient, day, lines, (charge.diagnosis,))
            yield "technical", claim, 2
        else:
            yield "stay", self._stay(_add_days(day, -1), 4, charge, "065", 7410.0), 2

    def _header(self, start: str, end: str, diagnoses: tuple[str, ...]) -> ClaimHeader:
        self._number += self._random.randrange(1, 90)
        processed = _add_days(end, self._random.randrange(9, 24))
        # Nothing is updated before the archive existed; spread the days after that.
        updated_on = max(_add_days(processed, 7), _add_days("2014-06-01", self._number % 900))
        milliseconds = self._random.randrange(86_400_000)
        return ClaimHeader(
            patient_id=self._person.id,
            claim_id=str(self._number),
            start=start,
            end=end,
            processed=processed,
            updated=_instant(updated_on, milliseconds),
            provider=self._npi,
            diagnoses=diagnoses or tuple(self._random.sample(CHRONIC_DIAGNOSES, 2)),
        )

    def _claim(
        self,
        build: Callable[[ClaimHeader, Sequence[ServiceLine]], Resource],
        day: str,
        lines: Sequence[ServiceLine],
        diagnoses: tuple[str, ...] = (),
    ) -> str:
        return self._add(build(self._header(day, day, diagnoses), lines))

    def _add(self, claim: Resource) -> str:
        self._history.claims += self._forms.versions(claim)
        return str(claim["id"])

    def _stay(
        self, start: str, days: int, charge: ImagingCharge | None, drg: str, paid: float
    ) -> str:
        diagnoses = (charge.diagnosis,) if charge else ()
        header = self._header(start, _add_days(start, days), diagnoses)
        lines = [ServiceLine("", 2100.0 * days, 0, revenue="0120", units=days)]
        if charge:
            lines.append(ServiceLine("", charge.charge, 0, revenue=charge.revenue))
        lines.append(ServiceLine("", 812.35, 0, revenue="0250", units=11))
        lines.append(ServiceLine("", 1440.0, 0, revenue="0300", units=9))
        return self._add(self._forms.inpatient(header, lines, drg, paid))

    def _add_routine_claims(self) -> None:
        for year in range(2009, 2020):
            for _ in range(2):
                lines = [ServiceLine(*self._random.choice(OFFICE_VISITS))]
                lines += [
                    ServiceLine(*service) for service in self._random.sample(OFFICE_SERVICES, 2)
                ]
                self._claim(self._forms.professional, self._day(year), lines)
            if year % 3 == 0:
                lines = [
                    ServiceLine("99283", 610, 221.4, revenue="0450"),
                    ServiceLine("80053", 85, 14.5, revenue="0301"),
                ]
                self._claim(self._forms.outpatient, self._day(year), lines)
        for drg, _, paid in INPATIENT_STAYS:
            self._stay(self._day(self._random.randrange(2010, 2018)), 3, None, drg, paid)
        for fill in range(16):
            ndc, drug, price = DRUGS[fill % len(DRUGS)]
            day = self._day(2012 + fill // 2)
            cost = price * self._random.uniform(0.9, 1.3)
            header = self._header(day, day, ())
            number = fill // len(DRUGS)
            self._add(self._forms.pharmacy(header, ndc, drug, cost, days=30, fill=number))

    def _day(self, year: int) -> str:
        day = dt.date(year, 1, 1) + dt.timedelta(days=self._random.randrange(365))
        return day.isoformat()


def _add_days(day: str, days: int) -> str:
    return (dt.date.fromisoformat(day) + dt.timedelta(days=days)).isoformat()


def _instant(day: str, milliseconds: int) -> str:
    time = dt.datetime.fromisoformat(day) + dt.timedelta(milliseconds=milliseconds)
    return time.isoformat(timespec="milliseconds") + "Z"


def ground_truth(
    histories: Sequence[ClaimHistory], images: Sequence[ImageTruth] = ()
) -> GroundTruth:
    """Return the ground truth of several claim histories, and of images, as one."""
    return GroundTruth(
        tuple(p for history in histories for p in history.payments),
        tuple(u for history in histories for u in history.unpaid),
        tuple(d for history in histories for d in history.non_matches),
        tuple(images),
    )
