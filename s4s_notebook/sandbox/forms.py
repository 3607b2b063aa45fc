"""Form bodies, read without a further dependency and bounded in size."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request

MAX_BODY = 64 * 1024
MAX_FIELDS = 200


class BadBodyError(ValueError):
    """The body is not what it should be; the message says why."""


async def body_of(request: Request) -> bytes:
    """The body; raises BadBodyError as soon as it is longer than 64 KB."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise BadBodyError("the body is too large")
    return bytes(body)


async def form_of(request: Request) -> list[tuple[str, str]]:
    """The fields of an urlencoded form, in order; raises BadBodyError for anything else."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadBodyError("send application/x-www-form-urlencoded")
    try:
        text = (await body_of(request)).decode("ascii")
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        if isinstance(error, BadBodyError):
            raise
        raise BadBodyError("this is not a form") from error
