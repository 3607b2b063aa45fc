"""All FHIR resources that the sandbox holds, by type and id, and the changes a test makes."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterable

from .data.archive import ArchivedStudy, SampleArchive, imaging_study_resource
from .data.history import ClaimGenerator, GroundTruth, ground_truth
from .data.people import PEOPLE, Person, Resource, coverage_resources, find_person, patient_resource

TYPES = ("Patient", "Coverage", "ImagingStudy", "ExplanationOfBenefit", "Endpoint")
# Where a WADO address will be filled in: the holding does not know who asks, and how.
ADDRESS = "about:wado"


class Holding:
    """Resources of the chosen people. Thread-safe; readers get lists of their own."""

    def __init__(self, patients: Iterable[str], library: SampleArchive, seed: int) -> None:
        self._lock = threading.Lock()
        self._resources: dict[tuple[str, str], Resource] = {}
        self.people = tuple(_known(patient_id) for patient_id in patients)
        records = []
        for who in self.people:
            studies = [s for s in library.studies() if s.patient_id == who.id]
            self._add(patient_resource(who, "2015-02-03T10:11:12.345Z"))
            for resource in coverage_resources(who, "2015-11-20T04:05:06.789Z"):
                self._add(resource)
            for number, study in enumerate(studies, start=1):
                self._add(_study(who, study, number))
            record = ClaimGenerator(who, studies, seed).generate()
            for claim in record.claims:
                self._add(claim)
            records.append(record)
        self.truth: GroundTruth = ground_truth(records)

    def _add(self, resource: Resource) -> None:
        self._resources[(resource["resourceType"], resource["id"])] = resource

    def get(self, type_: str, id_: str) -> Resource | None:
        with self._lock:
            return self._resources.get((type_, id_))

    def of_type(self, type_: str, patient_id: str | None = None) -> list[Resource]:
        """All of a type (of one patient), in a stable order: newest event first."""
        with self._lock:
            found = [r for (kind, _), r in self._resources.items() if kind == type_]
        if patient_id is not None:
            found = [r for r in found if patient_of(r) == patient_id]
        return sorted(found, key=_newest_first, reverse=True)

    def put(self, resource: Resource, now: float) -> Resource:
        """Add or replace a resource; it gets a new version and ``meta.lastUpdated`` = now."""
        key = (resource["resourceType"], resource["id"])
        if key[0] not in TYPES:
            raise ValueError(f"the sandbox serves {', '.join(TYPES)}, not {key[0]}")
        with self._lock:
            old = self._resources.get(key)
            version = int(old["meta"]["versionId"]) + 1 if old else 1
            moment = dt.datetime.fromtimestamp(now, dt.UTC).isoformat(timespec="milliseconds")
            meta = {
                "versionId": str(version),
                "lastUpdated": moment.replace("+00:00", "Z"),
            }
            stored = {**resource, "meta": {**resource.get("meta", {}), **meta}}
            self._resources[key] = stored
            return stored

    def remove(self, reference: str) -> None:
        """Stop serving ``Type/id``; raises KeyError when it is not held."""
        type_, _, id_ = reference.partition("/")
        with self._lock:
            del self._resources[(type_, id_)]


def patient_of(resource: Resource) -> str:
    """The id of the patient that a resource is about, or an empty string."""
    if resource["resourceType"] == "Patient":
        return str(resource["id"])
    reference = (
        resource.get("patient") or resource.get("beneficiary") or resource.get("subject") or {}
    )
    return str(reference.get("reference", "")).rpartition("/")[2]


def with_address(resource: Resource, address: Callable[[str], str]) -> Resource:
    """The resource with its Endpoint's address filled in; ``address`` takes a patient id."""
    contained = resource.get("contained")
    if not contained or not any(c.get("address") == ADDRESS for c in contained):
        return resource
    real = address(patient_of(resource))
    filled = [{**c, "address": real} if c.get("address") == ADDRESS else c for c in contained]
    return {**resource, "contained": filled}


def _known(patient_id: str) -> Person:
    who = find_person(patient_id)
    if who is None:
        known = ", ".join(p.id for p in PEOPLE)
        raise ValueError(f"the sandbox has no patient {patient_id!r}; it has {known}")
    return who


def _study(who: Person, study: ArchivedStudy, number: int) -> Resource:
    # In the archive since some time after the visit, at the earliest since 2014.
    day = max(study.started[:10], f"2014-{number % 12 + 1:02d}-15")
    updated = f"{day}T{study.started[11:]}.{number:03d}Z"
    return imaging_study_resource(
        study, id_=f"study-{who.mrn}-{number}", updated=updated, address=ADDRESS
    )


def _newest_first(resource: Resource) -> tuple[str, str]:
    period = resource.get("billablePeriod") or {}
    moment = resource.get("started") or period.get("start") or resource["meta"]["lastUpdated"]
    return (str(moment), str(resource["id"]))
