"""``SandboxServer``: a complete data holder on loopback, with synthetic participants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from . import fhir_routes, qido_routes, token_routes, wado_routes
from .approve import approve
from .authority import Authority
from .browser_rules import CrossOrigin, HostCheck
from .consent import SignInRoutes
from .context import ImageSource, PreparationDelay, Record, SampleImages, SandboxContext
from .data.archive import SampleArchive
from .data.history import GroundTruth
from .data.people import PEOPLE, Resource
from .faults import FaultInjector, Rule
from .http_server import ForwardedPrefix, RequestRecorder, Servers
from .resources import ResourceStore
from .settings import REAL_PACS_SECONDS, Pacs, Settings, find_personality

if TYPE_CHECKING:
    from .pacs import PacsArchive

# The redirect of an approval without a browser; nothing listens there.
REDIRECT_URI = "http://127.0.0.1:1/s4s/callback"


class SandboxServer:
    """A data holder over real HTTP: FHIR STU3 and SMART on one origin, WADO-RS on another.

    Implements the holder's side of Sync for Science, Imaging Data use case.

    Args:
        patients: Ids of the participants; all by default, ``smart-1288992`` among them.
        wado: Base of another WADO-RS server to name in Endpoints.
        retry_after: Seconds from a study's first request to its images (503 in between).
        search_retry_after: The same for the first search of each type; 0 for none.
        slow: Whether to be as slow as a real PACS: five minutes.
        seed: Seed of the generated claims.
        port: Port of FHIR and OAuth; 0 for any free port.
        imaging_port: Port of WADO-RS; 0 for any free port.
        page_size: Resources in a page of a search.
        access_lifetime: Seconds an access token is valid.
        public_url: Address of the server for browsers behind a proxy, used for the pages
            alone.
        personality: ``"broker-2018"`` or ``"smart-imaging"``: deviations of real holders;
            ``"carin"``: a health plan with the claims of the same people, and no images.
        pacs: ``"AET@host:port"`` or a :class:`Pacs`: images from a DICOM archive.
        open_access: Whether FHIR, images and the debug calls are also served without sign-in; by
            default unless the images are those of a DICOM archive.
        scope_versions: The versions of SMART whose scopes are granted, ``"v1"`` and ``"v2"``.
        list_limit: The longest list that QIDO-RS sends at once.
        ignores_patient: Whether a search without sign-in ignores the patient that it names.
        host_names: Further names under which the servers may be reached; others get 421.
        clock_skew: Seconds that the holder's clock is ahead.
        clock: Returns the POSIX time.
        expose: Whether to listen on all interfaces instead of loopback.

    Raises:
        OSError: A port is in use (in ``start``).
        ValueError: A setting is invalid.

    >>> with SandboxServer(retry_after=0) as sandbox:
    ...     sandbox.patients[0]
    'smart-1288992'
    """

    def __init__(
        self,
        *,
        patients: Sequence[str] | None = None,
        wado: str | None = None,
        retry_after: float = 2.0,
        search_retry_after: float = 0.0,
        slow: bool = False,
        seed: int = 1288992,
        port: int = 0,
        imaging_port: int = 0,
        page_size: int = 20,
        access_lifetime: int = 3600,
        public_url: str | None = None,
        personality: str | None = None,
        pacs: str | Pacs | None = None,
        open_access: bool | None = None,
        scope_versions: Sequence[str] | None = None,
        list_limit: int | None = None,
        ignores_patient: bool = False,
        host_names: Sequence[str] = (),
        clock_skew: float = 0.0,
        clock: Callable[[], float] | None = None,
        expose: bool = False,
    ) -> None:
        options: dict[str, Any] = {} if clock is None else {"clock": clock}
        self.settings = Settings(
            patients=tuple(patients or (p.id for p in PEOPLE)),
            wado=None if wado is None else wado.rstrip("/"),
            retry_after=REAL_PACS_SECONDS if slow else retry_after,
            search_retry_after=search_retry_after,
            seed=seed,
            host="0.0.0.0" if expose else "127.0.0.1",  # noqa: S104 - only when asked for
            port=port,
            imaging_port=imaging_port,
            page_size=page_size,
            access_lifetime=access_lifetime,
            public_url=public_url,
            personality=personality,
            pacs=Pacs.parse(pacs) if isinstance(pacs, str) else pacs,
            open_access=pacs is None if open_access is None else open_access,
            scope_versions=None if scope_versions is None else tuple(scope_versions),
            list_limit=list_limit,
            ignores_patient=ignores_patient,
            host_names=tuple(host_names),
            clock_skew=clock_skew,
            **options,
        )
        self._context: SandboxContext | None = None
        self._servers: Servers | None = None
        self._delays: list[PreparationDelay] = []

    # -- start and stop ----------------------------------------------------------------------------

    def start(self) -> Self:
        """Bind both ports and serve; return itself. A second start does nothing."""
        if self._context is not None:
            return self
        settings = self.settings
        servers = Servers(settings.host, (settings.port, settings.imaging_port))
        try:
            context = self._new_context()
        except BaseException:
            servers.stop()
            raise
        fhir_port, imaging_port = servers.ports
        context.ports = (fhir_port, imaging_port)
        context.fhir_origin = f"http://127.0.0.1:{fhir_port}"
        context.imaging_origin = f"http://127.0.0.1:{imaging_port}"
        search_delay = PreparationDelay(settings.search_retry_after, settings.clock)
        self._delays.append(search_delay)
        servers.start(_apps(context, search_delay))
        self._servers, self._context = servers, context
        return self

    def _new_context(self) -> SandboxContext:
        settings = self.settings
        library = SampleArchive(settings.patients)
        delay = PreparationDelay(settings.retry_after, settings.clock)
        self._delays = [delay]
        archive = _archive(settings)
        personality = find_personality(settings.personality)
        images: ImageSource = archive or SampleImages(library, delay)
        return SandboxContext(
            archive=archive,
            settings=settings,
            personality=personality,
            resources=ResourceStore(
                settings.patients, library, settings.seed, carin=personality.carin
            ),
            images=images,
            authority=Authority(settings),
        )

    def stop(self) -> None:
        """Stop serving, and remove all tokens and generated files."""
        if self._servers is not None:
            self._servers.stop()
            self._servers = None
        if self._context is not None:
            self._context.images.close()
            self._context = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        address = self._context.fhir_base if self._context is not None else "stopped"
        return f"<Sandbox {address}>"

    @property
    def _running(self) -> SandboxContext:
        if self._context is None:
            raise RuntimeError("the sandbox is not running: use it in a with statement, or start()")
        return self._context

    # -- addresses and requests ----------------------------------------------------

    @property
    def fhir_url(self) -> str:
        """FHIR base that needs a token."""
        return self._running.fhir_base

    @property
    def open_fhir_url(self) -> str:
        """FHIR base without sign-in, as the examples of Sync for Science use it."""
        return self._running.open_base

    @property
    def wado_url(self) -> str:
        """WADO-RS base that needs a token: ``{wado_url}/studies/{uid}``."""
        return self.settings.wado or self._running.imaging_origin

    def wado_base(self, patient: str, *, open_: bool = False) -> str:
        """Return the WADO-RS base in a patient's Endpoint."""
        return self._running.wado_base(patient, open_=open_)

    @property
    def patients(self) -> tuple[str, ...]:
        """Ids of the participants."""
        return self.settings.patients

    @property
    def truth(self) -> GroundTruth:
        """Which claim line paid for which study, and true volumes, lengths and uptakes."""
        return self._running.resources.truth

    @property
    def requests(self) -> list[Record]:
        """The last 10,000 requests, oldest first, without any secret."""
        return list(self._running.log.copy())  # copy() is atomic

    def clear_requests(self) -> None:
        """Remove all requests from :attr:`requests`."""
        self._running.log.clear()

    # -- changes for tests and lessons --------------------------------------------------

    def resources(self, type_: str, patient: str | None = None) -> list[Resource]:
        """Return the stored resources of a type, without the personality's deviations."""
        return self._running.resources.of_type(type_, patient)

    def put(self, resource: Resource) -> Resource:
        """Add or replace a resource, with a new version and ``meta.lastUpdated``."""
        return self._running.resources.put(resource, self.settings.now())

    def remove(self, reference: str) -> None:
        """Stop serving ``Type/id``, as when a holder removes data."""
        self._running.resources.remove(reference)

    def forget_waits(self) -> None:
        """Delay studies and searches again, and query a PACS again."""
        for delay in self._delays:
            delay.reset()
        if self._running.archive is not None:
            self._running.archive.refresh()

    def script(self, path: str, **options: Any) -> Rule:
        """Add a rule for the next requests to ``path``.

        Args:
            path: A glob, such as ``*/studies/*``.
            **options: Further attributes of :class:`Rule`.

        >>> with SandboxServer() as sandbox:
        ...     rule = sandbox.script("*/ImagingStudy*", status=503, headers=[("Retry-After", "1")])
        ...     rule.used
        0
        """
        return self._running.script.add(Rule(path, **options))

    def unscript(self) -> None:
        """Remove all rules."""
        self._running.script.clear()

    @property
    def authority(self) -> Authority:
        """The authorization server, to expire or revoke tokens."""
        return self._running.authority

    def token(self, patient: str, *, scope: str | None = None) -> str:
        """Return an access token without a sign-in; by default for everything."""
        authority = self._running.authority
        client, _ = authority.register("a tool", (REDIRECT_URI,), "none")
        scopes = authority.scopes[:3] if scope is None else tuple(scope.split())
        approval = authority.approve(client.id, patient, scopes)
        return str(authority.issue(approval)["access_token"])

    def approve(
        self,
        authorize_url: str,
        *,
        patient: str = "smart-1288992",
        decline: bool = False,
        share: Sequence[str] | None = None,
    ) -> str:
        """Approve or decline over HTTP, and return the redirect; see :func:`approve`."""
        return approve(authorize_url, patient=patient, decline=decline, share=share)


