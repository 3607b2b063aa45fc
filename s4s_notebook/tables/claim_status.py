"""What kind of claim it is, which version of it, and whether that is the last word.

CMS says it by type, action, query and adjustment codes and a tag; others by type, subtype, type of
bill, status and related claims.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..fhir.resources import objects
from .coded import bill_type
from .extract import codes_of, codings, compile_paths, meaning, usable

_FIXED_TYPES = {
    **dict.fromkeys(("1", "2", "3", "4"), "PDE"),
    **dict.fromkeys(("10", "1032", "1033", "1039", "1042", "1066", "1092"), "HHA"),
    **dict.fromkeys(("20", "30", "1018", "1021"), "SNF"),
    **dict.fromkeys(("50", "1081", "1082", "1091", "1098", "1900"), "HOSPICE"),
    **dict.fromkeys(("60", "61", "62", "63", "64", "1011", "1041", "1069"), "INPATIENT"),
    **dict.fromkeys(("71", "72", "1700"), "CARRIER"),
    **dict.fromkeys(("81", "82", "1800"), "DME"),
    **dict.fromkeys(("1019", "1029"), ""),
    "40": "OUTPATIENT",
}
_CLAIM_IDS = {"clm_id", "pde_id"}
_KIND_OF_TYPE = {"CARRIER": "PROFESSIONAL", "PDE": "PHARMACY"}
_VERSIONS = {"0": "original", "1": "void", "2": "replacement", "3": "adjustment",
             "4": "adjustment", "5": "adjustment"}  # fmt: skip
_ACTIONS = {"1": "original", "2": "void", "3": "adjustment", "4": "void"}
_FREQUENCIES = {"7": "replacement", "8": "void"}
_QUERIES = {"0": "void"}
_DELETIONS = {"A": "adjustment", "D": "void"}
_DRUG_VERSIONS = {"1": "original", "2": "adjustment", "3": "void", "4": "replacement"}
_NOT_FINAL = {"cancelled", "entered-in-error", "draft"}
_INFO, _BILL = "supportingInfo[category=%s].code", "typeofbill"
_PATHS: dict[str, tuple[str, ...]] = {
    "type": ("type.coding[system=eob-type].code",),
    "nch": ("type.coding[system=nch_clm_type_cd].code",),
    "number": ("type.coding[system=clm_type_cd].code",),
    "bill": (_INFO % _BILL,),
    "facility": (
        "facility.extension[url=clm_fac_type_cd].valueCoding.code",
        "extension[url=clm_fac_type_cd].valueCoding.code",
    ),
    "service": (
        "type.coding[system=clm_srvc_clsfctn_type_cd].code",
        "extension[url=clm_srvc_clsfctn_type_cd].valueCoding.code",
    ),
    "frequency": (
        "information.code.coding[system=clm_freq_cd].code",
        "supportingInfo.code.coding[system=clm_freq_cd].code",
    ),
    "action": ("extension[url=fi_clm_actn_cd,clm_fi_actn_cd].valueCoding.code",),
    "query": ("billablePeriod.extension[url=claim_query_cd,clm_query_cd].valueCoding.code",),
    "deletion": (
        "information.code.coding[system=adjstmt_dltn_cd].code",
        "supportingInfo.code.coding[system=adjstmt_dltn_cd].code",
    ),
    "adjusted": (f"{_INFO % 'CLM_ADJSTMT_TYPE_CD'}.coding.code",),
    "paid": (f"{_INFO % 'CLM_PD_STUS_CD'}.coding.code",),
    "tag": ("meta.tag[system=final-action].code",),
}
_read = compile_paths(list(_PATHS.values()), set(), None)


class Said(NamedTuple):
    """What a claim says of its type and version, as given; text or None, the bill a concept."""

    type: str | None
    nch: str | None
    number: str | None
    bill: Any
    facility: str | None
    service: str | None
    frequency: str | None
    action: str | None
    query: str | None
    deletion: str | None
    adjusted: str | None
    paid: str | None
    tag: str | None

    def bill_type(self) -> str | None:
        """Return the type of bill in four characters: as stated, else from its digits."""
        stated = bill_type(coding.get("code") for coding in codings(self.bill))
        if stated is not None or self.facility is None or self.service is None:
            return stated
        return f"0{self.facility}{self.service}{self.frequency or ''}"


def said_of(eob: Mapping[str, Any]) -> Said:
    """Return what a claim says of its type and version."""
    row: list[Any] = [None] * len(_PATHS)
    _read(eob, row, lambda *_: None)
    bill = row[3]
    row = [value if type(value) is str else None for value in row]
    row[3] = bill
    return Said(*row)


def _type(said: Said) -> str:
    """Return which of CMS's eight types of claim it is; by the NCH type where none is stated."""
    return said.type or _type_of_number(said.nch or said.number or "")


