"""The FHIR resources of the sandbox: the store, and how a data holder represents them."""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence

from .data.archive import (
    ENDPOINT_ID,
    ArchivedStudy,
    SampleArchive,
    endpoint_resource,
    imaging_study_resource,
)
from .data.carin_claims import CARIN
from .data.carin_parties import member_coverages, member_resource, party_resources
from .data.claims import MEDICARE
from .data.history import ClaimGenerator, ClaimHistory, GroundTruth, ImageTruth, ground_truth
from .data.people import PEOPLE, Person, Resource, coverage_resources, find_person, patient_resource
from .data.r4 import as_r4
from .settings import PLAN_TYPES, TYPES, Personality

# Replaced by the WADO-RS base when a resource is sent: it depends on the request.
ADDRESS = "about:wado"
# Resources about no patient, which everybody may read whose approval covers the type.
SHARED_TYPES = ("Practitioner", "Organization")


class ResourceStore:
    """The FHIR resources of some participants by type and id; thread-safe.

    Attributes:
        people: The participants.
        truth: Which claim line paid for which study, and true values in the images.
    """

    def __init__(
        self, patients: Iterable[str], library: SampleArchive, seed: int, *, carin: bool = False
    ) -> None:
        self._lock = threading.Lock()
        self._resources: dict[tuple[str, str], Resource] = {}
        self.people = tuple(_person(patient_id) for patient_id in patients)
        records: list[ClaimHistory] = []
        images: list[ImageTruth] = []
        for person in self.people:
            studies = [s for s in library.studies() if s.patient_id == person.id]
            patient, coverages = (
                (member_resource, member_coverages)
                if carin
                else (patient_resource, coverage_resources)
            )
            self._add(patient(person, "2015-02-03T10:11:12.345Z"))
            for resource in coverages(person, "2015-11-20T04:05:06.789Z"):
                self._add(resource)
            for number, study in enumerate(studies, start=1):
                self._add(_study_resource(person, study, number))
            images += [t for s in studies for t in _image_truths(s)]
            forms = CARIN if carin else MEDICARE
            record = ClaimGenerator(person, studies, seed, forms).generate()
            for claim in record.claims:
                self._add(claim)
            records.append(record)
        for resource in party_resources() if carin else ():
            self._add(resource)
        self.truth: GroundTruth = ground_truth(records, images)

    def _add(self, resource: Resource) -> None:
        self._resources[(resource["resourceType"], resource["id"])] = resource

    def of_type(self, type_: str, patient_id: str | None = None) -> list[Resource]:
        """Return all resources of a type (of one patient), newest event first."""
        with self._lock:
            resources = [r for (kind, _), r in self._resources.items() if kind == type_]
        if patient_id is not None:
            resources = [r for r in resources if patient_of(r) == patient_id]
        return sorted(resources, key=_event_time, reverse=True)

    def put(self, resource: Resource, now: float) -> Resource:
        """Add or replace a resource, with a new version and ``meta.lastUpdated``.

        Args:
            resource: The resource, with ``resourceType`` and ``id``.
            now: POSIX time for ``meta.lastUpdated``.

        Returns:
            The resource as stored.

        Raises:
            ValueError: The sandbox does not serve this resource type.
        """
        key = (resource["resourceType"], resource["id"])
        types = dict.fromkeys((*TYPES, *PLAN_TYPES))
        if key[0] not in types:
            raise ValueError(f"the sandbox serves {', '.join(types)}, not {key[0]}")
        with self._lock:
            old = self._resources.get(key)
            version = int(old["meta"]["versionId"]) + 1 if old else 1
            meta = {"versionId": str(version), "lastUpdated": instant(now)}
            stored = {**resource, "meta": {**resource.get("meta", {}), **meta}}
            self._resources[key] = stored
            return stored

    def remove(self, reference: str) -> None:
        """Stop serving ``Type/id``.

        Raises:
            KeyError: There is no such resource.
        """
        type_, _, id_ = reference.partition("/")
        with self._lock:
            del self._resources[(type_, id_)]


def patient_of(resource: Resource) -> str:
    """Return the id of the patient that a resource is about, or an empty string."""
    if resource["resourceType"] == "Patient":
        return str(resource["id"])
    reference = (
        resource.get("patient") or resource.get("beneficiary") or resource.get("subject") or {}
    )
    return str(reference.get("reference", "")).rpartition("/")[2]


