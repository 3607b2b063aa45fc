"""Pair the studies and lines of participants, assign them, and say why a line has no study."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

from .assignment import Pair, extra, solve
from .billing import Line, excluded, packaged, paid, reversed_lines
from .examinations import (
    Examination,
    examination_of_code,
    examination_of_study,
    same_modality,
    same_region,
)

_MODALITY, _DATE, _PLACE = 0.4, 0.3, 0.3
_CODE, _ORDER = 0.05, 0.04  # the same code in the study; the repeat is the later one
_GUIDANCE = 0.15
_SLOWLY = 2  # a reading may come late: its days weigh half
_UNLIKELY = 0.2
_NOON, _MORNING = 12, 10  # of a UTC day: before, the local one may be earlier; after, later

_OF_STUDIES = (
    "participant",
    "patient_id",
    "study_uid",
    "started_date",
    "modalities",
    "description",
)
_TAKEN = ("taken", "a line that fits better has the study")


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as mappings, None for every kind of null."""
    plain = frame.astype(object)
    records: list[Any] = plain.where(frame.notna(), None).to_dict("records")
    return records


class Study(NamedTuple):
    """A study as pairs see it.

    Attributes:
        row: the row of the frame.
        examination: what its words describe.
        day: its local day.
        earlier, later: whether the local day may be the one before or after, as its zone is
            not known.
        codes: of its procedure.
        numbers: accession and order numbers, each with what it is.
        moment: what orders studies of one day.
    """

    row: dict[str, Any]
    examination: Examination
    day: Any
    earlier: bool
    later: bool
    codes: frozenset[str]
    numbers: dict[str, str]
    moment: tuple[str, str]


