"""A cohort with known truth, each billing case in at least a twentieth of the lines.

``python -m tests.tables.link_cohort [people]`` prints precision and recall, in all and by case.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import pandas as pd

from s4s_notebook import tables
from tests.tables.examples import BB, HCPCS, amount, study

ZONE = "America/Denver"
Key = tuple[str, str, int]


class Exam(NamedTuple):
    """Modality, the department's words, code, revenue centre."""

    modality: str
    words: str
    code: str
    center: str


PLAIN = tuple(
    Exam(*row)
    for row in (
        ("CT", "HEAD CT NON CON", "70450", "0351"),
        ("CT", "THORAX WITH CM", "71260", "0352"),
        ("CT", "ABDOMEN/PELVIS STONE", "74176", "0352"),
        ("CT", "LUMBAR SPINE CT", "72131", "0352"),
        ("MR", "BRAIN STROKE PROTOCOL", "70551", "0611"),
        ("MR", "LSPINE WO", "72148", "0612"),
        ("MR", "C-SPINE W/O CONTRAST", "72141", "0612"),
        ("US", "ABDOMINAL SONOGRAM", "76700", "0402"),
        ("US", "THYROID SONO", "76536", "0402"),
        ("NM", "THREE PHASE BONE SCINTIGRAPHY", "78315", "0341"),
        ("DX", "CHEST PA/LAT", "71046", "0324"),
        ("CR", "ABDOMEN FLAT & UPRIGHT", "74019", "0320"),
        ("DX", "THORACIC SPINE 3V", "72072", "0320"),
        ("MG", "MAMMOGRAM SCREENING W TOMO", "77067", "0403"),
    )
)
JOINTS = (
    ("DX", "KNEE {} 3 VWS", "73562", "0320"),
    ("DX", "{} HIP UNI 2V", "73502", "0320"),
    ("CR", "{} SHOULDER MIN 2V", "73030", "0320"),
    ("DX", "ANKLE {} COMPL", "73610", "0320"),
    ("MR", "{} KNEE MR", "73721", "0610"),
    ("US", "{} BREAST TARGETED", "76642", "0402"),
)
VASCULAR = tuple(
    Exam(*row)
    for row in (
        ("US", "TTE COMPLETE", "93306", "0483"),
        ("US", "TRANSESOPHAGEAL ECHO", "93312", "0483"),
        ("US", "STRESS ECHO", "93351", "0483"),
        ("US", "CAROTID DUPLEX BILAT", "93880", "0921"),
        ("US", "LOWER EXT VENOUS DUPLEX", "93970", "0921"),
        ("US", "UPPER EXT ARTERIAL DUPLEX", "93930", "0921"),
        ("US", "RENAL ARTERY DOPPLER", "93975", "0921"),
    )
)
HOSPITAL = tuple(
    Exam(*row)
    for row in (
        ("MR", "MR BREAST BILAT", "C8908", "0610"),
        ("MR", "MRA ABDOMEN", "C8900", "0618"),
        ("US", "ECHOCARDIOGRAM W CONTRAST", "C8929", "0483"),
        ("CT", "LUNG CA SCREENING", "G0297", "0352"),
        ("CT", "CT PERFUSION HEAD", "0042T", "0351"),
        ("CT", "CTA HEAD AND NECK", "70471", "0351"),
        ("PT", "PET TUMOR IMAGING", "G0235", "0404"),
    )
)
NO_IMAGE = (
    ("Q9967", "0636"), ("A9552", "0343"), ("77427", "0333"), ("77385", "0333"), (None, "0335"),
    (None, "0331"), (None, "0621"), ("R0070", None), ("77263", None), ("99213", None),
)  # fmt: skip