def about_patients(resources: Sequence[Resource], patients: Sequence[str]) -> list[Resource]:
    """Return the resources that are about one of some patients."""
    ids = set(patients)
    return [resource for resource in resources if patient_of(resource) in ids]


def instant(time: float) -> str:
    """Return a POSIX time as a FHIR instant with milliseconds."""
    moment = dt.datetime.fromtimestamp(time, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _person(patient_id: str) -> Person:
    person = find_person(patient_id)
    if person is None:
        ids = ", ".join(p.id for p in PEOPLE)
        raise ValueError(f"the sandbox has no patient {patient_id!r}; it has {ids}")
    return person


def _image_truths(study: ArchivedStudy) -> list[ImageTruth]:
    truths = study.phantom.truth if study.phantom else ()
    return [ImageTruth(study.patient_id, study.uid, *truth) for truth in truths]


def _study_resource(person: Person, study: ArchivedStudy, number: int) -> Resource:
    # In the archive since some time after the visit, at the earliest since 2014.
    day = max(study.started[:10], f"2014-{number % 12 + 1:02d}-15")
    updated = f"{day}T{study.started[11:]}.{number:03d}Z"
    return imaging_study_resource(
        study, id_=f"study-{person.mrn}-{number}", updated=updated, address=ADDRESS
    )


def _event_time(resource: Resource) -> tuple[str, str]:
    period = resource.get("billablePeriod") or {}
    moment = resource.get("started") or period.get("start") or resource["meta"]["lastUpdated"]
    return (str(moment), str(resource["id"]))


TOKEN_EXTENSION = "http://hl7.org/fhir/smart-app-launch/StructureDefinition/requires-access-token"  # noqa: S105 - a name


def represent(
    resource: Resource, personality: Personality, wado_base: Callable[[str], str]
) -> Resource:
    """Return a stored resource as the data holder sends it.

    Args:
        resource: The stored resource; it is not changed.
        personality: The deviations of the data holder.
        wado_base: Returns the WADO-RS base for a patient id.
    """
    if personality.carin:
        return resource
    if resource["resourceType"] != "ImagingStudy":
        return as_r4(resource) if personality.r4 else resource
    study = dict(resource)
    contained: list[Resource] = study.get("contained") or []
    if any(c.get("address") == ADDRESS for c in contained):
        patient_id = patient_of(resource)
        address = wado_base(patient_id)
        if personality.address_with_study:
            address += "/studies/" + str(study["uid"]).removeprefix("urn:oid:")
        study["contained"] = [
            {**c, "address": address} if c.get("address") == ADDRESS else c for c in contained
        ]
        if personality.raw_wado_reference:
            study["endpoint"] = [{"reference": f"#{ENDPOINT_ID}"}, {"reference": address}]
        if personality.external_endpoint:
            del study["contained"]
            study["endpoint"] = [{"reference": f"Endpoint/wado-{patient_id}"}]
    if personality.zoneless_started:
        study["started"] = str(study["started"])[:19]
    if personality.bare_resources:
        for name in ("id", "meta", "series"):
            study.pop(name, None)
    return as_r4(study) if personality.r4 else study


def endpoint_resources(
    patients: Sequence[str],
    personality: Personality,
    wado_base: Callable[[str], str],
    *,
    token_needed: bool,
) -> list[Resource]:
    """Return the Endpoint of each patient as a resource of its own."""
    endpoints = []
    for patient_id in patients:
        endpoint = endpoint_resource(wado_base(patient_id), id_=f"wado-{patient_id}")
        endpoint["meta"] = {"versionId": "1", "lastUpdated": "2015-02-03T10:11:12.345Z"}
        if personality.token_extension:
            endpoint["extension"] = [{"url": TOKEN_EXTENSION, "valueBoolean": token_needed}]
        endpoints.append(as_r4(endpoint) if personality.r4 else endpoint)
    return endpoints


def archive_resources(entries: Iterable[tuple[ArchivedStudy, float, int]]) -> list[Resource]:
    """Return the ImagingStudy of each (study, POSIX time of its last change, version)."""
    return [
        imaging_study_resource(
            study,
            # A UID may be longer than a FHIR id.
            id_="study-" + hashlib.sha256(study.uid.encode()).hexdigest()[:24],
            updated=instant(changed),
            address=ADDRESS,
            version=str(version),
        )
        for study, changed, version in entries
    ]
