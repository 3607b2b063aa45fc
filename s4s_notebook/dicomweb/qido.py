"""The instances that a holder lists for a study: QIDO-RS (PS3.18 10.6), page by page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import ContentError
from ..fhir.resources import check_uid, objects
from ..http.client import Transport
from ..http.response import LIST_BYTES, Response
from ..task import Cancel, OnWait
from .wado import Instance

_PAGE = 1000  # instances that are requested at a time; a server may send fewer
_MOST = 200_000  # instances
_NOT_OFFERED = frozenset({400, 403, 404, 405, 406, 410, 414, 415, 500, 501})


class InstanceList(NamedTuple):
    """The instances that a holder lists.

    Attributes:
        instances: each once, in the order of the list.
        exhausted: whether the list was read to its end: a page beyond the last instance was
            requested and came back empty, and no Warning said that there are more. Only then
            is a study known to have no other instances; else the list is a lower bound.
    """

    instances: tuple[Instance, ...]
    exhausted: bool


def list_instances(
    transport: Transport,
    url: str,
    *,
    cancel: Cancel | None = None,
    on_wait: OnWait | None = None,
    token: bool = True,
) -> InstanceList | None:
    """List the instances of a study, with ``limit`` and ``offset`` until no more come.

    A server may send fewer instances than it has, with or without saying so in a Warning of code
    299 (PS3.18 8.3.4.4), so a short page is no end. A server that ignores ``offset``
    sends what came before: that list has no known end.

    Args:
        transport: sends the requests.
        url: WADO-RS address of the study.
        cancel: ends it within a second.
        on_wait: called while waiting: a holder that says 503 is waited for.
        token: whether to send the access token where it may go.

    Returns:
        The list; None where the holder offers none, or none that can be read.

    Raises:
        S4SError: as :meth:`Transport.request`; a holder that is out of service has not said that
            it offers no list.
    """
    instances: dict[Instance, None] = {}
    exhausted = more = False
    while len(instances) < _MOST:
        page = f"limit={_PAGE}&offset={len(instances)}"
        response = _request(transport, url, page, cancel, on_wait, token)
        if response.status == 400 and not instances:  # it knows neither parameter
            listed = _read(_request(transport, url, "", cancel, on_wait, token))
            return InstanceList(tuple(dict.fromkeys(listed)), False) if listed else None
        listed = _read(response)
        if not listed:
            exhausted = listed is not None and not (more or _says_more(response))
            break
        more = _says_more(response)
        before = len(instances)
        instances.update(dict.fromkeys(listed))
        if len(instances) == before:  # it ignores the offset
            break
    return InstanceList(tuple(instances), exhausted) if instances else None


def _request(
    transport: Transport,
    url: str,
    page: str,
    cancel: Cancel | None,
    on_wait: OnWait | None,
    token: bool,
) -> Response:
    path, _, query = url.partition("?")
    query = "&".join(filter(None, (query, page)))
    return transport.request(
        "GET",
        f"{path}/instances" + (f"?{query}" if query else ""),
        accept="application/dicom+json",
        cancel=cancel,
        on_wait=on_wait,
        token=token,
        max_bytes=LIST_BYTES,
    )


def _read(response: Response) -> list[Instance] | None:
    """Return the instances of a page; None where it is no list that can be read to its end."""
    if response.status == 204:
        return []
    if response.status in _NOT_OFFERED:
        return None
    try:
        items = response.checked().json()
        if response.status != 200 or not isinstance(items, list):
            return None
        listed = [
            Instance(check_uid(_value(item, "0020000E")), check_uid(_value(item, "00080018")))
            for item in objects(items)
        ]
    except ContentError:
        return None
    return listed if len(listed) == len(items) else None


def _value(item: Mapping[str, Any], tag: str) -> object:
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _says_more(response: Response) -> bool:
    """Return whether a Warning of code 299 says that there are more results."""
    return any(
        warning.strip().startswith("299") and "fuzzy" not in warning.lower()
        for warning in response.headers.get_list("warning")
    )
