"""The FHIR face: CapabilityStatement, search and read, with a token and without."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from . import capability
from .data.people import Resource
from .forms import BadBodyError, form_of
from .holding import TYPES, patient_of
from .search import BadSearchError, PageMaker, Query, of_patients, parse, select
from .shapes import archived, endpoints_of, shaped
from .state import (
    NO_STORE,
    DeniedError,
    NotReadyError,
    State,
    UpstreamError,
    bearer,
    outcome,
    state_of,
)
from .waits import Preparing

Handler = Callable[[Request], Awaitable[Response]]
_JSON = ("application/fhir+json", "application/json+fhir", "application/json")


class Face:
    """One base: ``/api/fhir`` wants a token, ``/api/open-fhir`` does not."""

    def __init__(self, *, open_: bool, preparing: Preparing) -> None:
        self.open = open_
        self._preparing = preparing

    def routes(self) -> list[BaseRoute]:
        made: list[BaseRoute] = [
            Route("/metadata", self.guard(self.metadata)),
            Route("/{type}", self.guard(self.search)),
            Route("/{type}/", self.guard(self.search)),
            Route("/{type}/_search", self.guard(self.search), methods=["POST"]),
            Route("/{type}/{id}", self.guard(self.read)),
        ]
        if not self.open:
            made.insert(0, Route("/.well-known/smart-configuration", self.well_known))
        return [Mount("/api/open-fhir" if self.open else "/api/fhir", routes=made)]

    def base(self, state: State) -> str:
        return state.open_base if self.open else state.fhir_base

    def guard(self, handler: Handler) -> Handler:
        """Turn refusals into OperationOutcomes with the right status."""

        async def guarded(request: Request) -> Response:
            state = state_of(request)
            try:
                return await handler(request)
            except DeniedError as denied:
                status = 500 if state.personality.auth_failure_is_500 else denied.status
                code = "login" if denied.status == 401 else "forbidden"
                return refuse(request, status, code, denied.why, denied.headers)
            except BadSearchError as bad:
                return refuse(request, 400, "invalid", str(bad))
            except BadBodyError as bad_body:
                return refuse(request, 400, "invalid", str(bad_body))
            except NotReadyError as wait:
                headers = state.retry_header(wait.seconds)
                return refuse(request, 503, "throttled", "still being prepared", headers)
            except UpstreamError as broken:
                return refuse(request, broken.status, "transient", broken.why)

        return guarded

    async def well_known(self, request: Request) -> Response:
        state = state_of(request)
        if not state.personality.well_known:
            return refuse(request, 404, "not-found", "no such page")
        return JSONResponse(capability.smart_configuration(state))

    async def metadata(self, request: Request) -> Response:
        state = state_of(request)
        return answer(request, capability.statement(state, self.base(state), open_=self.open))

    def _patient(self, request: Request, state: State, type_: str) -> str | None:
        """The one patient this request may see; None on the open base."""
        if self.open:
            return None
        approval = bearer(request, state)
        if not approval.covers(type_):
            raise DeniedError(403, f"this approval does not cover {type_}")
        return approval.patient_id

    async def search(self, request: Request) -> Response:
        state, type_ = state_of(request), request.path_params["type"]
        if type_ not in TYPES:
            return refuse(request, 404, "not-supported", f"{type_[:60]} is not served here")
        patient_id = self._patient(request, state, type_)
        pairs = list(request.query_params.multi_items())
        if request.method == "POST":
            pairs += await form_of(request)
        strict = "handling=strict" in request.headers.get("prefer", "")
        query = parse(type_, pairs, page_size=state.settings.page_size, strict=strict)
        wanted = self._wanted(query, patient_id)
        self._wait(query, wanted)
        found = await run_in_threadpool(self._found, state, query, wanted)
        if type_ == "ImagingStudy" and not found and state.personality.no_studies_is_500:
            raise UpstreamError(500, "no studies")
        maker = PageMaker(self.base(state), state.instant, outcome)
        included = endpoints_of(state, wanted, open_=self.open) if query.include_endpoint else []
        return answer(request, maker.page(query, found, included))

    @staticmethod
    def _wanted(query: Query, patient_id: str | None) -> tuple[str, ...] | None:
        """Which patients to look at: a token sees its own, whatever the search names."""
        if patient_id is None:
            return query.patients
        if query.patients is not None and set(query.patients) != {patient_id}:
            raise DeniedError(403, "this approval is for another patient")
        return (patient_id,)

    def _wait(self, query: Query, wanted: tuple[str, ...] | None) -> None:
        left = self._preparing.left(f"{self.open}/{query.type}/{wanted}")
        if left > 0:
            raise NotReadyError(left)

    def _found(self, state: State, query: Query, wanted: tuple[str, ...] | None) -> list[Resource]:
        held = resources(state, query.type, wanted, open_=self.open)
        chosen = select(query, held, state.settings.now())
        return [shaped(resource, state, open_=self.open) for resource in chosen]

    async def read(self, request: Request) -> Response:
        state = state_of(request)
        type_, id_ = request.path_params["type"], request.path_params["id"]
        if type_ not in TYPES:
            return refuse(request, 404, "not-supported", f"{type_[:60]} is not served here")
        patient_id = self._patient(request, state, type_)
        everything = await run_in_threadpool(resources, state, type_, None, open_=self.open)
        held = next((r for r in everything if r["id"] == id_), None)
        if held is None:
            return refuse(request, 404, "not-found", f"there is no {type_} of that id")
        owner = id_.removeprefix("wado-") if type_ == "Endpoint" else patient_of(held)
        if patient_id is not None and owner != patient_id:
            raise DeniedError(403, "this approval is for another patient")
        resource = shaped(held, state, open_=self.open)
        headers = {"ETag": f'W/"{held["meta"]["versionId"]}"'} if "meta" in held else {}
        return answer(request, resource, headers=headers)


def resources(
    state: State, type_: str, patients: tuple[str, ...] | None, *, open_: bool
) -> list[Resource]:
    """Everything held of a type, of those patients (None: of all)."""
    if type_ == "Endpoint":
        return endpoints_of(state, patients, open_=open_)
    if type_ == "ImagingStudy" and state.archive is not None:
        return archived(state.archive, patients or tuple(p.id for p in state.holding.people))
    held = state.holding.of_type(type_)
    return held if patients is None else of_patients(held, patients)


def refuse(
    request: Request, status: int, code: str, why: str, headers: dict[str, str] | None = None
) -> Response:
    return answer(request, outcome("error", code, why), status=status, headers=headers)


def answer(
    request: Request,
    resource: Resource,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """JSON in the media type that was asked for; 406 for XML alone."""
    media = _media(request)
    if media is None:
        media = _JSON[0]
        if status < 400:  # an error is worth reading in any format
            status, resource = 406, outcome("error", "not-supported", "only JSON is served")
    body = json.dumps(resource, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(
        body, status, headers={**NO_STORE, **(headers or {})}, media_type=f"{media}; charset=utf-8"
    )


def _media(request: Request) -> str | None:
    wanted = request.query_params.get("_format")
    if wanted is not None:
        return _JSON[0] if "json" in wanted else None
    accept = request.headers.get("accept", "*/*").lower()
    ranges = [part.partition(";")[0].strip() for part in accept.split(",")]
    for item in ranges:
        if item in _JSON:
            return item
    return _JSON[0] if any(r in ("", "*/*", "application/*") for r in ranges) else None


def app_routes(preparing: Preparing) -> list[BaseRoute]:
    """Both faces."""
    faces = [Face(open_=False, preparing=preparing), Face(open_=True, preparing=preparing)]
    return [route for face in faces for route in face.routes()]


def unhandled(request: Request, error: Exception) -> Response:
    """A bug of ours, said plainly and without its details."""
    del error
    return refuse(request, 500, "exception", "the sandbox failed; see its console")
