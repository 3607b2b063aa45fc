"""ImagingStudy → studies and series; and the series that only downloaded files have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InvalidUID, NotDownloadable
from ..fhir.endpoints import WadoEndpoint, contained_endpoints, is_address, leads_to, read_endpoint
from ..fhir.resources import bare_uid, given_study_uid, is_uid, objects, read_reference, study_uid
from ..tracebacks import without_variables
from .builder import Kind, Notes
from .columns import shown
from .extract import OBJECT, Report, codings
from .people import patient_of
from .providers import Directory
from .rows import Rows, Table, sparse, spread
from .values import convert

_JOINED = ("procedure_codes", "body_sites", "lateralities", "order_numbers")
STUDIES = Table(
    "studies", by_hand=["study_uid", "modalities", "started_date", "endpoint", *_JOINED]
)
SERIES = Table("series", below="series", by_hand=["started_date"])

_AWAY = {"UNAVAILABLE", "OFFLINE", "NEARLINE", "cancelled", "entered-in-error", "registered"}
_ZONE = 10  # characters of a date, after which a zone may stand


def identify(study: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return patient, start, and study UID with id.

    Two resources of one study are not copies of each other: :func:`merge_studies` joins them.
    """
    started = study.get("started")
    uid = bare_uid(given_study_uid(study)).strip()
    fhir_id = study.get("id")
    id_ = fhir_id if type(fhir_id) is str else ""
    key = f"{uid} {id_}".strip() if is_uid(uid) else id_
    return patient_of(study, "patient", "subject"), started if type(started) is str else "", key


def emit_study(study: dict[str, Any], _key: str, rows: Rows, report: Report) -> None:
    """Add one row per ImagingStudy."""
    row = STUDIES.blank.copy()
    STUDIES.extract(study, row, report)
    at = STUDIES.at
    started = study.get("started")
    if type(started) is str:
        row[at["started_zone"]] = _zone(started)
    row[at["started_date"]] = started
    row[at["study_uid"]] = given_study_uid(study)
    row[at["modalities"]] = "\\".join(_modalities(study)) or None
    for name, values in zip(_JOINED, _evidence(study), strict=True):
        row[at[name]] = values
    availability = row[at["availability"]]
    away = type(availability) is str and availability in _AWAY
    row[at["endpoint"]], usable = endpoint(study)
    denied = away or _all_series_away(study) or not _has_uid(study)
    row[at["downloadable"]] = False if denied else usable
    rows.add(row)


def _evidence(study: Mapping[str, Any]) -> tuple[str | None, ...]:
    """Return what links a study to claims: procedure codes, body sites, sides, order numbers."""
    concepts = objects(study.get("procedureCode"))
    series = list(objects(study.get("series")))
    sites = [site for one in series for site in objects(one.get("bodySite"))]
    sides = [side for one in series for side in objects(one.get("laterality"))]
    orders = [
        identifier.get("value")
        for order in objects(study.get("basedOn"))
        for identifier in objects(order.get("identifier"))
    ]
    return (
        _distinct((coding.get("code") for concept in concepts for coding in codings(concept)), " "),
        _distinct((site.get("display") or site.get("code") for site in sites), "; "),
        _distinct((_side(side) for side in sides), " "),
        _distinct(orders, "|"),
    )


def _side(laterality: Mapping[str, Any]) -> str | None:
    """Return L, R or B of a coded side: by its words, else by its SNOMED CT code."""
    text = str(laterality.get("display") or "").strip().lower()
    if text:
        return {"l": "L", "r": "R", "b": "B"}.get(text[0])
    code = laterality.get("code")
    sides = {"7771000": "L", "24028007": "R", "51440002": "B", "L": "L", "R": "R", "B": "B"}
    return sides.get(code) if type(code) is str else None


def _distinct(values: Iterable[Any], between: str) -> str | None:
    """Return the distinct texts, joined."""
    texts = dict.fromkeys(v.strip() for v in values if type(v) is str and v.isprintable())
    return between.join(text for text in texts if text) or None


