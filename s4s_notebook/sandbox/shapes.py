"""A held resource as the holder's personality writes it, with the caller's WADO address."""

from __future__ import annotations

import hashlib

from .data.archive import ENDPOINT_ID, endpoint_resource, imaging_study_resource
from .data.people import Resource
from .holding import ADDRESS
from .state import Archive, State, instant

TOKEN_EXTENSION = "http://hl7.org/fhir/smart-app-launch/StructureDefinition/requires-access-token"  # noqa: S105 - a name


def shaped(resource: Resource, state: State, *, open_: bool) -> Resource:
    """The resource as this holder sends it. The held one is not changed."""
    if resource["resourceType"] == "ImagingStudy":
        return _study(resource, state, open_=open_)
    return resource


def endpoints_of(state: State, patients: tuple[str, ...] | None, *, open_: bool) -> list[Resource]:
    """The Endpoint of each patient, as a resource of its own."""
    known = [who.id for who in state.holding.people]
    wanted = known if patients is None else [p for p in known if p in patients]
    return [_endpoint(state, patient_id, open_=open_) for patient_id in wanted]


def archived(archive: Archive, patients: tuple[str, ...]) -> list[Resource]:
    """The studies that a PACS has of some patients. Raises NotReadyError or UpstreamError."""
    return [
        imaging_study_resource(
            study,
            # A UID may be longer than a FHIR id.
            id_="study-" + hashlib.sha256(study.uid.encode()).hexdigest()[:24],
            updated=instant(changed),
            address=ADDRESS,
            version=str(version),
        )
        for patient_id in patients
        for study, changed, version in archive.listing(patient_id)
    ]


def _endpoint(state: State, patient_id: str, *, open_: bool) -> Resource:
    made = endpoint_resource(state.wado_base(patient_id, open_=open_), id_=f"wado-{patient_id}")
    made["meta"] = {"versionId": "1", "lastUpdated": "2015-02-03T10:11:12.345Z"}
    if state.personality.token_extension:
        made["extension"] = [{"url": TOKEN_EXTENSION, "valueBoolean": not open_}]
    return made


def _study(resource: Resource, state: State, *, open_: bool) -> Resource:
    quirks = state.personality
    patient_id = str(resource["patient"]["reference"]).rpartition("/")[2]
    made = dict(resource)
    contained = made.get("contained")
    ours = contained is not None and any(c.get("address") == ADDRESS for c in contained)
    if ours and contained is not None:
        address = state.wado_base(patient_id, open_=open_)
        if quirks.address_with_study:
            address += "/studies/" + str(made["uid"]).removeprefix("urn:oid:")
        made["contained"] = [
            {**c, "address": address} if c.get("address") == ADDRESS else c for c in contained
        ]
        if quirks.raw_wado_reference:
            made["endpoint"] = [{"reference": f"#{ENDPOINT_ID}"}, {"reference": address}]
        if quirks.external_endpoint:
            del made["contained"]
            made["endpoint"] = [{"reference": f"Endpoint/wado-{patient_id}"}]
    if quirks.zoneless_started:
        made["started"] = str(made["started"])[:19]
    if quirks.bare_resources:
        for name in ("id", "meta", "series"):
            made.pop(name, None)
    return _as_r4(made) if quirks.r4_studies else made


_R4_STATUS = {"ONLINE": "available", "UNAVAILABLE": "cancelled"}


def _as_r4(study: Resource) -> Resource:
    """The same study in R4: identifier for uid, subject for patient, status for availability."""
    made: Resource = {
        name: study[name]
        for name in (
            "resourceType",
            "id",
            "meta",
            "contained",
            "endpoint",
            "started",
            "numberOfSeries",
            "numberOfInstances",
            "description",
        )
        if name in study
    }
    made["identifier"] = [{"system": "urn:dicom:uid", "value": study["uid"]}]
    if "accession" in study:
        made["identifier"].append({**study["accession"], "type": {"coding": [{"code": "ACSN"}]}})
    made["status"] = _R4_STATUS.get(study["availability"], "available")
    if "modalityList" in study:
        made["modality"] = study["modalityList"]
    made["subject"] = study["patient"]
    if "series" in study:
        made["series"] = [_series_as_r4(series) for series in study["series"]]
    return made


def _series_as_r4(series: Resource) -> Resource:
    made = {k: v for k, v in series.items() if k not in ("uid", "availability", "instance")}
    made["uid"] = str(series["uid"]).removeprefix("urn:oid:")
    if "instance" in series:
        made["instance"] = [
            {
                "uid": str(i["uid"]).removeprefix("urn:oid:"),
                "number": i["number"],
                "sopClass": {"system": "urn:ietf:rfc:3986", "code": i["sopClass"]},
            }
            for i in series["instance"]
        ]
    return made