class Cohort:
    """Resources, the true pairs, and the case of each line."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.resources: list[dict[str, Any]] = []
        self.paid: set[Key] = set()
        self.case_of: dict[tuple[str, int], str] = {}
        self.lines: Counter[str] = Counter()
        self._count = 0
        self._person = ""
        self._case = ""

    def fill(self, people: int) -> Cohort:
        for number in range(people):
            self._person = f"m{number}"
            day = date(2019, 1, 7) + timedelta(days=self.dice.randrange(200))
            for _ in range(6):
                near = self.dice.random() < 0.12
                day += timedelta(
                    days=self.dice.randrange(0, 6) if near else self.dice.randrange(12, 90)
                )
                self._case = min(CASES, key=lambda name: (self.lines[name], name))
                CASES[self._case](self, day)
        return self

    def study(self, day: date, exam: Exam, hour: int = 16, **more: Any) -> str:
        """Add a study that starts at this local hour and return its UID."""
        self._count += 1
        uid = f"1.3.6.{self._count}"
        # Denver is seven hours behind UTC in winter and six in summer.
        start = datetime(day.year, day.month, day.day) + timedelta(hours=hour + 7)
        self.resources.append(
            study(
                id=uid,
                uid=uid,
                patient={"reference": f"Patient/{self._person}"},
                started=start.isoformat() + "Z",
                description=exam.words,
                series=[{"modality": {"code": m}} for m in exam.modality.split("+")],
                **more,
            )
        )
        return uid

    def claim(
        self,
        day: date,
        lines: list[dict[str, Any]],
        kind: str = "CARRIER",
        status: str = "active",
        last: date | None = None,
        **more: Any,
    ) -> str:
        """Add a claim; each line says what it was paid for with ``of``."""
        self._count += 1
        id_ = f"x{self._count}"
        period = {"start": day.isoformat(), "end": (last or day).isoformat()}
        items = []
        for number, line in enumerate(lines, 1):
            for uid in line.pop("of", ()):
                self.paid.add((uid, id_, number))
            self.case_of[id_, number] = self._case
            self.lines[self._case] += 1
            when = (
                {}
                if last
                else {"servicedPeriod": {"start": day.isoformat(), "end": day.isoformat()}}
            )
            items.append({"sequence": number, **when, **line})
        self.resources.append(
            {
                "resourceType": "ExplanationOfBenefit",
                "id": id_,
                "status": status,
                "type": {"coding": [{"system": BB + "codesystem/eob-type", "code": kind}]},
                "patient": {"reference": f"Patient/{self._person}"},
                "billablePeriod": period,
                "item": items,
                **more,
            }
        )
        return id_


def line(
    code: str | None, *modifiers: str, of: str | tuple[str, ...] = (), **more: Any
) -> dict[str, Any]:
    """A line with a code, modifiers, and the studies that it was paid for."""
    center, paid = more.pop("center", None), more.pop("paid", 80.0)
    made: dict[str, Any] = {"of": (of,) if isinstance(of, str) else of, **more}
    if code:
        made["service"] = {"coding": [{"system": HCPCS, "code": code}]}
    if modifiers:
        made["modifier"] = [{"coding": [{"system": HCPCS, "code": m}]} for m in modifiers]
    if center:
        made["revenue"] = {"coding": [{"system": BB + "variables/rev_cntr", "code": center}]}
    made["adjudication"] = [
        amount("line_nch_pmt_amt", paid), amount("line_sbmtd_chrg_amt", paid * 3)
    ]  # fmt: skip
    return made


def _global_late(c: Cohort, day: date) -> None:
    exam = c.dice.choice(PLAIN)
    uid = c.study(day, exam)
    c.claim(day + timedelta(days=c.dice.choice([0, 0, 1, 2, 4])), [line(exam.code, of=uid)])


def _split(c: Cohort, day: date) -> None:
    exam = c.dice.choice(PLAIN)
    uid = c.study(day, exam)
    c.claim(day, [line(exam.code, of=uid, center=exam.center)], "OUTPATIENT")
    read = day + timedelta(days=c.dice.choice([0, 0, 1, 3, 5]))
    c.claim(read, [line(exam.code, "26", of=uid)])


def _serial(c: Cohort, day: date) -> None:
    exam = Exam("DX", c.dice.choice(["CHEST AP PORT", "PORTABLE CXR"]), "71045", "0324")
    count = c.dice.randint(3, 5)
    uids = [c.study(day + timedelta(days=n), exam, 6) for n in range(count)]
    for n, uid in enumerate(uids):
        late = c.dice.choice([0, 0, 0, 1]) if n == count - 1 else 0
        c.claim(day + timedelta(days=n + late), [line("71045", "26", of=uid)])


def _elsewhere(c: Cohort, day: date) -> None:
    exam = c.dice.choice(PLAIN)
    uid = c.study(day, exam)
    c.claim(day, [line(exam.code, of=uid)])
    c.claim(day + timedelta(days=c.dice.randint(1, 6)), [line(exam.code)])


def _not_final(c: Cohort, day: date) -> None:
    exam = c.dice.choice(PLAIN)
    uid = c.study(day, exam)
    c.claim(day, [line(exam.code, of=uid)])
    c.claim(day, [line(exam.code)], status="cancelled")


def _reversed(c: Cohort, day: date) -> None:
    exam = c.dice.choice(PLAIN)
    uid = c.study(day, exam)
    c.claim(
        day,
        [
            line(exam.code, paid=80.0),
            line(exam.code, paid=-80.0),
            line(exam.code, of=uid, paid=95.0),
        ],
    )


def _one_study_two_codes(c: Cohort, day: date) -> None:
    uid = c.study(day, Exam("CT", "CHEST ABDOMEN PELVIS W CM", "", ""))
    lines = [line(code, of=uid, center="0352") for code in ("71260", "74177")]
    c.claim(day, lines, "OUTPATIENT")
    c.claim(day + timedelta(days=c.dice.choice([0, 1])), [line("71260", "26", of=uid)])


def _sides(c: Cohort, day: date) -> None:
    modality, words, code, _ = c.dice.choice(JOINTS)
    left, right = c.dice.choice([("LT", "RT"), ("LEFT", "RIGHT")])
    uids = [c.study(day, Exam(modality, words.format(side), code, "")) for side in (left, right)]
    c.claim(day, [line(code, "RT", of=uids[1]), line(code, "LT", of=uids[0])])


def _both_sides(c: Cohort, day: date) -> None:
    modality, words, code, center = c.dice.choice(JOINTS[:5])
    exams = [Exam(modality, words.format(side), code, center) for side in ("LT", "RT")]
    if c.dice.random() < 0.5:
        uids = tuple(c.study(day, exam) for exam in exams)
    else:
        uids = (c.study(day, Exam(modality, words.format("BILATERAL"), code, center)),)
    c.claim(day, [line(code, "50", of=uids, quantity={"value": 2})])


def _again(c: Cohort, day: date) -> None:
    exam = Exam("CR", "PORTABLE CHEST 1V", "71045", "0324")
    early, late = (c.study(day, exam, hour) for hour in (5, 13))
    mark = c.dice.choice(["76", "77"])
    c.claim(day, [line("71045", "26", mark, of=late), line("71045", "26", of=early)])


def _heart_and_vessels(c: Cohort, day: date) -> None:
    exam = c.dice.choice(VASCULAR)
    uid = c.study(day, exam)
    if c.dice.random() < 0.5:
        c.study(day, Exam("US", "THYROID SONO", "76536", "0402"))
    c.claim(day, [line(exam.code, "26", of=uid)])
    c.claim(day, [line(exam.code, of=uid, center=exam.center)], "OUTPATIENT")


def _bone_density(c: Cohort, day: date) -> None:
    words = c.dice.choice(["DXA AXIAL", "DEXA BONE DENSITY", "BMD SPINE/HIP"])
    uid = c.study(day, Exam(c.dice.choice(["DX", "OT", "SR", "CR"]), words, "77080", ""))
    if c.dice.random() < 0.5:
        film = Exam("DX", "LUMBAR SPINE 2V", "72100", "0320")
        c.claim(day, [line("72100", of=c.study(day, film))])
    c.claim(day, [line("77080", of=uid)])


def _third_modifier(c: Cohort, day: date) -> None:
    exam = c.dice.choice(PLAIN)
    uid = c.study(day, exam)
    c.claim(
        day, [line(exam.code, "GC", "XU", "26", of=uid), line(exam.code, "CR", "GA", "TC", of=uid)]
    )


def _packaged(c: Cohort, day: date) -> None:
    exam, other = c.dice.sample([e for e in PLAIN if e.modality in {"CT", "MR"}], 2)
    first, second = c.study(day, exam), c.study(day, other)
    c.claim(
        day,
        [
            line(exam.code, of=first, center=exam.center, paid=400.0),
            line(other.code, of=second, center=other.center, paid=0.0),
        ],
        "OUTPATIENT",
    )


def _without_image(c: Cohort, day: date) -> None:
    exam = c.dice.choice([e for e in PLAIN if e.modality in {"CT", "NM", "DX"}])
    uid = c.study(day, exam)
    code, center = c.dice.choice(NO_IMAGE)
    c.claim(
        day,
        [line(exam.code, of=uid, center=exam.center), line(code, center=center or "0510")],
        "OUTPATIENT",
    )


def _codes_of_hospitals(c: Cohort, day: date) -> None:
    exam = c.dice.choice(HOSPITAL)
    uid = c.study(day, exam)
    c.claim(day, [line(exam.code, of=uid, center=exam.center)], "OUTPATIENT")


def _evening(c: Cohort, day: date) -> None:
    exam = c.dice.choice(PLAIN)
    evening, next_day = c.study(day, exam, 20), c.study(day + timedelta(days=1), exam, 9)
    c.claim(day, [line(exam.code, "TC", of=evening)])
    c.claim(day + timedelta(days=1), [line(exam.code, "TC", of=next_day)])


def _same_code_in_the_study(c: Cohort, day: date) -> None:
    first, second = ("70450", "70460")
    uids = [
        c.study(
            day,
            Exam("CT", "CT HEAD", code, ""),
            procedureCode=[
                {
                    "coding": [
                        {"system": "urn:local", "code": "CTH" + code[-1]},
                        {"system": "http://www.ama-assn.org/go/cpt", "code": code},
                    ]
                }
            ],
        )
        for code in (first, second)
    ]
    c.claim(day, [line(second, of=uids[1]), line(first, of=uids[0])])


def _stay(c: Cohort, day: date) -> None:
    exams = c.dice.sample([e for e in PLAIN if e.center in {"0351", "0611", "0612", "0402"}], 3)
    exams = list({exam.center: exam for exam in exams}.values())
    lines = [
        line(None, of=c.study(day + timedelta(days=c.dice.randint(0, 3)), exam), center=exam.center)
        for exam in exams
    ]
    c.claim(day, lines, "INPATIENT", last=day + timedelta(days=4))


CASES: dict[str, Callable[[Cohort, date], None]] = {
    "global, billed late": _global_late,
    "hospital and reading": _split,
    "serial films": _serial,
    "follow-up elsewhere": _elsewhere,
    "cancelled copy": _not_final,
    "reversal": _reversed,
    "one study, two codes": _one_study_two_codes,
    "left and right": _sides,
    "both sides on a line": _both_sides,
    "repeated the same day": _again,
    "heart and vessels": _heart_and_vessels,
    "bone density": _bone_density,
    "modifier in third place": _third_modifier,
    "packaged": _packaged,
    "lines without an image": _without_image,
    "codes C, G and T": _codes_of_hospitals,
    "evening in UTC": _evening,
    "code in the study": _same_code_in_the_study,
    "stay": _stay,
}


def frames(resources: list[dict[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return studies and lines; the status of the claim beside the lines."""
    made = tables.build(("studies", "benefits", "benefit_lines"), resources)
    lines = made["benefit_lines"]
    if "status" not in lines:
        lines = lines.merge(made["benefits"][["claim_id", "status"]], on="claim_id", how="left")
    return made["studies"], lines


