"""The FHIR server: CapabilityStatement, search and read, with a token and without."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from .context import (
    NO_STORE,
    BadBodyError,
    DeniedError,
    Handler,
    NotReadyError,
    PreparationDelay,
    SandboxContext,
    UpstreamError,
    bearer_approval,
    context_of,
    outcome,
    read_form,
)
from .data.people import Resource
from .resources import (
    SHARED_TYPES,
    about_patients,
    archive_resources,
    endpoint_resources,
    patient_of,
    represent,
)
from .search import (
    OWN_PARAMETERS,
    PATIENT_PARAMETERS,
    BadSearchError,
    BundleBuilder,
    SearchQuery,
    parse_search,
    select_resources,
)
from .token_routes import authorization_server, oauth_urls

OPEN_ACCESS_OFF = "access without sign-in is off in this sandbox"
_JSON = ("application/fhir+json", "application/json+fhir", "application/json")


@dataclass(frozen=True)
class FhirEndpoint:
    """One FHIR base: ``/api/fhir`` needs a token, ``/api/open-fhir`` does not."""

    delay: PreparationDelay
    open: bool

    def routes(self) -> list[BaseRoute]:
        """Return the routes below the base."""
        routes: list[BaseRoute] = [
            Route("/metadata", self.guard(self.metadata)),
            Route("/{type}", self.guard(self.search)),
            Route("/{type}/", self.guard(self.search)),
            Route("/{type}/_search", self.guard(self.search), methods=["POST"]),
            Route("/{type}/{id}", self.guard(self.read)),
        ]
        if not self.open:
            routes.insert(0, Route("/.well-known/smart-configuration", self.well_known))
        return [Mount("/api/open-fhir" if self.open else "/api/fhir", routes=routes)]

    def base(self, context: SandboxContext) -> str:
        """Return the address of the base."""
        return context.open_base if self.open else context.fhir_base

    def guard(self, handler: Handler) -> Handler:
        """Return a handler that turns refusals into OperationOutcomes."""

        async def guarded(request: Request) -> Response:
            context = context_of(request)
            if self.open and not context.settings.open_access:
                return error_response(request, 404, "not-found", OPEN_ACCESS_OFF)
            try:
                return await handler(request)
            except DeniedError as denied:
                status = 500 if context.personality.auth_failure_is_500 else denied.status
                code = "login" if denied.status == 401 else "forbidden"
                return error_response(request, status, code, denied.description, denied.headers)
            except (BadSearchError, BadBodyError) as bad:
                return error_response(request, 400, "invalid", str(bad))
            except NotReadyError as wait:
                headers = context.retry_header(wait.seconds)
                return error_response(request, 503, "throttled", "still being prepared", headers)
            except UpstreamError as broken:
                return error_response(request, broken.status, "transient", broken.description)

        return guarded

    async def well_known(self, request: Request) -> Response:
        """Answer ``.well-known/smart-configuration``."""
        context = context_of(request)
        if not context.personality.well_known:
            return error_response(request, 404, "not-found", "no such page")
        return JSONResponse(smart_configuration(context))

    async def metadata(self, request: Request) -> Response:
        """Answer ``metadata``."""
        context = context_of(request)
        statement = capability_statement(context, self.base(context), open_=self.open)
        return fhir_response(request, statement)

    def _patient(
        self, request: Request, context: SandboxContext, type_: str, interaction: str
    ) -> str | None:
        """Return the patient that this request may read; None (all) on the open base."""
        if self.open:
            return None
        approval = bearer_approval(request, context)
        if not approval.covers(type_, interaction):
            raise DeniedError(403, f"this approval does not cover {type_}")
        return approval.patient_id

    async def search(self, request: Request) -> Response:
        """Answer a search, by GET or by POST to ``_search``."""
        context, type_ = context_of(request), request.path_params["type"]
        if type_ not in context.settings.served_types:
            return error_response(request, 404, "not-supported", f"{type_[:60]} is not served here")
        patient_id = self._patient(request, context, type_, "s")
        pairs = list(request.query_params.multi_items())
        if request.method == "POST":
            pairs += await read_form(request)
        strict = "handling=strict" in request.headers.get("prefer", "")
        query = parse_search(type_, pairs, page_size=context.settings.page_size, strict=strict)
        patients = self._readable_patients(query, patient_id)
        if self.open and context.settings.ignores_patient:
            patients = None
        remaining = self.delay.remaining(f"{self.open}/{query.type}/{patients}")
        if remaining > 0:
            raise NotReadyError(remaining)
        matches = await run_in_threadpool(self._matches, context, query, patients)
        if type_ == "ImagingStudy" and not matches and context.personality.no_studies_is_500:
            raise UpstreamError(500, "no studies")
        builder = BundleBuilder(self.base(context), context.instant, outcome)
        included = self._endpoints(context, patients) if query.include_endpoint else []
        return fhir_response(request, builder.page(query, matches, included))

    @staticmethod
    def _readable_patients(query: SearchQuery, patient_id: str | None) -> tuple[str, ...] | None:
        """Return the patients to search, None for all; a token limits them to its own."""
        if patient_id is None:
            return query.patients
        if query.patients is not None and set(query.patients) != {patient_id}:
            raise DeniedError(403, "this approval is for another patient")
        return (patient_id,)

    def _matches(
        self, context: SandboxContext, query: SearchQuery, patients: tuple[str, ...] | None
    ) -> list[Resource]:
        resources = self._resources(context, query.type, patients)
        matches = select_resources(query, resources, context.settings.now())
        return [self._represent(context, resource) for resource in matches]

    async def read(self, request: Request) -> Response:
        """Answer a read by type and id."""
        context = context_of(request)
        type_, id_ = request.path_params["type"], request.path_params["id"]
        if type_ not in context.settings.served_types:
            return error_response(request, 404, "not-supported", f"{type_[:60]} is not served here")
        patient_id = self._patient(request, context, type_, "r")
        resources = await run_in_threadpool(self._resources, context, type_, None)
        resource = next((r for r in resources if r["id"] == id_), None)
        if resource is None:
            return error_response(request, 404, "not-found", f"there is no {type_} of that id")
        owner = id_.removeprefix("wado-") if type_ == "Endpoint" else patient_of(resource)
        if patient_id is not None and owner != patient_id and type_ not in SHARED_TYPES:
            raise DeniedError(403, "this approval is for another patient")
        headers = {"ETag": f'W/"{resource["meta"]["versionId"]}"'} if "meta" in resource else {}
        return fhir_response(request, self._represent(context, resource), headers=headers)

    def _resources(
        self, context: SandboxContext, type_: str, patients: tuple[str, ...] | None
    ) -> list[Resource]:
        """Return all resources of a type, of some patients (None: of all)."""
        if type_ == "Endpoint":
            return self._endpoints(context, patients)
        if type_ == "ImagingStudy" and context.archive is not None:
            ids = patients or tuple(p.id for p in context.resources.people)
            return archive_resources(e for id_ in ids for e in context.archive.listing(id_))
        resources = context.resources.of_type(type_)
        if patients is None or type_ in SHARED_TYPES:
            return resources
        return about_patients(resources, patients)

    def _endpoints(
        self, context: SandboxContext, patients: tuple[str, ...] | None
    ) -> list[Resource]:
        ids = [p.id for p in context.resources.people if patients is None or p.id in patients]
        wado_base = partial(context.wado_base, open_=self.open)
        return endpoint_resources(ids, context.personality, wado_base, token_needed=not self.open)

    def _represent(self, context: SandboxContext, resource: Resource) -> Resource:
        wado_base = partial(context.wado_base, open_=self.open)
        return represent(resource, context.personality, wado_base)


def error_response(
    request: Request, status: int, code: str, text: str, headers: dict[str, str] | None = None
) -> Response:
    """Return an OperationOutcome in the requested format."""
    return fhir_response(request, outcome("error", code, text), status, headers)


def fhir_response(
    request: Request, resource: Resource, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return JSON in the requested media type; 406 if the client accepts XML alone."""
    media = _media(request)
    if media is None:
        media = _JSON[0]
        if status < 400:  # an error is worth reading in any format
            status, resource = 406, outcome("error", "not-supported", "only JSON is served")
    body = json.dumps(resource, ensure_ascii=False, separators=(",", ":")).encode()
    all_headers = {**NO_STORE, **(headers or {})}
    return Response(body, status, headers=all_headers, media_type=f"{media}; charset=utf-8")


