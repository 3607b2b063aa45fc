"""Which studies a download is asked for: a UID, a row, a frame of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..fhir.resources import check_uid

_ROW = "study_uid"


class Asked(NamedTuple):
    """Study Instance UIDs, and whether many were asked for (which gives a list)."""

    uids: list[str]
    many: bool


def asked(what: Any) -> Asked:
    """Understand what somebody passed to ``download``.

    Raises:
        InvalidUID: that is no study UID.
        TypeError: that names no study at all.
    """
    if isinstance(what, str):
        return Asked([check_uid(what)], many=False)
    if isinstance(what, list | tuple):
        return Asked([check_uid(uid) for uid in what], many=True)
    try:
        found = what[_ROW]
    except (LookupError, TypeError) as error:
        raise TypeError(
            "download() takes a study UID, a row of studies(), or a frame of such rows; "
            f"a {type(what).__name__} without {_ROW} names no study."
        ) from error
    if hasattr(what, "columns"):
        return Asked([check_uid(uid) for uid in found], many=True)
    return Asked([check_uid(found)], many=False)