def _archive(settings: Settings) -> PacsArchive | None:
    """Return the connection to a PACS, if one is configured."""
    if settings.pacs is None:
        return None
    from .pacs import PacsArchive

    mrns = {p.id: p.mrn for p in PEOPLE if p.id in settings.patients}
    archive = PacsArchive(
        settings.pacs,
        {**mrns, **settings.pacs.mrns},
        host=settings.host,
        limit=settings.pacs.cache_bytes,
        clock=settings.now,
    )
    archive.start()
    return archive


def _apps(context: SandboxContext, search_delay: PreparationDelay) -> list[ASGIApp]:
    handlers: dict[Any, Any] = {HTTPException: _http_error, Exception: fhir_routes.internal_error}
    fhir = Starlette(
        routes=[
            *SignInRoutes().routes(),
            *token_routes.routes(),
            *fhir_routes.routes(search_delay),
        ],
        exception_handlers=handlers,
    )
    images = [*qido_routes.routes(), *wado_routes.routes()]
    imaging = Starlette(routes=images, exception_handlers=handlers)
    apps: list[ASGIApp] = []
    for app, is_imaging in ((fhir, False), (imaging, True)):
        app.state.sandbox = context
        app.router.redirect_slashes = False
        port = context.ports[is_imaging]
        inner = ForwardedPrefix(HostCheck(CrossOrigin(app, context), context, port))
        faulty = FaultInjector(inner, context.script)
        apps.append(RequestRecorder(faulty, context, imaging=is_imaging))
    return apps


def _http_error(request: Request, error: Exception) -> Response:
    """Answer unknown paths and methods with an OperationOutcome."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    code = "not-found" if status == 404 else "not-supported"
    return wado_routes.json_error(request, status, code, "no such page or method", headers)