def _media(request: Request) -> str | None:
    requested = request.query_params.get("_format")
    if requested is not None:
        return _JSON[0] if "json" in requested else None
    accept = request.headers.get("accept", "*/*").lower()
    ranges = [part.partition(";")[0].strip() for part in accept.split(",")]
    for item in ranges:
        if item in _JSON:
            return item
    return _JSON[0] if any(r in ("", "*/*", "application/*") for r in ranges) else None


def routes(delay: PreparationDelay) -> list[BaseRoute]:
    """Return the routes of both FHIR bases."""
    return [r for open_ in (False, True) for r in FhirEndpoint(delay, open_).routes()]


def internal_error(request: Request, error: Exception) -> Response:
    """Return a 500 without the details of an unexpected error."""
    del error
    return error_response(request, 500, "exception", "the sandbox failed; see its console")


SECURITY_SERVICE = "http://hl7.org/fhir/restful-security-service"
R4_SECURITY_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"
OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_PARAMETER_TYPES = {
    "_id": "token",
    "_lastUpdated": "date",
    "started": "date",
    "identifier": "token",
    "patient": "reference",
    "beneficiary": "reference",
    "_count": "number",
    "startIndex": "number",
}


def smart_configuration(context: SandboxContext) -> dict[str, Any]:
    """Return the SMART discovery document, with the origin of the images."""
    imaging = context.settings.wado or context.imaging_origin
    has_images = "ImagingStudy" in context.settings.served_types
    endpoint = {"url": imaging, "capabilities": ["dicom-wado-rs"]}
    return {
        **authorization_server(context),
        "capabilities": [
            "launch-standalone",
            "client-public",
            "client-confidential-symmetric",
            "context-standalone-patient",
            "permission-patient",
            "permission-offline",
            *(f"permission-{version}" for version in context.settings.granted_versions),
            "authorize-post",
            *(["smart-imaging-access"] if has_images else []),
        ],
        **({"associated_endpoints": [endpoint]} if has_images else {}),
    }