def _has_uid(study: Mapping[str, Any]) -> bool:
    """Return whether a download could ask for the study."""
    try:
        study_uid(study)
    except InvalidUID:
        return False
    return True


def _zone(started: str) -> str | None:
    rest = started[_ZONE:]
    if rest.endswith("Z"):
        return "Z"
    return rest[-6:] if len(rest) > 6 and rest[-6] in "+-" else None


def _modalities(study: Mapping[str, Any]) -> list[str]:
    """Return the distinct modalities of the study and of its series, in alphabetical order."""
    codes: set[str] = set()
    for owner, element in [
        (study, "modalityList"),
        (study, "modality"),
        *((series, "modality") for series in objects(study.get("series"))),
    ]:
        for coding in objects(owner.get(element)):
            for code in (coding, *codings(coding)):
                if type(code.get("code")) is str and code["code"].isprintable():
                    codes.add(code["code"])
    return sorted(codes)


def _all_series_away(study: Mapping[str, Any]) -> bool:
    """Return whether no series is available; STU3 servers may state it at the series alone."""
    availabilities = [series.get("availability") for series in objects(study.get("series"))]
    return bool(availabilities) and all(type(a) is str and a in _AWAY for a in availabilities)


def endpoint(study: Mapping[str, Any]) -> tuple[str | None, bool | None]:
    """Return where the images are, and whether a download can fetch them from there.

    Returns:
        True with an address: a contained Endpoint of type dicom-wado-rs. None with a reference:
        an Endpoint, or an address, that must be asked. False: no endpoint, or none of that type.
    """
    references: list[str] = []
    for target in contained_endpoints(study):
        if isinstance(target, WadoEndpoint):
            return target.address, leads_to(target.address, given_study_uid(study))
        references.append(target)
    return (references[0], None) if references else (None, False)


def emit_series(study: dict[str, Any], _key: str, rows: Rows, report: Report) -> None:
    """Add one row per series that the holder lists."""
    at = SERIES.at
    uid = given_study_uid(study)
    values = study.get("series")
    patient = next((p for e in ("patient", "subject") for p in objects(study.get(e))), {})
    for position, series in enumerate(
        values if type(values) is list else () if values is None else (values,)
    ):
        row = SERIES.blank.copy()
        row[at["study_uid"]], row[at["patient_id"]] = uid, patient.get("reference")
        row[at["source"]] = "fhir"
        if type(series) is dict:
            SERIES.extract(series, row, report)
            row[at["started_date"]] = series.get("started")
            if row[at["instance_count"]] is None and type(series.get("instance")) is list:
                row[at["instance_count"]] = len(series["instance"])
        else:
            report(f"series[{position}]", series, OBJECT)
        rows.add(row, position)


def emit_endpoint(resource: dict[str, Any], _key: str, rows: Rows, _report: Report) -> None:
    """Add no row: an Endpoint that came beside the studies says where their images are."""
    try:
        address = read_endpoint(resource).address
    except NotDownloadable:
        address = ""
    rows.note(address if address.isprintable() and address else None)


def merge_studies(frame: pd.DataFrame, endpoints: Notes, _directory: Directory) -> pd.DataFrame:
    """Fill in Endpoints, then join the resources of one study to one row.

    Two archives, or a correction, give a study two ImagingStudy resources. The row with most
    instances stands, its gaps are filled from the others; it has the modalities of all, and can
    be downloaded where one of them can.
    """
    _resolve(frame, endpoints)
    key = [name for name in ("participant", "patient_id", "study_uid") if name in frame]
    double = frame["study_uid"].notna() & frame.duplicated(key, keep=False)
    if not double.any():
        return frame
    for _, group in frame[double].groupby(key, dropna=False, sort=False):
        ordered = group.sort_values(
            ["downloadable", "instance_count"], ascending=False, na_position="last", kind="stable"
        )
        first, best = group.index[0], ordered.bfill().iloc[0]
        codes = {code for codes in group["modalities"].dropna() for code in codes.split("\\")}
        for name in frame.columns:
            frame.loc[first, name] = best[name]
        frame.loc[first, "modalities"] = "\\".join(sorted(codes)) or pd.NA
    return _without(frame, frame.duplicated(key) & double)


