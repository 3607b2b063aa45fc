"""One association with the archive, with time limits and without Nagle's delay."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pynetdicom import AE, evt

from ..settings import Pacs
from ..state import NotReadyError, UpstreamError

DOWN_SECONDS = 30.0
DIMSE_SECONDS = 60.0


@contextmanager
def associated(pacs: Pacs, context: str) -> Iterator[Any]:
    """An association for one presentation context; released at the end, aborted on error.

    Raises NotReadyError when the archive cannot be reached now, UpstreamError(502) when it
    refuses us for good (it does not know our AE title, say).
    """
    _knock(pacs)
    entity = AE(ae_title=pacs.our_aet)
    entity.acse_timeout = 10
    entity.dimse_timeout = DIMSE_SECONDS
    entity.network_timeout = DIMSE_SECONDS
    entity.connection_timeout = 5
    entity.add_requested_context(context)
    refusals: list[Any] = []
    association = entity.associate(
        pacs.host,
        pacs.port,
        ae_title=pacs.aet,
        evt_handlers=[
            (evt.EVT_CONN_OPEN, no_delay),
            (evt.EVT_ACSE_RECV, lambda event: refusals.append(event.primitive)),
        ],
    )
    try:
        if not association.is_established:
            raise _refused(refusals)
        yield association
        if association.is_established:
            association.release()
    finally:
        if association.is_established:
            association.abort()
        _close(association)


def _knock(pacs: Pacs) -> None:
    """See whether anybody listens; pynetdicom leaks its socket when nobody does."""
    try:
        socket.create_connection((pacs.host, pacs.port), timeout=5).close()
    except OSError as error:
        raise NotReadyError(DOWN_SECONDS) from error


def _close(association: Any) -> None:
    """pynetdicom leaves the socket of a broken association open."""
    if association.is_alive():
        association.join(5)
    wrapper = association.dul.socket
    sock = wrapper.socket if wrapper is not None else None
    if sock is not None:
        sock.close()


def no_delay(event: Any) -> None:
    """Without this each message waits 40 ms for an acknowledgement (Nagle's algorithm)."""
    sock = event.assoc.dul.socket.socket
    if sock is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def park(association: Any) -> None:
    """Have pynetdicom's own reader stand still before a request is sent.

    It says that it is paused a moment before it is; a request sent in that moment has its first
    answer read by the wrong thread, which then ends the association.
    """
    association._reactor_checkpoint.clear()
    for _ in range(2):
        time.sleep(0.005)
        while association.is_alive() and not association._is_paused:
            time.sleep(0.001)


def _refused(primitives: list[Any]) -> Exception:
    # A-ASSOCIATE: result 1 is a rejection for good, 2 for now (PS3.8 §9.3.4).
    if any(getattr(p, "result", None) == 1 for p in primitives):
        return UpstreamError(502, "the image archive refuses us: does it know our AE title?")
    return NotReadyError(DOWN_SECONDS)


def failed(status: Any, doing: str) -> Exception:
    """The error for a DIMSE status that is neither success nor pending."""
    if not status or "Status" not in status:
        return NotReadyError(DOWN_SECONDS)  # the association broke; the archive may come back
    code = int(status.Status)
    if code & 0xFF00 == 0xA700:
        return NotReadyError(DOWN_SECONDS)  # out of resources
    return UpstreamError(502, f"the image archive failed while {doing} (status 0x{code:04X})")
