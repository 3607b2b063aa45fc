"""Blood tests of claims: contained Observations that the lines refer to.

CMS puts the haematocrit or haemoglobin of a patient there that a line for an anaemia drug must
tell. STU3's lines refer to it in an extension, R4's through ``supportingInfo``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .columns import BB
from .elements import inner, listed, objects
from .walk import code_of

_RESULT = BB + "variables/line_hct_hgb_rslt_num"


class BloodTest(NamedTuple):
    """What was measured (R1 haemoglobin, R2 haematocrit), and the value, as the holder has them."""

    kind: Any
    value: Any


def blood_tests(eob: Mapping[str, Any]) -> dict[str, BloodTest]:
    """The contained Observations, by the reference that leads to each."""
    return {
        f"#{one['id']}": BloodTest(code_of(one.get("code")), inner(one, "valueQuantity", "value"))
        for one in objects(eob, "contained")
        if one.get("resourceType") == "Observation" and type(one.get("id")) is str
    }


def blood_test_of(
    line: Mapping[str, Any], eob: Mapping[str, Any], tests: Mapping[str, BloodTest]
) -> BloodTest | None:
    """The first blood test that a line refers to."""
    for owner in _owners(line, eob):
        reference = inner(owner, "valueReference", "reference")
        if type(reference) is str and reference in tests:
            return tests[reference]
    return None


def _owners(line: Mapping[str, Any], eob: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The elements of a line, and of its claim on its behalf, that may refer to a blood test."""
    yield from (one for one in objects(line, "extension") if one.get("url") == _RESULT)
    linked = listed(line, "informationSequence")
    for info in objects(eob, "supportingInfo") if linked else ():
        if info.get("sequence") in linked and code_of(info.get("category")) == _RESULT:
            yield info
