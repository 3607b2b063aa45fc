"""Small claims and studies, written by hand in both versions, for the tests of one thing."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from s4s_notebook.sandbox.data.archive import SampleArchive
from s4s_notebook.sandbox.resources import ResourceStore

BB = "https://bluebutton.cms.gov/resources/"
HCPCS = BB + "codesystem/hcpcs"
PEOPLE = ("smart-1288992", "smart-1137192", "smart-1551992")


@cache
def _holding() -> ResourceStore:
    return ResourceStore(PEOPLE, SampleArchive(PEOPLE), 1)


def holding() -> ResourceStore:
    """What the sandbox holds, with the truth about which claim paid for which study."""
    return _holding()


def held(*types: str) -> list[dict[str, Any]]:
    """The sandbox's resources of these types, as copies."""
    return copy.deepcopy([one for type_ in types for one in holding().of_type(type_)])


def amount(variable: str, value: Any, general: str = "", currency: str = "USD") -> dict[str, Any]:
    """An adjudication; with a general code, as CMS's R4 server gives it."""
    codings = [{"system": BB + "codesystem/adjudication", "code": BB + "variables/" + variable}]
    if general:
        system = "http://terminology.hl7.org/CodeSystem/adjudication"
        codings.insert(0, {"system": system, "code": general})
        money = {"value": value, "currency": currency}
    else:
        money = {"value": value, "system": "urn:iso:std:iso:4217", "code": currency}
    return {"category": {"coding": codings}, "amount": money}


def claim(id_: str = "carrier-1", kind: str = "CARRIER", **more: Any) -> dict[str, Any]:
    """A claim with what every claim has."""
    return {
        "resourceType": "ExplanationOfBenefit",
        "id": id_,
        "type": {"coding": [{"system": BB + "codesystem/eob-type", "code": kind}]},
        "patient": {"reference": "Patient/p1"},
        "billablePeriod": {"start": "2018-01-02", "end": "2018-01-05"},
        **more,
    }


def study(**more: Any) -> dict[str, Any]:
    """A study with what every study has, in STU3."""
    return {
        "resourceType": "ImagingStudy",
        "id": "s1",
        "uid": "urn:oid:1.2.3",
        "patient": {"reference": "Patient/p1"},
        "started": "2017-01-01T23:30:00-05:00",
        **more,
    }