def merge_series(frame: pd.DataFrame, _notes: Notes, _directory: Directory) -> pd.DataFrame:
    """Keep one row of a series that several resources of its study list."""
    key = [n for n in ("participant", "patient_id", "study_uid", "series_uid") if n in frame]
    return _without(
        frame, frame["series_uid"].notna() & frame["study_uid"].notna() & frame.duplicated(key)
    )


def _without(frame: pd.DataFrame, rows: pd.Series[bool]) -> pd.DataFrame:
    return frame[~rows].reset_index(drop=True) if rows.any() else frame


def _resolve(frame: pd.DataFrame, endpoints: Notes) -> None:
    """Fill in the Endpoints that came as resources of their own, within each participant."""
    if not endpoints:
        return
    unresolved = frame["downloadable"].isna() & frame["endpoint"].notna()
    rows = frame.loc[unresolved]
    participants = rows["participant"] if "participant" in frame else [""] * len(rows)
    addresses: list[str] = []
    downloadable: list[bool | None] = []
    for participant, reference, uid in zip(
        participants, rows["endpoint"], rows["study_uid"], strict=True
    ):
        key = (participant, "Endpoint", read_reference(reference).id)
        resolved = key in endpoints and not is_address(reference)
        address = endpoints[key] if resolved else None
        addresses.append(address or reference)
        usable = bool(address) and leads_to(str(address), uid)
        downloadable.append(usable if resolved else None)
    frame.loc[unresolved, "endpoint"] = pd.array(addresses, dtype="str")
    frame.loc[unresolved, "downloadable"] = pd.array(downloadable, dtype="boolean")


KIND = Kind(
    identify,
    {"studies": emit_study, "series": emit_series},
    {"studies": merge_studies, "series": merge_series},
)
ENDPOINT = Kind(
    lambda endpoint_resource: ("", "", str(endpoint_resource.get("id"))), {"studies": emit_endpoint}
)


@without_variables
def complete_series(frame: pd.DataFrame, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the series table completed from downloaded DICOM.

    Args:
        frame: as :func:`s4s_notebook.tables.series` makes it.
        rows: one mapping a series found in the files, with any of its columns; ``study_uid`` and
            ``series_uid`` are needed.

    Returns:
        The same columns and dtypes. Series that the holder did not list are added with
        ``source`` "dicom"; where both tell, the holder's values stand, gaps are filled from the
        files and ``source`` is "both".
    """
    columns = shown("series")
    mappings = list(rows)
    order = np.arange(len(mappings))
    made = {}
    for column in columns:
        block = convert(column.kind, [row.get(column.name) for row in mappings], lambda *_: None)
        blocks = [sparse(column.kind, block)]
        made[column.name] = spread(column.kind, blocks, order, len(order))
    extra = pd.DataFrame(made)
    extra["source"] = pd.array(["dicom"] * len(extra), dtype="str")
    key = ["study_uid", "series_uid"]
    extra = extra.drop_duplicates(key)
    ours = frame.set_index(key)
    theirs = extra.set_index(key)
    shared = ours.index.intersection(theirs.index)
    both = ours.combine_first(theirs.loc[shared])
    out = pd.concat([both, theirs.drop(shared)]).reset_index()
    out.loc[out.set_index(key).index.isin(shared), "source"] = "both"
    out = out[[c.name for c in columns]].astype({c.name: c.dtype for c in columns})
    out = out.sort_values(["patient_id", "study_uid", "number", "series_uid"], kind="stable")
    return out.reset_index(drop=True)
