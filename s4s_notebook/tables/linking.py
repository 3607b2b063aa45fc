"""Which claim line paid for which study: pairs with a score, their evidence and their rivals.

Claims seldom name images. Both sides state the participant, the day, the modality and, more or
less, the part of the body; those are compared, and each line is assigned to one study at most.
"""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from ..errors import InvalidArgument
from ..tracebacks import without_variables
from .columns import WholeText
from .examinations import Examination, examination_of_code
from .pairing import Assignment

_OF_STUDIES = ("study_uid", "started_date", "modalities", "description")
_OF_LINES = (
    "claim_id", "line_index", "line_number", "service_from", "service_to",
    "service_date_source", "hcpcs_code", "revenue_center", "is_total_line", "currency",
)  # fmt: skip
_ALSO = (
    "claim_kind", "claim_type", "is_final", "status", "use", "claim_version", "modifiers",
    "modifier_1", "modifier_2", "modifier_3", "modifier_4", "modifier_5", "quantity", "packaged",
    "apc", "place_of_service", "submitted_charge_amount", "allowed_charge_amount",
    "payer_paid_amount",
)  # fmt: skip
_DTYPES = {
    "status": "str",
    "started_date": "datetime64[us]",
    "service_from": "datetime64[us]",
    "modalities": "str",
    "description": "str",
    "hcpcs_code": "str",
    "code_meaning": "str",
    "payer_paid_amount": "float64",
    "currency": "str",
    "score": "float64",
    "reasons": "str",
    "why": "str",
    "days": "Int64",
    "component": "str",
    "evidence": "str",
    "rank": "Int64",
    "rivals": "Int64",
    "modifiers": "str",
    "revenue_center": "str",
    "is_final": "boolean",
    "packaged": "boolean",
    "line_index": "Int64",
    "line_number": "Int64",
    "claim_id": "str",
    "patient_id": "str",
    "study_uid": "str",
}


@without_variables
def link(
    studies: pd.DataFrame,
    lines: pd.DataFrame,
    *,
    zone: str | None = None,
    identifiers: pd.DataFrame | None = None,
    every_line: bool = False,
    days_before: int = 1,
    days_after: int = 7,
    threshold: float = 0.72,
) -> pd.DataFrame:
    """Pair imaging studies with the claim lines that seem to have paid for them.

    Looked at are the codes of imaging (CPT 70010-79999 and the 9xxxx, HCPCS C, G and D, and
    xxxxT codes that make images), and lines without a code in the revenue centres of imaging. A
    pair needs the same participant, machines that go together, days within the window and no
    contradiction in part of the body or side. Then each line is assigned to one study at most,
    and each part of a study (technical, professional; global is both) to one line of a code:
    exact days first, then by score.

    Args:
        studies: as :func:`s4s_notebook.tables.studies` makes it; further columns do no harm.
            With ``participant`` in both frames, pairs stay within a participant.
        lines: as :func:`s4s_notebook.tables.benefit_lines` makes it.
        zone: the participants' time zone (IANA, as in ``America/Chicago``). Claims have local
            days; a study that started at 02:15Z was on the evening before in America. Used for
            starts that end in Z. Without it such a study may also be of the day before or
            after, at a lower score, and the reasons say so.
        identifiers: as :func:`s4s_notebook.tables.identifiers` makes it: with it, a claim that
            has the study's accession or order number decides.
        every_line: list the lines too that have nothing to do with imaging.
        days_before: how many days the service may lie before the study. A reading (modifier 26)
            is never before it.
        days_after: how many days the service may lie after the study: for readings and global
            lines. The technical part is of the same day, or of the next.
        threshold: pairs with a lower score are listed as ``weak``.

    Returns:
        One row per pair, and one for each line and each study without any:

        ``status``
            linked; ambiguous (forbidding the pair costs the whole assignment less than 0.03:
            the rival pairs are listed too); weak; line unmatched; study unmatched.
        ``why``
            for an unmatched line: not imaging, not final, not a claim, reversed, stopped, taken
            (a line that fits better has the study), outside window, contradiction (of part of
            the body or side), no study, no day, add-on (its main examination has no study).
        ``score``
            0 to 1: 0.4 for the machine, 0.3 for the day (less for each day apart), 0.3 for the
            part of the body (half where one side does not say, nothing where only one side says
            that it is of the vessels); 1 where an accession or order number is the same.
        ``days``
            day of service minus day of study; null where the line has no day of its own.
        ``component``
            professional (modifier 26, or a doctor's line inside a hospital), technical (TC, or
            a hospital's line), stay (within an inpatient claim, which is paid as a whole) or
            global.
        ``evidence``
            the strongest: accession, order, code (of the study's procedure), words (part of the
            body) or machine.
        ``rank``, ``rivals``
            place of the pair among those of its line, by score; how many others serve as well.
        ``packaged``
            true: paid inside another line, so that 0 is no denial; null: nothing says it.
        ``reasons``
            what speaks for the pair, or why there is none.

        The other columns are those of the frames. ``attrs["not_imaging"]`` counts the lines
        that are left out.

    What it cannot know: whether a line that fits was for a study that this holder does not
    have; which of two studies of the same day, machine and part of the body a line is for
    (ambiguous); studies that nobody billed, or that another payer paid; what part of a stay's
    payment an examination was. A payment is linked to a study, not proven to be for it.

    Raises:
        ValueError: a frame lacks columns that its table has, or there is no such zone.
    """
    _check("studies", studies, _OF_STUDIES)
    _check("benefit_lines", lines, _OF_LINES)
    keys = [c for c in ("participant", "patient_id") if c in studies and c in lines]
    work = Assignment(keys, days_before, days_after, threshold)
    work.take_studies(_examined(studies, zone), _numbers(studies))
    billed = _billed(lines, every_line)
    work.take_lines(billed, identifiers)
    work.assign()
    frame = _frame(work.rows(), [c for c in keys if c not in _DTYPES])
    frame.attrs["not_imaging"] = len(lines) - len(billed)
    return frame


