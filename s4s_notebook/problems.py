"""Values that could not be read, one entry each: nothing is dropped silently."""

from __future__ import annotations

from typing import NamedTuple


class Problem(NamedTuple):
    """One value that could not be used as it was sent.

    Attributes:
        resource: ``Type/id`` of the resource, or its UID, or its position in the response.
        path: FHIR path or DICOM keyword of the value.
        value: the value as text, cut to 80 characters.
        why: one short sentence.
    """

    resource: str
    path: str
    value: str
    why: str