class Assignment:
    """The studies and lines of one call, and what stands for what."""

    def __init__(self, keys: list[str], before: int, after: int, threshold: float) -> None:
        self._keys = keys
        self._before, self._after, self._threshold = before, after, threshold
        self._studies: list[Study] = []
        self._people: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        self._lines: list[Line] = []
        self._numbers: dict[int, dict[str, str]] = {}
        self._rows: list[dict[str, Any]] = []
        self._linked: set[int] = set()  # studies
        self._why: dict[int, tuple[str, str]] = {}

    def take_studies(self, studies: pd.DataFrame, numbers: list[dict[str, str]]) -> None:
        """Take in the studies, in an order that does not depend on that of the rows."""
        made = []
        for row, own in zip(records(studies), numbers, strict=True):
            hour = row["_hour"]
            codes = row.get("procedure_codes") or row.get("procedure_code") or ""
            made.append(
                Study(
                    row,
                    examination_of_study(row),
                    row["_day"],
                    hour is not None and hour < _NOON,
                    hour is not None and hour >= _MORNING,
                    frozenset(str(codes).split()),
                    own,
                    (str(row.get("started")), str(row["study_uid"])),
                )
            )
        self._studies = sorted(made, key=lambda study: study.moment)
        for number, study in enumerate(self._studies):
            self._people[self._person(study.row)].append(number)

    def _person(self, row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[key] for key in self._keys)

    def take_lines(self, lines: pd.DataFrame, identifiers: pd.DataFrame | None) -> None:
        """Take in the lines; those that do not count get their reason."""
        rows = sorted(
            records(lines), key=lambda row: (str(row["claim_id"]), row["line_index"] or 0)
        )
        reversals = reversed_lines(rows, self._keys)
        numbers = self._of_claims(identifiers)
        for number, row in enumerate(rows):
            line = Line(number, row, row["_code"])
            self._lines.append(line)
            self._numbers[number] = numbers.get((*self._owner(row), row["claim_id"]), {})
            why = _refused(line, reversed_=number in reversals)
            if why is not None:
                self._why[number] = why

    def _owner(self, row: dict[str, Any]) -> tuple[Any, ...]:
        return (row["participant"],) if "participant" in self._keys else ()

    def _of_claims(self, frame: pd.DataFrame | None) -> dict[tuple[Any, ...], dict[str, str]]:
        """Return the identifiers by claim."""
        numbers: dict[tuple[Any, ...], dict[str, str]] = defaultdict(dict)
        for row in records(frame) if frame is not None else ():
            if row["value"] is not None:
                numbers[*self._owner(row), row["claim_id"]][str(row["value"]).strip()] = ""
        return numbers

    def assign(self) -> None:
        """Assign the lines of each participant and code; add-ons last."""
        groups: dict[tuple[Any, ...], list[Line]] = defaultdict(list)
        for line in self._lines:
            if line.number not in self._why:
                add_on = line.examination.images == "add-on"
                groups[add_on, self._person(line.row), line.code].append(line)
        for key in sorted(groups, key=lambda key: key[0]):
            add_on, person, _ = key
            studies = [n for n in self._people[person] if not add_on or n in self._linked]
            if None in person:
                studies = []  # two unknown participants are not the same one
            self._group(groups[key], studies)

    def _group(self, lines: list[Line], studies: list[int]) -> None:
        pairs = [
            pair
            for line in lines
            for number in studies
            if (pair := self._pair(line, number)) is not None
        ]
        _later_ones(pairs, {line.number: line for line in lines})
        result = solve(pairs)
        units = {line.number: line.units for line in lines}
        more = extra(pairs, result, units)
        for pair in result:
            pair.rivals = [rival for rival in pair.rivals if rival not in more]
        listed = {id(pair): pair for pair in (*result, *more)}
        for pair in result:
            for rival in pair.rivals:
                others = (pair, *pair.rivals)
                rival.rivals += [p for p in others if p is not rival and p not in rival.rivals]
        rivals = {id(rival): rival for pair in result for rival in pair.rivals}
        for pair in {**listed, **rivals}.values():
            self._report(pair, pairs)
        served = {pair.line for pair in listed.values()} | {p.line for p in rivals.values()}
        for line in lines:
            if line.number not in served:
                fits = any(pair.line == line.number for pair in pairs)
                self._why[line.number] = _TAKEN if fits else self._unmatched(line)

    def _pair(self, line: Line, number: int) -> Pair | None:
        """Return the pair of a line and a study; None where something contradicts it."""
        study = self._studies[number]
        direct = next(
            (kind for n, kind in study.numbers.items() if n in self._numbers[line.number]), ""
        )
        when, fit = self._when(line, study), _fits(study, line)
        if direct and same_modality(study.examination.family, line.examination.family):
            when = when or (0.0, None, "another day")
            fit = fit if isinstance(fit, tuple) else (0.0, "another part of the body")
        if when is None or isinstance(fit, str):
            return None
        alike, where = fit
        nearness, days, day = when
        value = _MODALITY + _DATE * nearness + _PLACE * alike
        reasons = [_named(line), f"{line.examination.family} as in the study", day, where]
        if line.examination.images == "guidance" and not alike:
            value -= _GUIDANCE - _PLACE * alike
        if line.code in study.codes:
            value += _CODE
            reasons.append("the study's procedure has the same code")
        elif any(examination_of_code(code, "").family for code in study.codes):
            value -= _CODE
            reasons.append("the study's procedure has another code")
        if direct:
            reasons.append(f"the claim has the study's {direct} number")
        exact = days == 0 or direct != ""
        slots = line.slots
        return Pair(
            line.number, number, value, exact, direct != "", days or 0, slots,
            line.repeated, reasons,
        )  # fmt: skip

    def _when(self, line: Line, study: Study) -> tuple[float, int | None, str] | None:
        """Return nearness in time, 0 to 1, the days apart, and words; None outside the window."""
        start, end, day = line.row["service_from"], line.row["service_to"], study.day
        if day is None or start is None:
            return None
        end = start if end is None else end
        if line.row["service_date_source"] == "billablePeriod" and end > start:
            return (0.7, None, "within the days of the claim") if start <= day <= end else None
        if start <= day <= end:
            return 1.0, 0, "same day"
        days = (start - day).days if start > day else -(day - end).days
        first, last, weight = self._window(line, study)
        if not first <= days <= last:
            return None
        plural = "s" if abs(days) > 1 else ""
        apart = f"{abs(days)} day{plural} {'later' if days > 0 else 'earlier'}"
        nearness = 1.0 - abs(days) / weight
        if (days == -1 and study.earlier) or (days == 1 and study.later):
            apart += "; the study's start is in UTC and may be of that day: give zone="
        elif days < 0 and study.later:
            nearness -= _UNLIKELY  # in no zone is the study of the day before
        return max(nearness, 0.0), days, apart

    def _window(self, line: Line, study: Study) -> tuple[int, int, int]:
        weight = max(self._before, self._after) + 1
        if line.component == "professional":
            first = -self._before if study.earlier else 0
            return first, self._after, weight * _SLOWLY
        last = self._after if line.component == "global" else min(1, self._after)
        return -self._before, last, weight

    def _unmatched(self, line: Line) -> tuple[str, str]:
        """Return why no study fits a line, as a word or two and in words."""
        person = self._person(line.row)
        if None in person:
            return "no study", "the participant is not known"
        if line.row["service_from"] is None:
            return "no day", "the line has no day"
        if line.examination.images == "add-on":
            return "add-on", "an add-on, and no main examination of that day has a study"
        whys = []
        for number in self._people[person]:
            study = self._studies[number]
            fit = _fits(study, line)
            if not isinstance(fit, str):
                whys.append(("outside window", "the nearest study that fits is of another day"))
            elif fit and self._when(line, study) is not None:
                whys.append(("contradiction", fit))
        none = "no study of this participant fits in kind of machine and part of the body"
        return max(whys, default=("no study", none))

    def _report(self, pair: Pair, pairs: list[Pair]) -> None:
        """Add the row of a pair."""
        line, study = self._lines[pair.line], self._studies[pair.study]
        mine = sorted((p for p in pairs if p.line == pair.line), key=lambda p: -p.worth)
        score = 1.0 if pair.direct else round(min(1.0, pair.value), 4)
        status = "weak" if score < self._threshold else "linked"
        reasons = list(pair.reasons)
        others = {p.study for p in pair.rivals if p.line == pair.line} | {pair.study}
        if status == "linked" and pair.rivals:
            status = "ambiguous"
            reasons.append(
                f"fits {len(others)} studies about equally"
                if len(others) > 1
                else "another pair serves about as well"
            )
        if status != "weak":
            self._linked.add(pair.study)
        none = line.row["service_date_source"] == "billablePeriod" and "same day" not in reasons
        self._rows.append(
            {
                **self._of_line(line),
                **_of_study(study),
                "status": status,
                "score": score,
                "days": None if none and pair.days == 0 else pair.days,
                "evidence": _evidence(pair),
                "rank": next(n for n, p in enumerate(mine, 1) if p is pair),
                "rivals": len(pair.rivals),
                "reasons": "; ".join(reasons),
            }
        )

    def _of_line(self, line: Line) -> dict[str, Any]:
        return {
            **line.row,
            "component": line.component if line.examination.family else None,
            "code_meaning": line.examination.meaning or None,
            "modifiers": " ".join(line.modifiers) or None,
            "packaged": packaged(line.row),
            "payer_paid_amount": paid(line.row),
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of pairs, of lines without a study and of studies without a line."""
        rows = list(self._rows)
        for number, (why, words) in self._why.items():
            line = self._lines[number]
            reasons = f"{_named(line)}; {words}"
            status = {"status": "line unmatched", "why": why, "reasons": reasons}
            rows.append({**self._of_line(line), **status})
        seen = {
            (self._person(row), row["study_uid"])
            for row in rows
            if row.get("study_uid") is not None
        }
        for study in self._studies:
            if (self._person(study.row), study.row["study_uid"]) not in seen:
                why = (
                    "no radiology line fits"
                    if study.examination.family
                    else "not billed as radiology"
                )
                rows.append({**_of_study(study), "status": "study unmatched", "reasons": why})
        return rows


def _of_study(study: Study) -> dict[str, Any]:
    columns = (
        "participant",
        "patient_id",
        "study_uid",
        "started_date",
        "modalities",
        "description",
    )
    return {column: study.row.get(column) for column in columns}


def _named(line: Line) -> str:
    sight = line.examination
    name = line.code if line.row["hcpcs_code"] is None else f"code {line.code}"
    return f"{name} is {sight.family} ({sight.meaning})" if sight.family else name


def _refused(line: Line, *, reversed_: bool) -> tuple[str, str] | None:
    """Return why a line cannot be linked, as a word or two and in words."""
    sight, row = line.examination, line.row
    if row["is_total_line"]:
        return "not imaging", "the total of the claim"
    if not sight.family or sight.images == "no":
        return "not imaging", sight.meaning or "no code or revenue centre of an examination"
    why = excluded(row)
    if why is not None:
        return why
    if reversed_:
        return "reversed", "a negative line, or the one that it cancels"
    if line.stopped:
        return "stopped", "stopped before it was done, and not paid"
    return None


def _fits(study: Study, line: Line) -> tuple[float, str] | str:
    """Return how well part of the body and vessels agree; else the contradiction, if any."""
    if not same_modality(study.examination.family, line.examination.family):
        return ""
    agreement = same_region(study.examination, line.examination)
    if agreement is None:
        return "the study of that day is of another part of the body"
    sides = study.examination.sides
    if sides and line.sides and not sides & line.sides:
        return "the study of that day is of the other side"
    if sides and len(line.sides) == 1 and sides == line.sides:
        return agreement[0], f"{agreement[1]}, {'left' if 'L' in sides else 'right'}"
    return agreement


def _evidence(pair: Pair) -> str:
    if pair.direct:
        return "accession" if any("accession number" in r for r in pair.reasons) else "order"
    if any("has the same code" in reason for reason in pair.reasons):
        return "code"
    return "words" if any(reason.startswith("both ") for reason in pair.reasons) else "machine"


def _later_ones(pairs: Iterable[Pair], lines: dict[int, Line]) -> None:
    """Let a repeated examination (76, 77) prefer the later study of a day, the others the first.

    Only where the code was billed on that day both with and without such a modifier.
    """
    days: dict[Any, list[Pair]] = defaultdict(list)
    for pair in pairs:
        if pair.exact:
            days[lines[pair.line].row["service_from"]].append(pair)
    for same in days.values():
        if len({lines[pair.line].again for pair in same}) < 2:
            continue
        first = min(pair.study for pair in same)  # studies are in the order of their start
        for pair in same:
            if (pair.study != first) == lines[pair.line].again:
                pair.value += _ORDER
                pair.reasons.append("in the order of the day")
