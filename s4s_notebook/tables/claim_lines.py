"""What repeats within a claim: its lines, diagnoses, procedures and adjudications."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..fhir.resources import objects
from .builder import Emit
from .claims import Member, add_paid, settle
from .coded import best, icd, is_hcpcs, is_masked, kind_of, ndc_11
from .columns import BB
from .extract import (
    OBJECT,
    Report,
    code_of,
    codings,
    first_code,
    inner,
    is_variable,
    listed,
    meaning,
)  # fmt: skip
from .npi import is_valid_npi
from .providers import Pending
from .rows import Rows, Table

_LINE_BY_HAND = (
    *("service_from", "service_to", "claim_type", "claim_kind", "status", "use", "is_final"),
    *("claim_version", "hcpcs_code", "ndc_code", "service_code", "service_system"),
    *("modifier_1", "modifier_2", "modifier_3", "modifier_4", "modifier_5", "modifiers"),
    *("revenue_center", "performing_npi", "performing_specialty", "performing_taxonomy"),
    *("npi_valid", "packaged", "line_notes"),
)
LINES = Table("benefit_lines", below="item", by_hand=_LINE_BY_HAND)
_AT = LINES.at
_MONEY = tuple(_AT[column.name] for column in LINES.columns if column.kind == "money")


def line_items(eob: Mapping[str, Any]) -> Iterator[tuple[str, int, Any]]:
    """Yield element, position in its list, and the line itself, of whatever type."""
    for element in ("item", "addItem"):
        for position, line in enumerate(listed(eob, element)):
            yield element, position, line


(_CLAIM, _PATIENT, _TYPE, _KIND_OF, _USE, _STATUS, _FINAL, _VERSION, _INDEX, _KIND, _FROM, _TO,
 _SOURCE, _HCPCS, _CODE, _SYSTEM, _NDC, _GIVEN, _JOINED, _CENTER, _TOTAL, _NPI, _SPECIAL,
 _TAXONOMY, _PRVDR, _PARTICIPATES, _VALID, _BLOOD, _BLOOD_VALUE, _DETAILS, _UNIT, _UNITS,
 _QUANTITY, _PACKAGING, _PACKAGED, _REVENUE_STATUS, _NETWORK, _NOTES, _PAID, _PAID_SOURCE,
 _MONEY_SOURCE, _TO_PROVIDER, _TO_PATIENT, _CURRENCY) = (
    _AT[name]
    for name in (
        "claim_id", "patient_id", "claim_type", "claim_kind", "use", "status", "is_final",
        "claim_version", "line_index", "line_kind", "service_from",
        "service_to", "service_date_source", "hcpcs_code", "service_code", "service_system",
        "ndc_code", "ndc_given", "modifiers", "revenue_center", "is_total_line", "performing_npi",
        "performing_specialty", "performing_taxonomy", "performing_type",
        "performing_participates", "npi_valid", "blood_test",
        "blood_test_result", "detail_count", "ndc_unit", "ndc_quantity", "quantity",
        "packaging_code", "packaged", "revenue_status", "network_status", "line_notes",
        "payer_paid_amount", "payer_paid_source", "money_source", "paid_to_provider_amount",
        "paid_to_patient_amount", "currency",
    )
)  # fmt: skip
_MODIFIERS = [_AT[f"modifier_{n}"] for n in (1, 2, 3, 4, 5)]
_DENIALS = [_AT[f"denial_{n}"] for n in (1, 2, 3, 4)]
_PERIOD = "servicedPeriod"
_DRUG = {
    "dayssupply": _AT["days_supply"],
    "refillnum": _AT["fill_number"],
    "refillsauthorized": _AT["refills_authorized"],
    "compoundcode": _AT["compound_code"],
    "dawcode": _AT["dispense_as_written"],
    "daw_prod_slctn_cd": _AT["dispense_as_written"],
    "brandgenericindicator": _AT["brand_generic"],
    "brnd_gnrc_cd": _AT["brand_generic"],
    "rxorigincode": _AT["prescription_origin"],
    "rx_orgn_cd": _AT["prescription_origin"],
}
_PERFORMERS = ("rendering", "performing")
_PROGRAM = "programCode"


class _Claim(NamedTuple):
    """What the lines of a claim read from it; ``pending`` collects what is filled in later."""

    eob: Mapping[str, Any]
    team: Mapping[int, Member]
    tests: Mapping[str, BloodTest]
    notes: Mapping[int, str]
    pending: list[Pending]


def emit_lines(eob: dict[str, Any], key: str, rows: Rows, report: Report) -> None:
    """Add one row per ``item`` or ``addItem``; a malformed one makes an empty row."""
    status, _, team = rows.context()
    blank = LINES.blank.copy()
    blank[_CLAIM], blank[_PATIENT] = key, inner(eob, "patient", "reference")
    blank[_TYPE], blank[_KIND_OF], blank[_USE] = status.type or None, status.kind, status.use
    blank[_STATUS], blank[_FINAL] = status.status, status.is_final
    blank[_VERSION] = status.version
    drug = _drug(eob) if status.kind == "PHARMACY" else ()
    claim = _Claim(
        eob,
        team,
        blood_tests(eob) if "contained" in eob else {},
        _notes(eob) if "processNote" in eob else {},
        [],
    )
    element, position = "", 0

    def within(path: str, value: Any, why: str) -> None:
        report(f"{element}[{position}].{path}", value, why)

    for index, (element, position, line) in enumerate(line_items(eob), 1):
        row = blank.copy()
        row[_INDEX], row[_KIND] = index, "item" if element == "item" else "added"
        if type(line) is dict:
            _fill(line, claim, row, index - 1, within)
        else:
            report(f"{element}[{position}]", line, OBJECT)
        row[_TOTAL] = row[_CENTER] == "0001"
        for slot, value in drug:
            if row[slot] is None:
                row[slot] = value
        rows.add(row, position)
    if claim.pending:
        rows.note(tuple(map(tuple, claim.pending)))


def _fill(
    line: dict[str, Any], claim: _Claim, row: list[Any], position: int, report: Report
) -> None:
    """Fill in what a line states, and what its claim states of it."""
    LINES.extract(line, row, report)
    _service(line, row, report)
    if "modifier" in line or _PROGRAM in line:
        _modifiers(line, row)
    _revenue(line, row)
    _money(line, row)
    if claim.team:
        _performer(line, claim.team, row, position, claim.pending)
    if claim.tests:
        _tested(line, claim.eob, claim.tests, row)
    if claim.notes:
        _noted(line, claim.notes, row)
    _dated(line, claim.eob.get("billablePeriod"), row, report)
    if row[_UNIT] is not None and row[_UNITS] is None:
        _drug_quantity(line, row)


def _tested(
    line: Mapping[str, Any], eob: Mapping[str, Any], tests: Mapping[str, BloodTest],
    row: list[Any],
) -> None:  # fmt: skip
    if (test := blood_test_of(line, eob, tests)) is not None:
        row[_BLOOD], row[_BLOOD_VALUE] = test


def _noted(line: Mapping[str, Any], notes: Mapping[int, str], row: list[Any]) -> None:
    if "noteNumber" in line:
        numbers = [n for n in listed(line, "noteNumber") if type(n) is int and n in notes]
        row[_NOTES] = "\n".join(notes[n] for n in numbers) or None


def _drug_quantity(line: Mapping[str, Any], row: list[Any]) -> None:
    """Put the quantity of a drug into its own column.

    CMS's second version gives it where that of the service belongs, its unit as a modifier.
    """
    row[_UNITS] = inner(line, "quantity", "value")
    if row[_QUANTITY] is row[_UNITS]:
        row[_QUANTITY] = None


def _service(line: Mapping[str, Any], row: list[Any], report: Report) -> None:
    """Fill in what was done or dispensed, and its drug codes, those of the details too."""
    concept = line.get("productOrService") or line.get("service")
    given = row[_GIVEN]
    coding = best(concept, ("hcpcs", "ndc"))
    if coding:
        row[_CODE], row[_SYSTEM] = coding.get("code"), coding.get("system")
        kind = kind_of(coding)
        if kind == "hcpcs" or (not kind and is_hcpcs(row[_CODE])):
            row[_HCPCS] = row[_CODE]
        elif kind == "ndc":
            given = given or row[_CODE]
    details = line.get("detail")
    row[_DETAILS] = 0 if details is None else len(details) if type(details) is list else 1
    ndcs = [given] if given is not None else []
    for detail in objects(details) if details is not None else ():
        inside = best(detail.get("productOrService") or detail.get("service"), ("ndc",))
        if kind_of(inside) == "ndc" and given is None:
            ndcs.append(inside.get("code"))
            if row[_UNITS] is None and row[_UNIT] is None:
                quantity = detail.get("quantity")
                if type(quantity) is dict:
                    row[_UNITS] = quantity.get("value")
                    row[_UNIT] = quantity.get("unit") or quantity.get("code")
    if ndcs:
        _ndc(ndcs, row, report)


def _ndc(given: list[Any], row: list[Any], report: Report) -> None:
    texts = [text for text in given if type(text) is str and text]
    if not texts:
        row[_NDC] = row[_GIVEN] = given[0]
        return
    row[_GIVEN] = " ".join(texts)
    if len(texts) > 1:
        return
    row[_NDC] = ndc_11(texts[0])
    if row[_NDC] is None and texts[0].strip("0-"):
        report("productOrService", texts[0], "not a drug code of eleven digits; see ndc_given")


def _modifiers(line: Mapping[str, Any], row: list[Any]) -> None:
    """Fill in all modifiers of a line, wherever their codings stand; units are none."""
    concepts = line.get("modifier")
    found: list[Any] = []
    for concept in objects(concepts):
        found += _modifiers_of(concept, row)
    for concept in objects(line.get(_PROGRAM)):
        codes = [c.get("code") for c in codings(concept)]
        found += [c for c in codes if type(c) is str and len(c) == 2 and c not in found]
    for slot, code in zip(_MODIFIERS, found, strict=False):
        row[slot] = code
    texts = [code for code in found if type(code) is str]
    if texts:
        row[_JOINED] = " ".join(texts)


def _modifiers_of(concept: Mapping[str, Any], row: list[Any]) -> list[Any]:
    """Return the codes of one concept, each once; a unit of measure goes to the drug."""
    own: list[Any] = []
    for coding in codings(concept):
        code, kind = coding.get("code"), kind_of(coding)
        if kind == "unit" and row[_UNIT] is None:
            row[_UNIT] = code
        elif kind not in {"unit", "absent"} and code is not None and code not in own:
            own.append(code)
    return own


_CENTERS = {"rev_cntr": 3, "clm_rev_cntr_cd": 3, "revenuecodes": 1}


def _revenue(line: Mapping[str, Any], row: list[Any]) -> None:
    """Fill in the revenue centre in four digits.

    NUBC's system holds another code in CMS's second version: there only digits count.
    """
    score = 0
    for coding in codings(line.get("revenue")):
        code = coding.get("code")
        own = _CENTERS.get(meaning(str(coding.get("system"))), 0)
        if own <= score or code is None:
            continue
        if type(code) is not str:
            row[_CENTER], score = code, own
        elif own == 3 or (code.isdigit() and len(code) in {3, 4}):
            text = code.strip()
            row[_CENTER], score = text.zfill(4) if text.isdigit() else text, own
    if row[_PACKAGING] is not None or row[_REVENUE_STATUS] is not None:
        row[_PACKAGED] = row[_PACKAGING] in ("1", "2") or row[_REVENUE_STATUS] == "N"


def _money(line: Mapping[str, Any], row: list[Any]) -> None:
    """Fill in the amounts of the details where the line has none, and what the payer paid."""
    has = row[_CURRENCY] is not None or any(row[slot] is not None for slot in _MONEY)
    if has:
        row[_MONEY_SOURCE] = "line"
    elif "detail" in line:
        _from_details(line, row)
    if row[_PAID] is not None:
        row[_PAID_SOURCE] = "benefit"
    elif row[_TO_PROVIDER] is not None or row[_TO_PATIENT] is not None:
        add_paid(row, _PAID, _PAID_SOURCE, _TO_PROVIDER, _TO_PATIENT)
    if type(row[_NETWORK]) is dict:
        row[_NETWORK] = first_code(row[_NETWORK])
    if type(row[_DENIALS[0]]) is dict:
        _denials(line, row)


def _from_details(line: Mapping[str, Any], row: list[Any]) -> None:
    """Add up the amounts of the details and of what is below them."""
    for detail in objects(line.get("detail")):
        for owner in (detail, *objects(detail.get("subDetail"))):
            own = LINES.blank.copy()
            amounts = {"adjudication": owner.get("adjudication")}
            LINES.extract(amounts, own, lambda *_: None)
            for slot in (*_MONEY, _CURRENCY):
                value = own[slot]
                if value is None:
                    continue
                row[_MONEY_SOURCE] = "detail"
                if row[slot] is None or slot == _CURRENCY:
                    row[slot] = value
                elif type(value) in {int, float} and type(row[slot]) in {int, float}:
                    row[slot] += value


def _denials(line: Mapping[str, Any], row: list[Any]) -> None:
    """Fill in the reasons of all adjustments, each code once."""
    found: list[Any] = []
    for item in objects(line.get("adjudication")):
        if code_of(item.get("category")) in {"adjustmentreason", "denialreason", "rejectreason"}:
            for coding in codings(item.get("reason")):
                if coding.get("code") not in (None, *found) and not _is_other_variable(coding):
                    found.append(coding["code"])
    for slot in _DENIALS:
        row[slot] = None
    for slot, code in zip(_DENIALS, found, strict=False):
        row[slot] = code


def _is_other_variable(coding: Mapping[str, Any]) -> bool:
    """Return whether a reason is a CMS variable that is no reason for an adjustment."""
    system = coding.get("system")
    return type(system) is str and system.startswith(BB) and "ansi" not in meaning(system)


def _dated(line: Mapping[str, Any], claim: Any, row: list[Any], report: Report) -> None:
    """Fill in the days of the service, else those of the claim, and where they come from."""
    period, day = line.get("servicedPeriod"), line.get("servicedDate")
    if period is not None and type(period) is not dict:
        report("servicedPeriod", period, OBJECT)
    elif period:
        row[_FROM], row[_TO], row[_SOURCE] = period.get("start"), period.get("end"), _PERIOD
    if row[_FROM] is None and row[_TO] is None:
        if day is not None:
            row[_FROM] = row[_TO] = day
            row[_SOURCE] = "servicedDate"
        elif type(claim) is dict:
            row[_FROM], row[_TO] = claim.get("start"), claim.get("end")
            row[_SOURCE] = "billablePeriod"


def _performer(
    line: Mapping[str, Any], team: Mapping[int, Member], row: list[Any], position: int,
    pending: list[Pending],
) -> None:  # fmt: skip
    """Fill in who performed this line; a performer before the general ``primary`` of R4."""
    links = line.get("careTeamLinkId") or line.get("careTeamSequence")
    members = [
        team[n] for n in (links if type(links) is list else ()) if type(n) is int and n in team
    ]
    performers = [m for m in members if m.role in _PERFORMERS]
    if not members:
        rendering = [m for m in team.values() if m.role in _PERFORMERS]
        performers = rendering if len(rendering) == 1 else []
    others = [m for m in members if m.role != "primary"]
    candidates = performers or others or members
    if not candidates:
        return
    member = next((m for m in candidates if m.provider.has_npi), candidates[0])
    settle(member.provider, "npi", "performing_npi", position, row, _NPI, pending)
    if row[_SPECIAL] is None:
        row[_SPECIAL] = member.specialty
    row[_TAXONOMY] = member.taxonomy
    settle(member.provider, "taxonomy", "performing_taxonomy", position, row, _TAXONOMY, pending)
    if member.type is not None:
        row[_PRVDR] = member.type
    if member.participates is not None:
        row[_PARTICIPATES] = member.participates
    npi = row[_NPI]
    if type(npi) is str:
        row[_VALID] = is_valid_npi(npi)


def _drug(eob: Mapping[str, Any]) -> tuple[tuple[int, Any], ...]:
    """Return what the claim states about the drug, for all of its lines."""
    found: dict[int, Any] = {}
    for info in (*objects(eob.get("supportingInfo")), *objects(eob.get("information"))):
        names = [code_of(info.get("category"))]
        names += [meaning(str(c.get("system"))) for c in codings(info.get("code"))]
        slot = next((_DRUG[name] for name in names if name in _DRUG), None)
        if slot is not None:
            quantity = inner(info, "valueQuantity", "value")
            code = best(info.get("code")).get("code")
            found.setdefault(slot, code if quantity is None else quantity)
    return tuple(found.items())


def _notes(eob: Mapping[str, Any]) -> dict[int, str]:
    """Return the notes of a claim by number."""
    return {
        note["number"]: note["text"]
        for note in objects(eob.get("processNote"))
        if type(note.get("number")) is int and type(note.get("text")) is str
    }


_ICD = ("code", "system", "code_dotted", "icd_version")
DIAGNOSES = Table(
    "diagnoses",
    below="diagnosis",
    by_hand=(*_ICD, "code_given", "type", "type_2", "present_on_admission"),
)
PROCEDURES = Table("procedures", below="procedure", by_hand=(*_ICD, "code_given"))
ADJUDICATIONS = Table("adjudications", below="adjudication", by_hand=["variable", "category"])


_TYPES = (
    *("principal", "admitting", "other", "secondary", "externalcauseofinjury"),
    *("external-first", "patientreasonforvisit"),
)
_CONCEPTS = {"diagnosis": "diagnosisCodeableConcept", "procedure": "procedureCodeableConcept"}


def repeating(table: Table) -> Emit:
    """Return a reader for an element of the claim that is a table of its own."""
    is_procedure = table is PROCEDURES
    at = table.at
    claim, patient, concept_name = at["claim_id"], at["patient_id"], _CONCEPTS[table.below]

    def emit(eob: dict[str, Any], key: str, rows: Rows, report: Report) -> None:
        values = eob.get(table.below)
        day = inner(eob, "billablePeriod", "end")
        for position, item in enumerate(
            values if type(values) is list else () if values is None else (values,)
        ):
            row = table.blank.copy()
            row[claim], row[patient] = key, inner(eob, "patient", "reference")
            if type(item) is dict:
                table.extract(item, row, report)
                own_day = item.get("date") if is_procedure else day
                _coded(item.get(concept_name), own_day or day, row, at, is_procedure)
                if not is_procedure:
                    _diagnosed(item, row)
            else:
                report(f"{table.below}[{position}]", item, OBJECT)
            rows.add(row, position)

    return emit


def _coded(
    concept: Any, day: Any, row: list[Any], at: Mapping[str, int], is_procedure: bool
) -> None:
    """Fill in the code of a diagnosis or procedure, in all its spellings."""
    coding = best(concept, ("icd10cm", "icd10pcs", "icd10", "icd9"))
    row[at["code_given"]], row[at["system"]] = coding.get("code"), coding.get("system")
    found = icd(coding, day, is_procedure)
    if found is None:
        row[at["code"]] = coding.get("code")
    else:
        row[at["code"]], row[at["code_dotted"]], row[at["icd_version"]] = found


def _diagnosed(item: Mapping[str, Any], row: list[Any]) -> None:
    """Fill in the types of a diagnosis in their order, and whether it was there on admission."""
    at = DIAGNOSES.at
    types: list[Any] = []
    for concept in listed(item, "type"):
        for coding in codings(concept):
            code = coding.get("code")
            if code is not None and code not in types:
                types.append(code)
    types.sort(key=lambda code: _TYPES.index(code) if code in _TYPES else len(_TYPES))
    for name, code in zip(("type", "type_2"), types, strict=False):
        row[at[name]] = code
    concept = item.get("diagnosisCodeableConcept")
    row[at["hidden"]] = True if is_masked(concept) else None
    present = first_code(item.get("onAdmission"))
    for extension in objects(item.get("extension")) if present is None else ():
        if meaning(str(extension.get("url"))).startswith("clm_poa_ind_sw"):
            present = inner(extension, "valueCoding", "code")
    row[at["present_on_admission"]] = present.upper() if type(present) is str else present


def _adjudications(eob: dict[str, Any]) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    """Yield the path of each list, (level, line index, line number, detail index) and the list."""
    for index, (element, position, line) in enumerate(line_items(eob), 1):
        if type(line) is not dict:
            continue
        path, number = f"{element}[{position}].", line.get("sequence")
        level = "line" if element == "item" else "added"
        yield path + "adjudication", (level, index, number, None), listed(line, "adjudication")
        for nth, detail in enumerate(objects(line.get("detail")), 1):
            for level, owner in (
                ("detail", detail),
                *(("subdetail", sub) for sub in objects(detail.get("subDetail"))),
            ):
                below = f"{path}{level}.adjudication"
                yield below, (level, index, number, nth), listed(owner, "adjudication")
    yield "adjudication", ("claim", None, None, None), listed(eob, "adjudication")
    yield "total", ("total", None, None, None), listed(eob, "total")
    for position, balance in enumerate(objects(eob.get("benefitBalance"))):
        used = [
            {"category": f.get("type"), "amount": f.get("usedMoney"), "value": count}
            for f in objects(balance.get("financial"))
            for count in (f.get("usedUnsignedInt"),)
        ]
        yield f"benefitBalance[{position}].financial", ("balance", None, None, None), used


_ADJUDICATED = tuple(
    ADJUDICATIONS.at[name]
    for name in ("level", "line_index", "line_number", "detail_index", "adjudication_index")
)


def emit_adjudications(eob: dict[str, Any], key: str, rows: Rows, report: Report) -> None:
    """Add one row per adjudication at any level, and one per ``total`` and a ``benefitBalance``."""
    patient = inner(eob, "patient", "reference")
    at = ADJUDICATIONS.at
    path, position = "", 0

    def within(below: str, value: Any, why: str) -> None:
        report(f"{path}[{position}].{below}", value, why)

    for path, where, adjudications in _adjudications(eob):
        for position, item in enumerate(adjudications):
            row = ADJUDICATIONS.blank.copy()
            row[at["claim_id"]], row[at["patient_id"]] = key, patient
            for slot, value in zip(_ADJUDICATED, (*where, position + 1), strict=True):
                row[slot] = value
            if type(item) is dict:
                ADJUDICATIONS.extract(item, row, within)
                row[at["variable"]], row[at["category"]] = _variable(item.get("category"))
            else:
                report(f"{path}[{position}]", item, OBJECT)
            rows.add(row, position)


def _variable(category: Any) -> tuple[str | None, str | None]:
    """Return the Blue Button variable, or the code as given, and the general code beside it."""
    codes = [code for c in codings(category) if type(code := c.get("code")) is str]
    general = next((meaning(code) for code in codes if not is_variable(code)), None)
    return code_of(category), general


# Blood tests: CMS puts the haematocrit or haemoglobin of a patient into a contained Observation,
# which a line for an anaemia drug must state. The lines of STU3 refer to it in an extension, those
# of R4 through ``supportingInfo``.

_RESULT = "line_hct_hgb_rslt_num"


class BloodTest(NamedTuple):
    """What was measured (R1 haemoglobin, R2 haematocrit), and the value, as the holder has them."""

    kind: Any
    value: Any


def blood_tests(eob: Mapping[str, Any]) -> dict[str, BloodTest]:
    """Return the contained Observations by the reference that leads to each."""
    return {
        f"#{item['id']}": BloodTest(
            first_code(item.get("code")), inner(item, "valueQuantity", "value")
        )
        for item in objects(eob.get("contained"))
        if item.get("resourceType") == "Observation" and type(item.get("id")) is str
    }


def blood_test_of(
    line: Mapping[str, Any], eob: Mapping[str, Any], tests: Mapping[str, BloodTest]
) -> BloodTest | None:
    """Return the first blood test that a line refers to."""
    for owner in _owners(line, eob):
        reference = inner(owner, "valueReference", "reference")
        if type(reference) is str and reference in tests:
            return tests[reference]
    return None


def _owners(line: Mapping[str, Any], eob: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the elements of a line, and of its claim, that may refer to a blood test."""
    yield from (
        item for item in objects(line.get("extension")) if meaning(str(item.get("url"))) == _RESULT
    )
    linked = listed(line, "informationSequence")
    for info in objects(eob.get("supportingInfo")) if linked else ():
        if info.get("sequence") in linked and code_of(info.get("category")) == _RESULT:
            yield info
