"""WADO-RS: studies, series and instances as multipart/related, streamed from disk.

DICOM PS3.18 section 10.4. Files are sent as they are stored, without transcoding.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pydicom
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from .context import (
    NO_STORE,
    DeniedError,
    Handler,
    NotReadyError,
    SandboxContext,
    UpstreamError,
    bearer_approval,
    context_of,
)
from .data.archive import ArchivedInstance, ArchivedStudy
from .fhir_routes import OPEN_ACCESS_OFF, error_response

CHUNK = 256 * 1024
DICOM = "application/dicom"
_UID = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)
_RESOURCES = (
    "/studies/{study}",
    "/studies/{study}/series/{series}",
    "/studies/{study}/series/{series}/instances/{instance}",
)
PREFIXES = ("/open/Patient/{patient}/$wado-rs", "/Patient/{patient}/$wado-rs", "")


def routes() -> list[Route]:
    """Return the routes of WADO-RS, with a token and without."""
    routes = []
    for prefix in PREFIXES:
        for resource in _RESOURCES:
            routes.append(Route(f"{prefix}{resource}", guard(_retrieve)))
            routes.append(Route(f"{prefix}{resource}/metadata", guard(_metadata)))
    return routes


def guard(handler: Handler) -> Handler:
    """Return a handler whose refusals, waits and failures are answers of their own."""

    async def guarded(request: Request) -> Response:
        context = context_of(request)
        if _is_open(request) and not context.settings.open_access:
            return json_error(request, 404, "not-found", OPEN_ACCESS_OFF)
        try:
            return await handler(request)
        except DeniedError as error:
            return json_error(request, error.status, "forbidden", error.description, error.headers)
        except KeyError:
            return json_error(request, 404, "not-found", "there is no such study, series or image")
        except NotReadyError as wait:
            headers = context.retry_header(wait.seconds)
            return json_error(request, 503, "throttled", "the images are being prepared", headers)
        except UpstreamError as error:
            return json_error(request, error.status, "transient", error.description)

    return guarded


def json_error(
    request: Request, status: int, code: str, text: str, headers: dict[str, str] | None = None
) -> Response:
    """Return an OperationOutcome as JSON, whatever the request accepts."""
    scope = {**request.scope, "headers": [], "query_string": b""}
    return error_response(Request(scope), status, code, text, headers)


def owned_study(request: Request) -> ArchivedStudy:
    """Return the study in the path, without its images.

    Raises:
        DeniedError: the caller may not read it.
        KeyError: there is no such study, or one of the UIDs is none.
    """
    context, names = context_of(request), request.path_params
    owner = _owner(request, context)
    uids = [names[key] for key in ("study", "series", "instance") if key in names]
    if not all(_UID.fullmatch(uid) and len(uid) <= 64 for uid in uids):
        raise KeyError("uid")
    study = context.images.study(names["study"])
    if study is None:
        raise KeyError(names["study"])
    if owner is not None and study.patient_id != owner:
        if _is_open(request):
            raise KeyError(names["study"])
        raise DeniedError(403, "this approval is for another patient")
    return study


async def _select(request: Request) -> tuple[ArchivedStudy, list[ArchivedInstance]]:
    """Return the study and its instances in the path, if the caller may read them."""
    await run_in_threadpool(owned_study, request)
    context, names = context_of(request), request.path_params
    ready = await run_in_threadpool(context.images.ready, names["study"])
    instances = [
        instance
        for series, instance in ready.instances()
        if names.get("series", series.uid) == series.uid
        and names.get("instance", instance.uid) == instance.uid
    ]
    if not instances:
        raise KeyError("nothing")
    return ready, instances


def _is_open(request: Request) -> bool:
    """Return whether the request is to the base that needs no token."""
    path: str = request.scope["path"]
    return path.removeprefix(request.scope.get("root_path", "")).startswith("/open/")


def _owner(request: Request, context: SandboxContext) -> str | None:
    """Return the patient whose images may be read; None for all on the open base."""
    patient_id: str | None = request.path_params.get("patient")
    if _is_open(request):
        return patient_id
    approval = bearer_approval(request, context)
    if not approval.covers("ImagingStudy", "r"):
        raise DeniedError(403, "this approval does not cover images")
    if patient_id is not None and patient_id != approval.patient_id:
        raise DeniedError(403, "this approval is for another patient")
    return approval.patient_id


async def _retrieve(request: Request) -> Response:
    negotiated = _negotiated(request.headers.get("accept", "*/*"))
    if negotiated is None:
        text = 'accept multipart/related; type="application/dicom"'
        return json_error(request, 406, "not-supported", text)
    study, instances = await _select(request)
    paths = [_path(instance) for instance in instances]
    sizes = await run_in_threadpool(lambda: [path.stat().st_size for path in paths])
    if negotiated == DICOM:
        if len(paths) != 1:
            return json_error(request, 406, "not-supported", "more than one image: use multipart")
        headers = {**NO_STORE, "Content-Length": str(sizes[0])}
        return StreamingResponse(_file(paths[0]), headers=headers, media_type=DICOM)
    boundary = secrets.token_hex(16)
    heads = [_head(boundary, path, size) for path, size in zip(paths, sizes, strict=True)]
    tail = f"\r\n--{boundary}--\r\n".encode()
    total = sum(sizes) + sum(len(head) for head in heads) + len(tail)
    media = f'multipart/related; type="{DICOM}"; boundary={boundary}'
    parts = list(zip(heads, paths, strict=True))
    stream = _stream(parts, tail, partial(context_of(request).images.touch, study.uid))
    headers = {**NO_STORE, "Content-Length": str(total)}
    return StreamingResponse(stream, headers=headers, media_type=media)


def _path(instance: ArchivedInstance) -> Path:
    if instance.path is None:
        raise KeyError(instance.uid)
    return instance.path


def _negotiated(accept: str) -> str | None:
    """Return ``multipart`` or the single-part type, in the client's order, or None."""
    for item in re.split(r',(?=(?:[^"]*"[^"]*")*[^"]*$)', accept):
        name, _, parameters = item.strip().lower().partition(";")
        name = name.strip()
        if name in ("*/*", "multipart/*", ""):
            return "multipart"
        if name == "multipart/related":
            requested = re.search(r'type="?([^";,\s]+)', parameters)
            if requested is None or requested[1] in (DICOM, "*/*"):
                return "multipart"
        if name == DICOM:
            return DICOM
    return None


def _head(boundary: str, path: Path, size: int) -> bytes:
    syntax = pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID
    return (
        f"\r\n--{boundary}\r\nContent-Type: {DICOM}; transfer-syntax={syntax}\r\n"
        f"Content-Length: {size}\r\n\r\n"
    ).encode()


def _stream(
    parts: list[tuple[bytes, Path]], tail: bytes, touch: Callable[[], None]
) -> Iterator[bytes]:
    for head, path in parts:
        touch()
        yield head
        yield from _file(path)
    yield tail


def _file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(partial(file.read, CHUNK), b"")


async def _metadata(request: Request) -> Response:
    _, instances = await _select(request)
    paths = [_path(instance) for instance in instances]
    body = await run_in_threadpool(_headers_as_json, paths)
    return Response(body, headers=NO_STORE, media_type="application/dicom+json")


def _headers_as_json(paths: list[Path]) -> bytes:
    """Return the headers without pixels in the DICOM JSON model (PS3.18 annex F)."""
    headers = []
    for path in paths:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        headers.append(header.to_json_dict(suppress_invalid_tags=True))
    return json.dumps(headers, separators=(",", ":")).encode()
