"""A Medicare history for each person: everyday visits, stays, drugs, and the imaging bills."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from . import claims, claims_drugs, claims_hospital
from .billing import BILLS, DECOYS, Bill, Distractor, Payment, Truth
from .claims import Line, Visit
from .library import HeldStudy
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
class Record:
    """The claims of one person and what is true about them."""

    claims: list[Resource] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    distractors: list[Distractor] = field(default_factory=list)
    unpaid: list[str] = field(default_factory=list)


class Historian:
    """Writes the history of one person; the same seed gives the same history."""

    def __init__(self, who: Person, studies: Sequence[HeldStudy], seed: int) -> None:
        self._who = who
        self._studies = studies
        self._random = random.Random(f"{seed}/{who.id}")  # noqa: S311 - data, not secrets
        self._number = int(who.mrn) * 10_000
        self._npi = f"99{self._random.randrange(10**8):08d}"
        self.record = Record()

    def write(self) -> Record:
        """Forty claims and more; none for a person without studies."""
        if not self._studies:
            return self.record
        for study in self._studies:
            self._bill_study(study)
        for decoy in DECOYS:
            if decoy.patient_id == self._who.id:
                line = Line(decoy.code, decoy.charge, decoy.allowed, decoy.modifiers)
                claim = self._claim(claims.carrier, decoy.date, [line])
                self.record.distractors.append(Distractor(self._who.id, claim, 1, decoy.why))
        self._everyday()
        return self.record

    def _bill_study(self, study: HeldStudy) -> None:
        bill = BILLS.get(study.description)
        if bill is None:
            self.record.unpaid.append(study.uid)
            return
        day = _plus(study.started[:10], bill.late)
        for component, claim, line in self._bills(bill, day):
            self.record.payments.append(Payment(self._who.id, study.uid, claim, line, component))

    def _bills(self, bill: Bill, day: str) -> Iterator[tuple[str, str, int]]:
        about = (bill.diagnosis,)
        office = Line(bill.code, bill.charge, bill.allowed, service_type="4")
        reading = Line(bill.code, bill.charge * 0.3, bill.allowed * 0.3, ("26",), service_type="4")
        technical = Line(
            bill.code, bill.charge * 0.7, bill.allowed * 0.7, ("TC",), service_type="4"
        )
        hospital = Line(bill.code, bill.charge * 0.7, bill.allowed * 0.7, revenue=bill.revenue)
        if bill.way == "global":
            visit = Line("99213", 145, 74.1)
            yield "global", self._claim(claims.carrier, day, [visit, office], about), 2
        elif bill.way == "components":
            yield "professional", self._claim(claims.carrier, day, [reading], about), 1
            yield "technical", self._claim(claims.carrier, day, [technical], about), 1
        elif bill.way == "split":
            clinic = Line("G0463", 190, 98.0, revenue="0510")
            yield "professional", self._claim(claims.carrier, day, [reading], about), 1
            yield (
                "technical",
                self._claim(claims_hospital.outpatient, day, [clinic, hospital], about),
                2,
            )
        else:
            yield "professional", self._claim(claims.carrier, day, [reading], about), 1
            yield "stay", self._stay(_plus(day, -1), 4, bill, "065", 7410.0), 2

    def _visit(self, start: str, end: str, about: tuple[tuple[str, str], ...]) -> Visit:
        self._number += self._random.randrange(1, 90)
        processed = _plus(end, self._random.randrange(9, 24))
        # Nothing can have been updated before the archive existed, nor twice the same ms.
        seen = max(_plus(processed, 7), _plus("2014-06-01", self._number % 900))
        clock = self._random.randrange(86_400_000)
        return Visit(
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
        lines: Sequence[Line],
        about: tuple[tuple[str, str], ...] = (),
    ) -> str:
        visit = self._visit(day, day, about)
        made = (
            claims.carrier(visit, lines)
            if make is claims.carrier
            else claims_hospital.outpatient(visit, lines)
        )
        self.record.claims.append(made)
        return str(made["id"])

    def _stay(self, start: str, days: int, bill: Bill | None, drg: str, paid: float) -> str:
        about = (bill.diagnosis,) if bill else ()
        visit = self._visit(start, _plus(start, days), about)
        lines = [Line("", 2100.0 * days, 0, revenue="0120", units=days)]
        if bill:
            lines.append(Line("", bill.charge, 0, revenue=bill.revenue))
        lines.append(Line("", 812.35, 0, revenue="0250", units=11))
        lines.append(Line("", 1440.0, 0, revenue="0300", units=9))
        made = claims_hospital.inpatient(visit, lines, drg, paid)
        self.record.claims.append(made)
        return str(made["id"])

    def _everyday(self) -> None:
        for year in range(2009, 2020):
            for _ in range(2):
                lines = [Line(*self._random.choice(OFFICE))]
                lines += [Line(*extra) for extra in self._random.sample(EXTRAS, 2)]
                self._claim(claims.carrier, self._day(year), lines)
            if year % 3 == 0:
                lines = [
                    Line("99283", 610, 221.4, revenue="0450"),
                    Line("80053", 85, 14.5, revenue="0301"),
                ]
                self._claim(claims_hospital.outpatient, self._day(year), lines)
        for drg, _, paid in STAYS:
            self._stay(self._day(self._random.randrange(2010, 2018)), 3, None, drg, paid)
        for fill in range(16):
            ndc, drug, price = DRUGS[fill % len(DRUGS)]
            day = self._day(2012 + fill // 2)
            cost = price * self._random.uniform(0.9, 1.3)
            visit = self._visit(day, day, ())
            made = claims_drugs.pde(visit, ndc, drug, cost, days=30, fill=fill // len(DRUGS))
            self.record.claims.append(made)

    def _day(self, year: int) -> str:
        day = dt.date(year, 1, 1) + dt.timedelta(days=self._random.randrange(365))
        return day.isoformat()


def _plus(day: str, days: int) -> str:
    return (dt.date.fromisoformat(day) + dt.timedelta(days=days)).isoformat()


def _instant(day: str, milliseconds: int) -> str:
    moment = dt.datetime.fromisoformat(day) + dt.timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds") + "Z"


def truth(records: Sequence[Record]) -> Truth:
    """All records' truths as one."""
    return Truth(
        tuple(p for record in records for p in record.payments),
        tuple(u for record in records for u in record.unpaid),
        tuple(d for record in records for d in record.distractors),
    )