def _check(name: str, frame: pd.DataFrame, columns: tuple[str, ...]) -> None:
    lacks = [column for column in columns if column not in frame]
    if lacks:
        raise InvalidArgument(
            f"{name} is no frame of s4s.tables.{name}: it lacks {', '.join(lacks)}."
        )


def _frame(rows: list[dict[str, Any]], further: list[str]) -> pd.DataFrame:
    dtypes = {**dict.fromkeys(further, "str"), **_DTYPES}
    data = {
        name: pd.Series([row.get(name) for row in rows], dtype=object).astype(dtype)  # type: ignore[call-overload]  # the stubs know no dtype by name
        for name, dtype in dtypes.items()
    }
    order = [*further, "patient_id", "study_uid", "claim_id", "line_index"]
    return WholeText(pd.DataFrame(data).sort_values(order, kind="stable", ignore_index=True))


def _numbers(studies: pd.DataFrame) -> list[dict[str, str]]:
    """Return for each study its accession and order numbers, and what each is."""
    numbers: list[dict[str, str]] = [{} for _ in range(len(studies))]
    for column, meaning in (("order_numbers", "order"), ("accession", "accession")):
        if column in studies:
            for at, text in enumerate(studies[column]):
                if not pd.isna(text):
                    parts = str(text).split("|") if meaning == "order" else [str(text)]
                    numbers[at].update({n.strip(): meaning for n in parts if n.strip()})
    return numbers


def _examined(studies: pd.DataFrame, zone: str | None) -> pd.DataFrame:
    """Return the studies with their local day, and the hour where the zone is not known."""
    try:
        local = ZoneInfo(zone) if zone is not None else None
    except (KeyError, ValueError, OSError) as error:
        raise InvalidArgument(
            f"no time zone {zone!r}; an IANA name such as America/Chicago"
        ) from error
    studies = studies.assign(_day=studies["started_date"], _hour=None)
    if "started" not in studies or "started_zone" not in studies:
        return studies
    utc = (studies["started_zone"] == "Z").fillna(False).astype(bool)
    started = pd.to_datetime(studies.loc[utc, "started"], utc=True)
    if local is None:
        studies["_hour"] = started.dt.hour.astype("Int64").reindex(studies.index).astype(object)
    else:
        days = started.dt.tz_convert(local).dt.tz_localize(None).dt.normalize()
        studies["_day"] = studies["_day"].where(~utc, days.reindex(studies.index))
    return studies


def _billed(lines: pd.DataFrame, every_line: bool) -> pd.DataFrame:
    """Return the lines about imaging, with the examination of their codes."""
    further = [c for c in ("participant", "patient_id", *_ALSO) if c in lines]
    codes = lines["hcpcs_code"].fillna("")
    centers = lines["revenue_center"].fillna("").str.zfill(4)
    distinct = {pair: examination_of_code(*pair) for pair in set(zip(codes, centers, strict=True))}
    examinations: list[Any] = [distinct[pair] for pair in zip(codes, centers, strict=True)]
    near = np.array([_near(sight, code, center) for (code, center), sight in distinct.items()])
    listed = dict(zip(distinct, near, strict=True))
    wanted = np.array([listed[pair] for pair in zip(codes, centers, strict=True)], dtype=bool)
    if not every_line:
        lines, examinations = (
            lines[wanted],
            [e for e, w in zip(examinations, wanted, strict=True) if w],
        )
    return lines[[*_OF_LINES, *further]].assign(
        _code=pd.Series(examinations, index=lines.index, dtype=object)
    )


def _near(examination: Examination, code: str, center: str) -> bool:
    """Return whether a line has to do with imaging, even where no image is made."""
    if examination.family or examination.images:
        return True
    if code:
        return len(code) == 5 and (code[0] == "7" or code[:2] in {"A9", "Q9"} or "R007" in code)
    return center.startswith("040")
