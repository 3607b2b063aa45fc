"""Getting at the elements of a resource that may have any shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .values import reference_id
from .walk import Odd


def patient_of(resource: Mapping[str, Any], *elements: str) -> str:
    """The id within the reference to the patient; empty where there is none."""
    for element in elements:
        found = inner(resource, element, "reference")
        if type(found) is str and found.strip():
            try:
                return reference_id(found)[0]
            except ValueError:
                return ""
    return ""


def odd_id(resource: Mapping[str, Any], key: str, odd: Odd) -> None:
    """Say so where the id cannot serve as the key."""
    given = resource.get("id")
    if given is not None and given != key:
        odd("id", given, f"not usable as an id; {key} stands for it")


def usable(text: Any) -> bool:
    """Whether this can be a key: text that a column can hold."""
    return type(text) is str and bool(text) and text.isprintable()


def inner(resource: Mapping[str, Any], outer: str, inner: str) -> Any:
    found = resource.get(outer)
    return found.get(inner) if type(found) is dict else None


def objects(owner: Any, element: str) -> list[dict[str, Any]]:
    """The objects of an element, whether it repeats or not; odd ones are left out."""
    found = owner.get(element) if type(owner) is dict else None
    if type(found) is list:
        return [one for one in found if type(one) is dict]
    return [found] if type(found) is dict else []


def listed(owner: Mapping[str, Any], element: str) -> Sequence[Any]:
    """What stands at an element, as a list, odd things included."""
    found = owner.get(element)
    return found if type(found) is list else () if found is None else (found,)
