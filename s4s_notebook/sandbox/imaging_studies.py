"""Held studies as FHIR STU3 ImagingStudy resources, each with its Endpoint inside."""

from __future__ import annotations

from .library import HeldSeries, HeldStudy
from .people import Resource

DICOM = "http://dicom.nema.org/resources/ontology/DCM"
ENDPOINT_ID = "wado-endpoint"


def endpoint(address: str, *, id_: str = ENDPOINT_ID) -> Resource:
    """A WADO-RS Endpoint; the seed's ``Endpoint.url`` is the standard's ``address``."""
    return {
        "resourceType": "Endpoint",
        "id": id_,
        "status": "active",
        "connectionType": {
            "system": "http://hl7.org/fhir/endpoint-connection-type",
            "code": "dicom-wado-rs",
        },
        "name": "Images of this patient by WADO-RS",
        "payloadType": [
            {
                "coding": [
                    {
                        "system": "urn:oid:1.3.6.1.4.1.19376.1.2.3",
                        "code": "dicom",
                        "display": "DICOM",
                    }
                ],
                "text": "DICOM",
            }
        ],
        "payloadMimeType": ["application/dicom"],
        "address": address,
    }


def imaging_study(
    study: HeldStudy, *, id_: str, updated: str, address: str, version: str = "1"
) -> Resource:
    """One ImagingStudy. ``address`` is where its images are served; unused if they are not."""
    made: Resource = {
        "resourceType": "ImagingStudy",
        "id": id_,
        "meta": {"versionId": version, "lastUpdated": updated},
        "uid": f"urn:oid:{study.uid}",
        "availability": "ONLINE" if study.available else "UNAVAILABLE",
        "patient": {"reference": f"Patient/{study.patient_id}"},
        "numberOfSeries": len(study.series),
        "numberOfInstances": study.instance_count,
    }
    # FHIR allows no empty text and no empty list, and archives leave much out.
    if study.description:
        made["description"] = study.description
    if study.series:
        made["modalityList"] = [{"system": DICOM, "code": code} for code in study.modalities]
        made["series"] = [_series(series) for series in study.series]
    if study.started:
        # FHIR wants a zone on a time; DICOM has none here, and the hospital keeps UTC.
        made["started"] = f"{study.started}+00:00"
    if study.accession:
        made["accession"] = {"system": "urn:oid:2.25.7461", "value": study.accession}
    if study.available:
        made["contained"] = [endpoint(address)]
        made["endpoint"] = [{"reference": f"#{ENDPOINT_ID}"}]
    return made


def _series(series: HeldSeries) -> Resource:
    made: Resource = {
        "uid": f"urn:oid:{series.uid}",
        "number": series.number,
        "modality": {"system": DICOM, "code": series.modality},
        "numberOfInstances": len(series.instances),
        "availability": "ONLINE" if series.instances else "UNAVAILABLE",
    }
    if series.description:
        made["description"] = series.description
    if series.body_site:
        made["bodySite"] = {"system": "http://snomed.info/sct", "display": series.body_site.title()}
    # STU3 wants a SOP class for each instance, and some archives do not tell it.
    if series.instances and all(instance.sop_class for instance in series.instances):
        made["instance"] = [
            {
                "uid": f"urn:oid:{instance.uid}",
                "number": instance.number,
                "sopClass": f"urn:oid:{instance.sop_class}",
            }
            for instance in series.instances
        ]
    return made