def cms_claim_id(eob: Mapping[str, Any]) -> str | None:
    """Return CMS's own identifier of a claim, which no two claims share."""
    for identifier in objects(eob.get("identifier")):
        if meaning(str(identifier.get("system"))) in _CLAIM_IDS and usable(identifier.get("value")):
            return str(identifier["value"])
    return None


def unique_id(eob: Mapping[str, Any]) -> str | None:
    """Return the claim identifier: of a known system, else the first of type uc, else the only."""
    known = cms_claim_id(eob)
    if known is not None:
        return known
    identifiers = [i for i in objects(eob.get("identifier")) if usable(i.get("value"))]
    for identifier in identifiers:
        if any(c.get("code") == "uc" for c in codings(identifier.get("type"))):
            return str(identifier["value"])
    plain = [i for i in identifiers if i.get("type") is None]
    return str(plain[0]["value"]) if len(identifiers) == len(plain) == 1 else None


def _type_of_number(code: str) -> str:
    """Return the type of a CLM_TYPE_CD; those from 2000 on are as those from 1000."""
    number = f"1{code[1:]}" if len(code) == 4 and code.startswith("2") else code
    found = _FIXED_TYPES.get(number)
    if found is None:
        found = "OUTPATIENT" if len(number) == 4 and number.startswith("10") else ""
    return found


def _kind(eob: Mapping[str, Any], type_: str, bill: Any) -> str | None:
    """Return the kind of claim for every payer."""
    if type_:
        return _KIND_OF_TYPE.get(type_, type_)
    codes = codes_of(eob.get("type"))
    subtypes = codes_of(eob.get("subType"))
    for code in ("professional", "pharmacy", "oral", "vision"):
        if code in codes:
            return code.upper()
    if "institutional" not in codes:
        return None
    if type(bill) is str and len(bill) == 4:
        stay = {"02": "SNF", "18": "SNF", "03": "HHA"}.get(bill[:2])
        stay = "SNF" if bill[1:3] == "18" else "HOSPICE" if bill[1:3] in {"81", "82"} else stay
        if stay:
            return stay
    if "inpatient" in subtypes:
        return "INPATIENT"
    if "outpatient" in subtypes:
        return "OUTPATIENT"
    inside = {"011": "INPATIENT", "012": "INPATIENT"}
    return inside.get(bill[:3], "OUTPATIENT") if type(bill) is str and len(bill) == 4 else None


class Status(NamedTuple):
    """What the lines copy from their claim."""

    type: str
    kind: str | None
    use: Any
    status: Any
    is_final: bool | None
    version: str | None
    bill: str | None


def status_of(eob: Mapping[str, Any]) -> Status:
    """Return kind, version and finality of a claim."""
    said = said_of(eob)
    bill = said.bill_type()
    type_ = _type(said)
    return Status(
        type_,
        _kind(eob, type_, bill),
        eob.get("use"),
        eob.get("status"),
        _final(eob, said),
        _version(eob, said, bill),
        bill,
    )


def _related(eob: Mapping[str, Any], relationship: str) -> bool:
    return any(
        relationship in codes_of(related.get("relationship"))
        for related in objects(eob.get("related"))
    )


def _version(eob: Mapping[str, Any], said: Said, bill: str | None) -> str | None:
    """Return whether a claim is an original, a replacement, an adjustment or a void."""
    frequency = bill[3:] if bill is not None else said.frequency
    original = frequency == "1"
    for stated, meanings in (
        (said.adjusted, _VERSIONS),
        (frequency, _FREQUENCIES),
        (said.deletion, _DELETIONS),
        (said.action, _ACTIONS),
        (said.query, _QUERIES),
        (said.number, _DRUG_VERSIONS),
    ):
        version = meanings.get(stated) if stated else None
        if version is not None and version != "original":
            return version
        original = original or version is not None
    if "related" in eob and _related(eob, "prior"):
        return "replacement"
    return "original" if original else None


def _final(eob: Mapping[str, Any], said: Said) -> bool | None:
    """Return whether no other version of the claim counts instead.

    CMS's third version calls every claim active, cancelled ones too: its tag and its codes decide.
    """
    status = eob.get("status")
    if type(status) is str and status in _NOT_FINAL:
        return False
    if said.tag is not None:
        return meaning(said.tag) == "finalaction"
    if said.number == "3" or said.adjusted == "1" or said.paid in {"1", "2", "S"}:
        return False
    if "related" in eob and _related(eob, "replacedby"):
        return False
    if said.number is not None and said.adjusted is None and said.paid is None:
        return True if said.number in {"1", "2", "4"} else None
    return True if status == "active" else None