def pairs_of(linked: pd.DataFrame) -> set[Key]:
    """Return the linked pairs as the truth names them."""
    rows = linked[linked["status"] == "linked"]
    return {(r.study_uid, r.claim_id, int(r.line_number)) for r in rows.itertuples()}


class Figures(NamedTuple):
    """Precision and recall, and the counts behind them."""

    lines: int
    paid: int
    right: int
    linked: int

    @property
    def precision(self) -> float:
        return self.right / self.linked if self.linked else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.paid if self.paid else 1.0


def figures(cohort: Cohort, pairs: set[Key]) -> dict[str, Figures]:
    """Return the figures in all, and by case."""

    def of(lines: set[tuple[str, int]]) -> Figures:
        paid = {key for key in cohort.paid if key[1:] in lines}
        linked = {key for key in pairs if key[1:] in lines}
        return Figures(len(lines), len(paid), len(paid & linked), len(linked))

    by_case = {
        case: of({key for key, own in cohort.case_of.items() if own == case}) for case in CASES
    }
    return {"all": of(set(cohort.case_of)), **by_case}


def main(people: int) -> None:
    """Print the figures of a cohort."""
    cohort = Cohort(11).fill(people)
    linked = tables.link(*frames(cohort.resources), zone=ZONE)
    print(f"{'case':26} {'lines':>6} {'share':>6} {'precision':>9} {'recall':>7}")
    for case, f in figures(cohort, pairs_of(linked)).items():
        share = f.lines / len(cohort.case_of)
        print(f"{case:26} {f.lines:6} {share:6.1%} {f.precision:9.3f} {f.recall:7.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
