"""What repeats without limit within a claim or a coverage: one row per member, nothing left out.

:data:`LONG_TABLES` are built by :func:`s4s_notebook.tables.build` as the others are. They carry
what the columns of the wide tables have no room for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from ..fhir.resources import objects, read_reference
from .builder import Amend, Emit, Kind, Notes
from .columns import LONG_TABLES
from .extract import Report, codings, first_code, inner, is_variable, listed, meaning
from .npi import is_valid_npi, number_of
from .providers import TYPES as PROVIDER_TYPES
from .providers import (
    Directory,
    complete_team,
    contained_providers,
    read_provider,
    resolve,
    taxonomy_of,
)
from .rows import Rows, Table
from .values import preferred

Row = dict[str, Any]

TABLES = {name: Table(name, by_hand=[c.name for c in LONG_TABLES[name]]) for name in LONG_TABLES}


def rows_of(name: str, read: Callable[[Mapping[str, Any], str], Iterable[Row]]) -> Emit:
    """Return the reader of a long table from what yields its rows as mappings."""
    table = TABLES[name]
    owner = "coverage_id" if name == "coverage_classes" else "claim_id"

    def emit(resource: dict[str, Any], key: str, rows: Rows, _report: Report) -> None:
        patient = inner(resource, "patient", "reference")
        if owner == "coverage_id":
            patient = inner(resource, "beneficiary", "reference")
        for values in read(resource, key):
            row = table.blank.copy()
            for column, value in values.items():
                row[table.at[column]] = value
            if owner in table.at:
                row[table.at[owner]], row[table.at["patient_id"]] = key, patient
            rows.add(row)

    return emit


def _system(concept: Any) -> Any:
    return next((c.get("system") for c in codings(concept) if c.get("code") is not None), None)


def _words(concept: Any) -> Any:
    text = concept.get("text") if type(concept) is dict else None
    displays = (c["display"] for c in codings(concept) if c.get("display") is not None)
    return text if text is not None else next(displays, None)


def _supporting_info(eob: Mapping[str, Any], _key: str) -> Iterator[Row]:
    listed_ = [*objects(eob.get("supportingInfo")), *objects(eob.get("information"))]
    for index, info in enumerate(listed_, 1):
        category = codings(info.get("category"))
        general = [c for c in category if not _is_variable(c.get("code"))]
        variables = [c for c in category if _is_variable(c.get("code"))]
        period, day = info.get("timingPeriod"), info.get("timingDate")
        reason = info.get("reason")
        yield {
            "info_index": index,
            "sequence": info.get("sequence"),
            "category": next((c.get("code") for c in general), None),
            "category_system": next((c.get("system") for c in (*general, *variables)), None),
            "variable": next((meaning(c["code"]) for c in variables), None),
            "code": first_code(info.get("code")),
            "code_system": _system(info.get("code")),
            "display": _words(info.get("code")),
            "start": inner(info, "timingPeriod", "start") if period is not None else day,
            "end": inner(info, "timingPeriod", "end") if period is not None else day,
            "value": inner(info, "valueQuantity", "value"),
            "unit": _unit(info.get("valueQuantity")),
            "text": info.get("valueString"),
            "flag": info.get("valueBoolean"),
            "reference": inner(info, "valueReference", "reference"),
            "reason": first_code(reason) or next((r.get("code") for r in objects(reason)), None),
        }


def _is_variable(code: Any) -> bool:
    return type(code) is str and is_variable(code)


def _unit(quantity: Any) -> Any:
    if type(quantity) is not dict:
        return None
    unit = quantity.get("unit")
    return unit if unit is not None else quantity.get("code")


def _care_team(eob: Mapping[str, Any], key: str) -> Iterator[Row]:
    contained = contained_providers(eob)
    for index, member in enumerate(objects(eob.get("careTeam")), 1):
        reference = next(iter(objects(member.get("provider"))), {})
        provider = resolve(reference, contained).provider
        qualification = codings(member.get("qualification"))
        roles = [c["code"] for c in codings(member.get("role")) if c.get("code") is not None]
        yield {
            "member_index": index,
            "sequence": member.get("sequence"),
            "role": next(iter(roles), None),
            "role_2": roles[1] if len(roles) > 1 else None,
            "responsible": member.get("responsible"),
            "provider_id": _provider_id(reference, key, provider.npi),
            "provider_kind": provider.kind,
            "npi": provider.npi,
            "npi_valid": is_valid_npi(provider.npi),
            "name": reference.get("display") or provider.name,
            "taxonomy": taxonomy_of(member.get("qualification")) or provider.taxonomy,
            "specialty": next((c.get("code") for c in qualification if not _is_taxonomy(c)), None),
        }


def _is_taxonomy(coding: Mapping[str, Any]) -> bool:
    return taxonomy_of({"coding": [coding]}) is not None


def _contained(resource: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"#{one['id']}": one for one in objects(resource.get("contained")) if "id" in one}


def _provider_id(reference: Mapping[str, Any], key: str, npi: str | None) -> str | None:
    """Return the key of a provider that a claim refers to, as in the table providers."""
    text = reference.get("reference")
    if type(text) is str and text.strip() and "?" not in text:
        target = read_reference(text)
        if target.contained:
            return f"{key}#{target.id}"
        return f"{target.type}/{target.id}" if target.type else text.strip()
    return f"npi:{npi}" if npi else None


def _providers(eob: Mapping[str, Any], key: str) -> Iterator[Row]:
    """Yield the providers that stand within a claim."""
    for reference, resource in _contained(eob).items():
        if resource.get("resourceType") in PROVIDER_TYPES:
            yield {**provider_row(resource), "provider_id": f"{key}{reference}"}
    teams = [member.get("provider") for member in objects(eob.get("careTeam"))]
    alone = [eob.get(element) for element in ("provider", "facility", "organization", "insurer")]
    for named in (one for value in (*alone, *teams) for one in objects(value)):
        provider, elsewhere = resolve(named, {})
        text = named.get("reference")
        if provider.npi and elsewhere is None and not (type(text) is str and text.startswith("#")):
            yield {
                "provider_id": f"npi:{provider.npi}",
                "kind": provider.kind,
                "npi": provider.npi,
                "npi_valid": is_valid_npi(provider.npi),
                "name": provider.name,
            }


def provider_row(resource: Mapping[str, Any]) -> Row:
    """Return the row of a Practitioner or an Organization."""
    identifiers = resource.get("identifier")
    provider = read_provider(resource)
    address = next(iter(preferred(resource.get("address"))), {})
    return {
        "provider_id": f"{provider.kind}/{resource.get('id')}",
        "kind": provider.kind,
        "npi": provider.npi,
        "npi_valid": is_valid_npi(provider.npi),
        "ccn": number_of(identifiers, "ccn"),
        "payer_id": number_of(identifiers, "payerid"),
        "naic": number_of(identifiers, "naiccode", "naic"),
        "clia": number_of(identifiers, "clia"),
        "name": provider.name,
        "type": next((first_code(t) for t in objects(resource.get("type"))), None),
        "taxonomy": provider.taxonomy,
        "state": address.get("state"),
        "zip": address.get("postalCode"),
    }


def _of_resource(resource: Mapping[str, Any], _key: str) -> Iterator[Row]:
    yield provider_row(resource)


def _fill_care_team(frame: pd.DataFrame, _notes: Notes, directory: Directory) -> None:
    complete_team(frame, directory)


def _each_once(frame: pd.DataFrame, _notes: Notes, _directory: Directory) -> pd.DataFrame:
    """Leave each provider of a participant once: claims repeat them."""
    keys = [c for c in ("participant", "provider_id") if c in frame]
    return frame.drop_duplicates(keys, ignore_index=True)


def _identifiers(eob: Mapping[str, Any], _key: str) -> Iterator[Row]:
    for index, one in enumerate(objects(eob.get("identifier")), 1):
        code = first_code(one.get("type"))
        yield {
            "identifier_index": index,
            "type": code,
            "system": one.get("system"),
            "value": one.get("value"),
        }


def _related(eob: Mapping[str, Any], _key: str) -> Iterator[Row]:
    for index, one in enumerate(objects(eob.get("related")), 1):
        yield {
            "related_index": index,
            "relationship": first_code(one.get("relationship")),
            "identifier": inner(one, "reference", "value"),
            "system": inner(one, "reference", "system"),
            "related_claim_id": inner(one, "claim", "reference"),
        }


def _insurance(eob: Mapping[str, Any], _key: str) -> Iterator[Row]:
    for index, one in enumerate(objects(eob.get("insurance")), 1):
        yield {
            "insurance_index": index,
            "focal": one.get("focal"),
            "coverage_id": inner(one, "coverage", "reference"),
            "display": inner(one, "coverage", "display"),
        }


_GROUPINGS = ("group", "subGroup", "plan", "subPlan", "class", "subClass")


def _coverage_classes(coverage: Mapping[str, Any], _key: str) -> Iterator[Row]:
    rows = [
        (first_code(one.get("type")), one.get("value"), one.get("name"))
        for one in objects(coverage.get("class"))
    ]
    for grouping in objects(coverage.get("grouping")):
        rows += [
            (element.lower(), grouping.get(element), grouping.get(f"{element}Display"))
            for element in _GROUPINGS
            if element in grouping or f"{element}Display" in grouping
        ]
    for index, (type_, value, name) in enumerate(rows, 1):
        yield {"class_index": index, "type": type_, "value": value, "name": name}


def _lines(eob: Mapping[str, Any]) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Yield what names a line, and the line."""
    every = [*listed(eob, "item"), *listed(eob, "addItem")]
    for index, line in enumerate(every, 1):
        if type(line) is dict:
            yield {"line_index": index, "line_number": line.get("sequence")}, line