def capability_statement(context: SandboxContext, base: str, *, open_: bool) -> Resource:
    """Return the CapabilityStatement of one base."""
    r4 = context.personality.r4
    capabilities = [_capability(type_) for type_ in context.settings.served_types]
    rest: Resource = {"mode": "server", "resource": capabilities}
    if not open_:
        uris = [
            {"url": name, "valueUri": url}
            for name, url in oauth_urls(context).items()
            if name in ("authorize", "token", "register", "manage")
        ]
        system = R4_SECURITY_SERVICE if r4 else SECURITY_SERVICE
        rest["security"] = {
            "cors": True,
            "service": [{"coding": [{"system": system, "code": "SMART-on-FHIR"}]}],
            "extension": [{"url": OAUTH_URIS, "extension": uris}],
        }
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-24",
        "publisher": "s4s-notebook sandbox (synthetic data)",
        "kind": "instance",
        "software": {"name": "s4s-notebook sandbox"},
        "implementation": {"description": "A practice data holder", "url": base},
        "fhirVersion": "4.0.1" if r4 else "3.0.2",
        **({} if r4 else {"acceptUnknown": "extensions"}),
        "format": ["application/fhir+json", "application/json+fhir", "json"],
        "rest": [rest],
    }


def _capability(type_: str) -> Resource:
    names = ["_id", "_lastUpdated", *PATIENT_PARAMETERS[type_], *OWN_PARAMETERS[type_]]
    capability: Resource = {
        "type": type_,
        "interaction": [{"code": "read"}, {"code": "search-type"}],
        "searchParam": [
            {"name": name, "type": _PARAMETER_TYPES[name]}
            for name in [*names, "_count", "startIndex"]
        ],
    }
    if type_ == "ImagingStudy":
        capability["searchInclude"] = ["ImagingStudy:endpoint"]
    return capability
