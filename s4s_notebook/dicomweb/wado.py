"""Retrieval of images over DICOMweb: WADO-RS (PS3.18 10.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from .. import errors
from ..fhir.resources import check_uid
from ..http import redact
from ..http.client import Transport
from ..http.multipart import Part, Parts, media_type
from ..http.response import ResponseStream
from ..task import Cancel, OnWait

__all__ = ["Instance", "Part", "instance_url", "retrieve"]

# The first keeps every instance as it is stored; the second is what the S4S documents ask for.
_ACCEPTS = (
    'multipart/related; type="application/dicom"; transfer-syntax=*',
    "multipart/related; type=application/dicom",
)


_DICOM = ("application/dicom", "application/octet-stream", "")  # the bytes are checked anyway
_REFUSED = ("text/html", "application/xhtml", "multipart/")
_MOST_FOREIGN = 100  # parts


class Instance(NamedTuple):
    """An instance that a holder lists."""

    series_uid: str
    instance_uid: str


def instance_url(url: str, instance: Instance) -> str:
    """Return the address of one instance below :func:`study_url`."""
    path, question, query = url.partition("?")
    series, uid = check_uid(instance.series_uid), check_uid(instance.instance_uid)
    return f"{path}/series/{series}/instances/{uid}{question}{query}"


@contextmanager
def retrieve(
    transport: Transport,
    url: str,
    *,
    cancel: Cancel | None = None,
    on_wait: OnWait | None = None,
    token: bool = True,
    on_foreign: Callable[[str], None] | None = None,
) -> Iterator[Iterator[Part]]:
    """Fetch a study, series or instance.

    Use it as ``with retrieve(...) as parts: for part in parts: ...``.

    The iteration ends without an error only if everything that the holder sent arrived.

    Args:
        transport: sends the request.
        url: address of the study, series or instance.
        cancel: ends it within a second.
        on_wait: called while waiting.
        token: whether to send the access token where it may go.
        on_foreign: called with the media type of each part that is no DICOM, such as a
            ``text/plain`` note of a gateway; such a part is skipped, but never a web page or a
            nested multipart. Without it any of them is an error.

    Raises:
        IntegrityError: cut, lengths that disagree, no part at all, a partial (206) answer.
        MalformedResponse: no DICOM. Others: as :meth:`Transport.stream`.
    """
    with ExitStack() as stack:
        stream = _open(stack, transport, url, cancel, on_wait, token)
        try:
            yield _parts(stream, on_foreign)
        except errors.ContentError as error:  # a part may raise where the caller reads it
            error.request = error.request or stream.request
            raise


def _open(
    stack: ExitStack,
    transport: Transport,
    url: str,
    cancel: Cancel | None,
    on_wait: OnWait | None,
    token: bool,
) -> ResponseStream:
    """Open the response to the first form of Accept that the holder understands."""
    first, second = (
        transport.stream(url, accept=accept, token=token, cancel=cancel, on_wait=on_wait)
        for accept in _ACCEPTS
    )
    try:
        return stack.enter_context(first)
    except errors.HTTPStatusError as error:
        if error.request is None or error.request.status not in (400, 406):
            raise
    return stack.enter_context(second)


def _parts(stream: ResponseStream, on_foreign: Callable[[str], None] | None) -> Iterator[Part]:
    count = foreign = 0
    for part in _framed(stream):
        if part.content_type in _DICOM:
            count += 1
            yield part
            continue
        content_kind = redact.text(part.content_type, limit=60)
        foreign += 1
        if on_foreign is None or part.content_type.startswith(_REFUSED) or foreign > _MOST_FOREIGN:
            raise errors.MalformedResponse(f"A part of the answer is {content_kind!r}, not DICOM.")
        on_foreign(content_kind)
    if foreign and not count:
        raise errors.MalformedResponse("The holder answered without a single image.")
    if not count:
        raise errors.IntegrityError("The holder answered without a single image.")


def _framed(stream: ResponseStream) -> Iterable[Part]:
    if stream.status != 200:
        raise errors.IntegrityError(f"The holder sent only a part of it ({stream.status}).")
    content_type = stream.headers.get("content-type", "")
    kind, _ = media_type(content_type)
    if kind == "multipart/related":
        return Parts(content_type, stream.chunks())
    if kind != "application/dicom":
        content_kind = redact.text(kind, limit=60) or "of no stated type"
        raise errors.MalformedResponse(
            f"The holder answered with {content_kind!r} instead of images."
        )
    if not {"content-length", "transfer-encoding"} & stream.headers.keys():
        raise errors.IntegrityError("The answer does not say where it ends.")
    return [Part({"content-type": kind}, stream.chunks())]