_LINKS = {
    "care_team": ("careTeamSequence", "careTeamLinkId"),
    "diagnosis": ("diagnosisSequence", "diagnosisLinkId"),
    "procedure": ("procedureSequence", "procedureLinkId"),
    "information": ("informationSequence", "informationLinkId"),
}


def _line_links(eob: Mapping[str, Any], _key: str) -> Iterator[Row]:
    for names, line in _lines(eob):
        for kind, elements in _LINKS.items():
            for sequence in (s for element in elements for s in listed(line, element)):
                yield {**names, "kind": kind, "sequence": sequence}


def _details(eob: Mapping[str, Any], _key: str) -> Iterator[Row]:
    for names, line in _lines(eob):
        for index, detail in enumerate(objects(line.get("detail")), 1):
            yield {**names, "detail_index": index, **_detail(detail)}
            for below, sub in enumerate(objects(detail.get("subDetail")), 1):
                yield {**names, "detail_index": index, "subdetail_index": below, **_detail(sub)}


_AMOUNTS = {
    "submitted": "submitted_charge_amount",
    "eligible": "allowed_charge_amount",
    "benefit": "payer_paid_amount",
}


def _detail(detail: Mapping[str, Any]) -> Row:
    service = detail.get("productOrService", detail.get("service"))
    ndc = next((c.get("code") for c in codings(service) if _is_ndc(c)), None)
    moneys: Row = {}
    currency = None
    for one in objects(detail.get("adjudication")):
        codes = [c.get("code") for c in codings(one.get("category"))]
        amount = next(iter(objects(one.get("amount"))), {})
        column = next((_AMOUNTS[c] for c in codes if type(c) is str and c in _AMOUNTS), None)
        if column and not any(_is_variable(c) for c in codes):
            moneys.setdefault(column, amount.get("value"))
            currency = currency or amount.get("currency") or amount.get("code")
    return {
        "detail_number": detail.get("sequence"),
        "code": first_code(service),
        "code_system": _system(service),
        "display": _words(service),
        "ndc_code": ndc_11(ndc),
        "ndc_given": ndc,
        "type": first_code(detail.get("type")),
        "revenue_center": _padded(first_code(detail.get("revenue"))),
        "modifiers": _modifiers(detail),
        "quantity": inner(detail, "quantity", "value"),
        "unit": _unit(detail.get("quantity")),
        "currency": currency
        or inner(detail, "net", "currency")
        or inner(detail, "unitPrice", "currency"),
        "unit_price_amount": inner(detail, "unitPrice", "value"),
        "net_amount": inner(detail, "net", "value"),
        **moneys,
    }


