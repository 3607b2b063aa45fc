"""QIDO-RS: the series and instances of a study, without fetching its images.

DICOM PS3.18 section 10.6, within a study. ``limit``, ``offset`` and matching by the keys that
are returned are taken; ``includefield`` and ``fuzzymatching`` change nothing.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .context import NO_STORE, context_of
from .data.archive import ArchivedInstance, ArchivedSeries, ArchivedStudy
from .wado_routes import PREFIXES, guard, json_error, owned_study

_LISTS = (
    "/studies/{study}/series",
    "/studies/{study}/instances",
    "/studies/{study}/series/{series}/instances",
)
_TAGS = {
    "00080016": ("SOPClassUID", "UI"),
    "00080018": ("SOPInstanceUID", "UI"),
    "00080060": ("Modality", "CS"),
    "0008103E": ("SeriesDescription", "LO"),
    "0020000D": ("StudyInstanceUID", "UI"),
    "0020000E": ("SeriesInstanceUID", "UI"),
    "00200011": ("SeriesNumber", "IS"),
    "00200013": ("InstanceNumber", "IS"),
    "00201209": ("NumberOfSeriesRelatedInstances", "IS"),
}
_MORE = '299 s4s-sandbox: "There are more results that can be requested with offset"'
_IGNORED = ("includefield", "fuzzymatching")


def routes() -> list[Route]:
    """Return the routes of the lists, with a token and without."""
    return [Route(prefix + path, guard(_search)) for prefix in PREFIXES for path in _LISTS]


async def _search(request: Request) -> Response:
    study = await run_in_threadpool(owned_study, request)
    context = context_of(request)
    if not context.personality.lists_images:
        raise KeyError("lists")
    matches = [*_matching(request)]
    if unknown := [key for key, _ in matches if key not in _TAGS]:
        return json_error(request, 400, "invalid", f"{unknown[0]} is no key of this list")
    try:
        limit, offset = (
            int(request.query_params.get(name, default))
            for name, default in (("limit", 1 << 31), ("offset", 0))
        )
    except ValueError:
        limit = offset = -1
    if limit < 0 or offset < 0:
        return json_error(request, 400, "invalid", "limit and offset are whole numbers from 0")
    names = request.path_params
    by_series = request.url.path.endswith("/series")
    found = [
        item
        for item in (_of_series(study) if by_series else _of_instances(study))
        if names.get("series") in (None, item["0020000E"])
        and all(_matches(item[key], value) for key, value in matches)
    ]
    end = offset + min(limit, context.settings.list_limit or limit)
    headers = dict(NO_STORE) | ({"Warning": _MORE} if end < min(len(found), offset + limit) else {})
    items = [{tag: _element(tag, item[tag]) for tag in item} for item in found[offset:end]]
    if not items:
        return Response(status_code=204, headers=headers)
    return JSONResponse(items, headers=headers, media_type="application/dicom+json")


def _matching(request: Request) -> Iterator[tuple[str, str]]:
    """Yield the tag and value of each key that the results have to match."""
    tags = {keyword: tag for tag, (keyword, _) in _TAGS.items()}
    for key, value in request.query_params.multi_items():
        if key not in ("limit", "offset", *_IGNORED) and value:
            yield tags.get(key, key.upper()), value


def _matches(value: str | int | None, wanted: str) -> bool:
    """Match by a list of UIDs, by wildcards, or exactly (PS3.4 C.2.2.2)."""
    text = "" if value is None else str(value)
    return any(fnmatch.fnmatchcase(text, one) for one in wanted.replace("\\", ",").split(","))


def _of_series(study: ArchivedStudy) -> list[dict[str, Any]]:
    return [_series(study, series) | {"00201209": len(series.instances)} for series in study.series]


def _of_instances(study: ArchivedStudy) -> list[dict[str, Any]]:
    return [_series(study, series) | _instance(one) for series, one in study.instances()]


def _series(study: ArchivedStudy, series: ArchivedSeries) -> dict[str, Any]:
    return {
        "00080060": series.modality,
        "0008103E": series.description,
        "0020000D": study.uid,
        "0020000E": series.uid,
        "00200011": series.number,
    }


def _instance(instance: ArchivedInstance) -> dict[str, Any]:
    return {
        "00080016": instance.sop_class,
        "00080018": instance.uid,
        "00200013": instance.number,
    }


def _element(tag: str, value: str | int) -> dict[str, Any]:
    """Return an element of the DICOM JSON model (PS3.18 annex F)."""
    return {"vr": _TAGS[tag][1]} | ({"Value": [value]} if value not in ("", None) else {})
