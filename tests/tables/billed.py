"""A made-up cohort with its truth: what radiology departments write, and what is billed for it.

Apart from the sandbox's, so that linking is measured on words and days it was not made with.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from tests.tables.examples import BB, HCPCS, claim, study

# Modality, words as a radiology information system prints them, code (CPT), revenue centre.
EXAMS = (
    ("CT", "CT HEAD W/O CONTRAST", "70450", "0351"),
    ("CT", "CT Sinuses/Maxillofacial WO", "70486", "0351"),
    ("CT", "CT SOFT TISSUE NECK W CONTRAST", "70491", "0352"),
    ("CT", "CT CHEST W/ IV CONTRAST", "71260", "0352"),
    ("CT", "CTA CHEST PE PROTOCOL", "71275", "0352"),
    ("CT", "Low dose lung screening CT", "71271", "0352"),
    ("CT", "CT C-SPINE WO", "72125", "0352"),
    ("CT", "CT LUMBAR SPINE W/O", "72131", "0352"),
    ("CT", "CT ABD & PELVIS W/ CONTRAST", "74177", "0352"),
    ("CT", "CT Abdomen and Pelvis without contrast (renal stone)", "74176", "0352"),
    ("CT", "CT LT KNEE WO CONTRAST", "73700", "0352"),
    ("MR", "MRI BRAIN W/WO CONTRAST", "70553", "0611"),
    ("MR", "MR Angio Head wo", "70544", "0615"),
    ("MR", "MRI CERVICAL SPINE WO", "72141", "0612"),
    ("MR", "MRI L-SPINE WITHOUT", "72148", "0612"),
    ("MR", "MRI RT SHOULDER WO CONTRAST", "73221", "0610"),
    ("MR", "MR KNEE LEFT WO", "73721", "0610"),
    ("MR", "MRI LIVER W WO GADOLINIUM", "74183", "0610"),
    ("MR", "MRI PROSTATE WITH AND WITHOUT", "72197", "0610"),
    ("MR", "MRI BREAST BILATERAL W WO", "77049", "0610"),
    ("DX", "XR CHEST 2 VIEWS PA AND LATERAL", "71046", "0324"),
    ("CR", "Portable chest", "71045", "0324"),
    ("DX", "XR SHOULDER RT COMPLETE", "73030", "0320"),
    ("DX", "Left hip 2-3 views with pelvis", "73502", "0320"),
    ("CR", "XR KNEE 3V LEFT", "73562", "0320"),
    ("DX", "FOOT COMPLETE RIGHT", "73630", "0320"),
    ("DX", "XR Wrist 3 views", "73110", "0320"),
    ("DX", "LUMBOSACRAL SPINE 2 OR 3 VIEWS", "72100", "0320"),
    ("DX", "KUB", "74018", "0320"),
    ("US", "US THYROID", "76536", "0402"),
    ("US", "US ABDOMEN COMPLETE", "76700", "0402"),
    ("US", "RUQ ULTRASOUND / GALLBLADDER", "76705", "0402"),
    ("US", "US RENAL / RETROPERITONEAL COMPLETE", "76770", "0402"),
    ("US", "US PELVIS TRANSVAGINAL", "76830", "0402"),
    ("US", "US BREAST LIMITED LT", "76642", "0402"),
    ("US", "Obstetric US, second trimester", "76805", "0402"),
    ("MG", "MAMMO SCREENING BILAT 3D TOMO", "77067", "0403"),
    ("MG", "Diagnostic mammogram bilateral", "77066", "0401"),
    ("NM", "NM BONE SCAN WHOLE BODY", "78306", "0341"),
    ("NM", "Myocardial perfusion SPECT, rest and stress", "78452", "0341"),
    ("NM", "HIDA SCAN / HEPATOBILIARY", "78227", "0341"),
    ("PT", "PET/CT SKULL BASE TO MID THIGH", "78815", "0404"),
    ("RF", "ESOPHAGRAM / BARIUM SWALLOW", "74220", "0320"),
)
WAYS = ("global", "components", "hospital", "stay")


@dataclass
class Cohort:
    """Resources, and which line of which claim was paid for which study."""

    resources: list[dict[str, Any]] = field(default_factory=list)
    paid: set[tuple[str, str, int]] = field(default_factory=set)


class Biller:
    """Makes a cohort; the same dice give the same one."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._cohort = Cohort()
        self._count = 0

    def cohort(self, people: int) -> Cohort:
        for number in range(people):
            self._person(f"p{number}")
        return self._cohort

    def _person(self, who: str) -> None:
        day = date(2016, 1, 1) + timedelta(days=self._dice.randrange(60))
        for _ in range(self._dice.randint(2, 6)):
            day += timedelta(days=self._dice.randint(25, 200))
            exams = self._dice.sample(EXAMS, self._dice.choice([1, 1, 1, 2]))
            if len({exam[0] for exam in exams}) < len(exams):
                exams = exams[:1]  # two of one machine on a day are for the tests of ambiguity
            for exam in exams:
                self._visit(who, day, exam)

    def _visit(self, who: str, day: date, exam: tuple[str, ...]) -> None:
        """One examination: of this holder or not, billed or not, with what only looks alike."""
        here, billed = self._dice.random() < 0.85, self._dice.random() < 0.85
        uid = f"1.2.{self._number()}"
        if here:
            self._cohort.resources.append(_study(who, day, exam, uid))
        if billed:
            late = self._dice.choice([0, 0, 0, 0, 1, 2, 4])
            self._bill(who, day, timedelta(days=late), exam, uid if here else None)
        if self._dice.random() < 0.5:  # another machine, or no radiology, on the same day
            other = self._dice.choice([e for e in EXAMS if not _alike(e[0], exam[0])])
            code = self._dice.choice([other[2], "99213", "93000", "36415"])
            self._lines(who, day, "CARRIER", [(code, None, None)])

    def _bill(
        self, who: str, day: date, late: timedelta, exam: tuple[str, ...], uid: str | None
    ) -> None:
        """Bill an examination; the reading, and what includes it, may be late, the images not."""
        _, _, code, center = exam
        way = self._dice.choice(WAYS)
        if way == "global":
            bills = [("CARRIER", [(code, None, None)])]
        elif way == "components":
            bills = [("CARRIER", [(code, "26", None)]), ("CARRIER", [(code, "TC", None)])]
        elif way == "hospital":
            drug = ("Q9967", None, "0636")
            lines = [(code, None, center), drug, (None, None, "0001")]
            bills = [("OUTPATIENT", lines), ("CARRIER", [(code, "26", None)])]
        else:
            bills = [("CARRIER", [(code, "26", None)])]
        for kind, lines in bills:
            technical = kind == "OUTPATIENT" or lines[0][1] == "TC"
            id_ = self._lines(who, day if technical else day + late, kind, lines)
            for number, (billed, *_) in enumerate(lines, 1):
                if billed == code and uid is not None:
                    self._cohort.paid.add((uid, id_, number))

    def _lines(self, who: str, day: date, kind: str, lines: list[Any]) -> str:
        id_ = f"claim-{self._number()}"
        on = {"start": day.isoformat(), "end": day.isoformat()}
        items = [_item(number, on, *line) for number, line in enumerate(lines, 1)]
        patient = {"reference": f"Patient/{who}"}
        made = claim(id_, kind, patient=patient, billablePeriod=on, item=items)
        self._cohort.resources.append(made)
        return id_

    def _number(self) -> int:
        self._count += 1
        return self._count


def _alike(one: str, other: str) -> bool:
    films = {"DX", "CR", "RF"}
    return one == other or {one, other} <= films


def _study(who: str, day: date, exam: tuple[str, ...], uid: str) -> dict[str, Any]:
    return study(
        id=uid,
        uid=uid,
        patient={"reference": f"Patient/{who}"},
        started=f"{day.isoformat()}T09:30:00",
        description=exam[1],
        series=[{"modality": {"code": exam[0]}}],
    )


def _item(
    number: int, on: dict[str, str], code: str | None, modifier: str | None, center: str | None
) -> dict[str, Any]:
    item: dict[str, Any] = {"sequence": number, "servicedPeriod": on}
    if code:
        item["service"] = {"coding": [{"system": HCPCS, "code": code}]}
    if modifier:
        item["modifier"] = [{"coding": [{"system": HCPCS, "code": modifier}]}]
    if center:
        item["revenue"] = {"coding": [{"system": BB + "variables/rev_cntr", "code": center}]}
    return item