def _modifiers(detail: Mapping[str, Any]) -> str | None:
    codes = [c.get("code") for one in objects(detail.get("modifier")) for c in codings(one)]
    return " ".join(dict.fromkeys(c for c in codes if type(c) is str)) or None


def _padded(code: Any) -> Any:
    return code.zfill(4) if type(code) is str and code.isdigit() else code


def _is_ndc(coding: Mapping[str, Any]) -> bool:
    system = coding.get("system")
    return type(system) is str and meaning(system) == "ndc"


_NDC_FORMS = {(4, 4, 2): 0, (5, 3, 2): 1, (5, 4, 1): 2}


def ndc_11(given: Any) -> str | None:
    """Return a National Drug Code in 11 digits; None where ten digits leave the form open.

    >>> ndc_11("0777-3105-02")
    '00777310502'
    """
    if type(given) is not str:
        return None
    if re.fullmatch(r"\d{11}", given):
        return given if given.strip("0") else None
    parts = given.split("-")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        return None
    sizes = tuple(map(len, parts))
    if sizes in _NDC_FORMS:
        parts[_NDC_FORMS[sizes]] = "0" + parts[_NDC_FORMS[sizes]]
    elif sizes != (5, 4, 2):
        return None
    return "".join(parts)


def _notes(eob: Mapping[str, Any], _key: str) -> Iterator[Row]:
    for index, note in enumerate(objects(eob.get("processNote")), 1):
        kind = note.get("type")
        yield {
            "note_number": note.get("number", index),
            "type": kind if type(kind) is str else first_code(kind),
            "text": note.get("text"),
        }


EMIT: dict[str, Emit] = {
    name: rows_of(name, read)
    for name, read in (
        ("supporting_info", _supporting_info),
        ("care_team", _care_team),
        ("providers", _providers),
        ("identifiers", _identifiers),
        ("related", _related),
        ("insurance", _insurance),
        ("line_links", _line_links),
        ("details", _details),
        ("notes", _notes),
    )
}
AMEND: dict[str, Amend] = {
    "care_team": _fill_care_team,
    "providers": _each_once,
}
COVERAGE_CLASSES = rows_of("coverage_classes", _coverage_classes)


def _identify(resource: Mapping[str, Any]) -> tuple[str, str, str]:
    id_ = resource.get("id")
    key = id_ if type(id_) is str and id_.isprintable() else ""
    return "", "", key


PROVIDER = Kind(_identify, {"providers": rows_of("providers", _of_resource)})
