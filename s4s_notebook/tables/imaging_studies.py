"""ImagingStudy → studies and series; series that only the downloaded files tell of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from .builder import Kind, Notes
from .columns import declared
from .elements import objects, patient_of
from .rows import Rows, Table
from .sparse import sparse, spread
from .values import bare_uid, convert
from .walk import OBJECT, Odd

STUDIES = Table("studies", by_hand=["modalities", "started_date", "endpoint"])
SERIES = Table("series", below="series", by_hand=["started_date"])

_AWAY = {"UNAVAILABLE", "OFFLINE", "NEARLINE", "cancelled", "entered-in-error", "registered"}
_UID_SYSTEMS = ("urn:dicom:uid", "urn:ietf:rfc:3986")
_ZONE = 10  # characters of a date, after which a zone may stand


def study_uid(study: Mapping[str, Any]) -> Any:
    """The Study Instance UID as given: STU3's ``uid``, R4's identifier."""
    found = study.get("uid")
    if found is not None:
        return found
    for system in _UID_SYSTEMS:
        for identifier in objects(study, "identifier"):
            if identifier.get("system") == system:
                return identifier.get("value")
    return None


def identify(study: Mapping[str, Any]) -> tuple[str, str, str]:
    """Patient, start and study UID; the id where there is no UID."""
    started = study.get("started")
    found = study_uid(study)
    try:
        key = bare_uid(found)[0] if type(found) is str else ""
    except ValueError:
        key = ""
    if not key:
        fhir_id = study.get("id")
        key = fhir_id if type(fhir_id) is str else ""
    return patient_of(study, "patient", "subject"), started if type(started) is str else "", key


def emit_study(study: dict[str, Any], _key: str, rows: Rows, odd: Odd) -> None:
    """One row per ImagingStudy."""
    row = STUDIES.blank.copy()
    STUDIES.walk(study, row, odd)
    at = STUDIES.at
    started = study.get("started")
    if type(started) is str:
        row[at["started_zone"]] = _zone(started)
    row[at["started_date"]] = started
    row[at["modalities"]] = "\\".join(_modalities(study)) or None
    availability = row[at["availability"]]
    away = type(availability) is str and availability in _AWAY
    row[at["endpoint"]], told = endpoint(study)
    row[at["downloadable"]] = False if away or _all_series_away(study) else told
    rows.add(row)


def _zone(started: str) -> str | None:
    rest = started[_ZONE:]
    if rest.endswith("Z"):
        return "Z"
    return rest[-6:] if len(rest) > 6 and rest[-6] in "+-" else None


def _modalities(study: Mapping[str, Any]) -> list[str]:
    """Distinct modalities of the study and of its series, in alphabetical order."""
    found: set[str] = set()
    for owner, element in [
        (study, "modalityList"),
        (study, "modality"),
        *((series, "modality") for series in objects(study, "series")),
    ]:
        for coding in objects(owner, element):
            for code in (coding, *objects(coding, "coding")):
                if type(code.get("code")) is str and code["code"].isprintable():
                    found.add(code["code"])
    return sorted(found)


def _all_series_away(study: Mapping[str, Any]) -> bool:
    """STU3 servers may say that images are away at the series alone."""
    said = [series.get("availability") for series in objects(study, "series")]
    return bool(said) and all(type(a) is str and a in _AWAY for a in said)


def endpoint(study: Mapping[str, Any]) -> tuple[str | None, bool | None]:
    """Where the images are, and whether that is known to be WADO-RS.

    True with an address: a contained Endpoint of type dicom-wado-rs. None with a reference: an
    Endpoint that must be asked for. False: no endpoint, or none of that type.
    """
    contained = {
        resource.get("id"): resource
        for resource in objects(study, "contained")
        if type(resource.get("id")) is str
    }
    elsewhere: str | None = None
    for owner in (study, *objects(study, "series")):
        for place in objects(owner, "endpoint"):
            reference = place.get("reference")
            if type(reference) is not str or not reference:
                continue
            inner = contained.get(reference.removeprefix("#"))
            if inner is None:
                elsewhere = elsewhere or reference
            elif is_wado(inner) and type(inner.get("address")) is str:
                return inner["address"], True
    return (elsewhere, None) if elsewhere else (None, False)


def is_wado(resource: Mapping[str, Any]) -> bool:
    """Whether an Endpoint speaks WADO-RS: by code, for its system differs between versions."""
    for kind in objects(resource, "connectionType"):
        if any(c.get("code") == "dicom-wado-rs" for c in (kind, *objects(kind, "coding"))):
            return True
    return False


def emit_series(study: dict[str, Any], _key: str, rows: Rows, odd: Odd) -> None:
    """One row per series that the holder lists."""
    at = SERIES.at
    uid = study_uid(study)
    found = study.get("series")
    patient = next((p for e in ("patient", "subject") for p in objects(study, e)), {})
    for place, one in enumerate(
        found if type(found) is list else () if found is None else (found,)
    ):
        row = SERIES.blank.copy()
        row[at["study_uid"]], row[at["patient_id"]] = uid, patient.get("reference")
        row[at["source"]] = "fhir"
        if type(one) is dict:
            SERIES.walk(one, row, odd)
            row[at["started_date"]] = one.get("started")
            if row[at["instance_count"]] is None and type(one.get("instance")) is list:
                row[at["instance_count"]] = len(one["instance"])
        else:
            odd(f"series[{place}]", one, OBJECT)
        rows.add(row, place)


def emit_endpoint(resource: dict[str, Any], _key: str, rows: Rows, _odd: Odd) -> None:
    """No row: an Endpoint that came beside the studies tells where their images are."""
    address = resource.get("address")
    usable = is_wado(resource) and type(address) is str and address.isprintable()
    rows.note(address if usable else None)


def resolve(frame: pd.DataFrame, endpoints: Notes) -> None:
    """Fill in the Endpoints that came as resources of their own, each participant's for itself."""
    if not endpoints:
        return
    waiting = frame["downloadable"].isna() & frame["endpoint"].notna()
    open_ = frame.loc[waiting]
    people = open_["participant"] if "participant" in frame else [""] * len(open_)
    addresses, told = [], []
    for who, reference in zip(people, open_["endpoint"], strict=True):
        known = (who, reference.rstrip("/").rpartition("/")[2])
        address = endpoints.get(known)
        addresses.append(address or reference)
        told.append(address is not None if known in endpoints else None)
    frame.loc[waiting, "endpoint"] = pd.array(addresses, dtype="str")
    frame.loc[waiting, "downloadable"] = pd.array(told, dtype="boolean")


KIND = Kind(identify, {"studies": emit_study, "series": emit_series}, {"studies": resolve})
ENDPOINT = Kind(lambda found: ("", "", str(found.get("id"))), {"studies": emit_endpoint})


def complete_series(frame: pd.DataFrame, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The series table completed from downloaded DICOM.

    Args:
        frame: as :func:`s4s_notebook.tables.series` makes it.
        rows: one mapping a series found in the files, with any of its columns; ``study_uid`` and
            ``series_uid`` are needed.

    Returns:
        The same columns and dtypes. Series that the holder did not list are added with
        ``source`` "dicom"; where both tell, the holder's values stand, gaps are filled from the
        files and ``source`` is "both".
    """
    columns = declared("series")
    found = list(rows)
    order = np.arange(len(found))
    made = {}
    for column in columns:
        block = convert(column.kind, [row.get(column.name) for row in found], lambda *_: None)
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
