"""``Connection``: one participant at one data holder."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from ..errors import Cancelled, Incomplete, NotFound, S4SError, Stopped
from ..fhir.resources import REFERRED, RESOURCE_TYPES
from ..http.client import Exchange
from ..http.redact import Secret
from ..smart import discovery
from ..smart.approval import Status
from ..store.participant import Participant
from ..store.store import Store
from ..task import Cancel, Clock
from ..tracebacks import methods_without_variables
from .download import Download, requested_studies, skipped_words
from .frames import Frames, changes
from .known_holders import Holders
from .loading import Loading
from .options import ConnectOptions, spells_out
from .overview import connection_card
from .session import Session
from .study_download import DownloadSource

if TYPE_CHECKING:
    import pandas as pd

_Work = TypeVar("_Work", "Loading[Connection]", Download)
_CLOSE_TIMEOUT = 2.0  # seconds for work to end when the connection is closed


@methods_without_variables
class Connection:
    """One participant at one data holder. Made by :func:`s4s_notebook.connect`.

    The first call of a table requests it from the holder; later calls read the store; only
    :meth:`update` requests it again. With a store that has data already, everything but
    ``update()`` and missing studies works without the holder, and without signing in.

    Args:
        url: FHIR base address of the holder, or all options in one object.
        ask: called with an unknown origin; True is consent.
        display: called with each Download and Loading that starts.
        clock: time, for tests.
        share_approval: use an approval that this process has for the same holder, client and scope.
        **options: those of :func:`s4s_notebook.connect`: ``patient``, ``access_token``,
            ``client_id``, ``client_secret``, ``redirect_uri``, ``scope``, ``store``,
            ``allow_origins``, ``waits``, ``remember``, ``legacy``, ``overlap``, ``page_size``,
            ``read_referred``.

    Attributes:
        store: the Store in which everything is stored.
        session: the sign-in and the transport, for panels and tools.

    Raises:
        DiscoveryError: no FHIR holder at this address, or none that offers a sign-in.
        HolderUnavailable: the holder did not answer.
    """

    @spells_out()
    def __init__(
        self,
        url: str | ConnectOptions,
        *,
        ask: Callable[[str], bool] | None = None,
        display: Callable[[Any], object] | None = None,
        clock: Clock | None = None,
        share_approval: bool = False,
        **options: Any,
    ) -> None:
        settings = url if isinstance(url, ConnectOptions) else ConnectOptions(url, **options)
        store = settings.store
        self.store = store if isinstance(store, Store) else Store(store)
        self._owns_store = not isinstance(store, Store)
        self._display = display
        self._frames = Frames()
        self._study_only: set[str] = set()
        self._started: WeakSet[Loading[Connection] | Download] = WeakSet()
        self.session = Session(
            settings, store=self.store, ask=ask, clock=clock, share_approval=share_approval
        )
        if not self._is_loaded("ImagingStudy") and not self._is_loaded("ExplanationOfBenefit"):
            try:
                _ = self.session.holder
            except BaseException:
                self.close()
                raise

    def __repr__(self) -> str:
        return f"<Connection to {self.session.base}, {self.status}>"

    def _repr_html_(self) -> str:
        return connection_card(self.session, self.store)

    # The holder and the approval

    @property
    def holder(self) -> discovery.Holder:
        """Addresses and capabilities of the holder, from discovery."""
        return self.session.holder

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on the holder and on the way there, such as a proxy."""
        return self.session.notes

    @property
    def patient_id(self) -> str | None:
        """FHIR id of the participant; None before an approval."""
        return self.session.patient

    @property
    def participant(self) -> Participant:
        """The store's data of this participant."""
        return self.session.participant

    @property
    def status(self) -> Status:
        """State of the approval: a ``str``.

        "open", "not authorised", "waiting for approval", "approved", "expired", "withdrawn" (the
        holder no longer accepts it) or "declined".
        """
        return self.session.status

    @property
    def history(self) -> list[Exchange]:
        """Every exchange with the holder so far, addresses redacted."""
        return list(self.session.history)

    def authorize_url(self, redirect_uri: str | None = None) -> str:
        """Return the address of the page where the person approves.

        Registers this program first (RFC 7591) where no ``client_id`` was given. The address
        is that of a SMART App Launch standalone launch, with PKCE S256 (RFC 7636).

        Args:
            redirect_uri: where the holder sends the browser afterwards; by default the one
                that was registered, else a loopback address (RFC 8252 §7.3).

        Raises:
            AuthorizationError: the holder offers no sign-in, or did not register the program.
        """
        return self.session.authorize_url(redirect_uri)

    def finish(self, redirected_url: str) -> Connection:
        """Complete the sign-in with the address that the browser landed on after approval.

        Compares ``state`` and, where present, ``iss`` (RFC 9207), and exchanges the code for
        tokens (RFC 6749 §4.1.3, RFC 7636 §4.5). Returns the connection itself.

        Raises:
            AccessDenied: the person declined, or the holder refused this program.
            StateMismatch: the reply belongs to another sign-in or holder, or was used already.
            LoginExpired: the reply was too late, or no sign-in waits for one.
            TokenRefused: the holder did not accept the code or the client.
        """
        reply, redirected_url = Secret(redirected_url), ""  # a verbose traceback prints variables
        self.session.finish(reply)
        return self

    def wait_authorized(self, timeout: float | None = None) -> None:
        """Wait for the approval.

        Args:
            timeout: seconds; None waits for as long as it takes.

        Raises:
            TimeoutError: it was not approved in that time.
            AccessDenied, LoginExpired: the person declined, or the reply was too late.
        """
        self.session.wait(Cancel(), timeout)

    # Tables

    def patient(self) -> pd.DataFrame:
        """Return the participant: one row (FHIR Patient).

        Columns: ``s4s.tables.dictionary("patients")``. Raises as :meth:`studies` does.
        """
        return self._table("patients", "Patient")

    def coverage(self) -> pd.DataFrame:
        """One row per insurance coverage (FHIR Coverage).

        Columns: ``s4s.tables.dictionary("coverage")``. Raises as :meth:`studies` does.
        """
        return self._table("coverage", "Coverage")

    def studies(self) -> pd.DataFrame:
        """One row per imaging study (FHIR ImagingStudy), in the order of day and key.

        Columns: ``s4s.tables.dictionary("studies")``. ``attrs`` say where the frame is from:
        ``holder``, ``query``, ``retrieved``, ``pages``, ``complete``, ``duplicates``,
        ``problems``.

        Raises:
            AuthorizationRequired, ReauthorizationRequired: approve first, or again.
            Forbidden: the approval does not cover this type.
            HolderUnavailable: the holder could not be reached, and nothing is stored yet.
            Incomplete: some pages are missing; ``.partial`` is the frame of those received.
            RetryAfterTooLong: the holder asks for a longer wait than ``waits`` allow.
            Cancelled: Cancel was pressed; calling again continues.
        """
        return self._table("studies", "ImagingStudy")

    def series(self) -> pd.DataFrame:
        """One row per series, as the holder lists them and as found in downloaded files.

        Columns: ``s4s.tables.dictionary("series")``. Raises as :meth:`studies` does.
        """
        return self._table("series", "ImagingStudy")

    def benefits(self) -> pd.DataFrame:
        """One row per claim (FHIR ExplanationOfBenefit); amounts in the row's ``currency``.

        Columns: ``s4s.tables.dictionary("benefits")``. Raises as :meth:`studies` does.
        """
        return self._table("benefits", "ExplanationOfBenefit")

    def benefit_lines(self) -> pd.DataFrame:
        """One row per line of a claim (ExplanationOfBenefit.item and addItem).

        Columns: ``s4s.tables.dictionary("benefit_lines")``; ``is_total_line`` marks lines that
        repeat the sum of others. Raises as :meth:`studies` does.
        """
        return self._table("benefit_lines", "ExplanationOfBenefit")

    def diagnoses(self) -> pd.DataFrame:
        """One row per diagnosis of a claim (ExplanationOfBenefit.diagnosis).

        Columns: ``s4s.tables.dictionary("diagnoses")``. Raises as :meth:`studies` does.
        """
        return self._table("diagnoses", "ExplanationOfBenefit")

    def procedures(self) -> pd.DataFrame:
        """One row per procedure of a claim (ExplanationOfBenefit.procedure).

        Columns: ``s4s.tables.dictionary("procedures")``. Raises as :meth:`studies` does.
        """
        return self._table("procedures", "ExplanationOfBenefit")

    def adjudications(self) -> pd.DataFrame:
        """One row per adjudication, at whatever level of the claim.

        Columns: ``s4s.tables.dictionary("adjudications")``. Raises as :meth:`studies` does.
        """
        return self._table("adjudications", "ExplanationOfBenefit")

    def table(self, name: str) -> pd.DataFrame:
        """Return a table by its name: those above, and the long ones.

        Args:
            name: one of ``s4s.tables.TABLES`` or ``s4s.tables.LONG_TABLES``, as in
                ``"care_team"``; ``s4s.tables.dictionary(name)`` has its columns.

        Raises:
            ValueError: there is no such table.
            S4SError: as :meth:`studies`.
        """
        from .. import tables

        return self._table(name, tables.resource_type(name))

    def unread(self) -> pd.DataFrame:
        """Return what stands in the stored resources and in no table: one row per kind of content.

        Columns: as :func:`s4s_notebook.tables.unread`. Makes no request.
        """
        from .. import tables

        kinds = (kind for kind in tables.RESOURCE_TYPES if self._is_loaded(kind))
        return tables.unread(
            one for kind in (*kinds, *REFERRED) for one in self.participant.resources(kind)
        )

    def problems(self) -> pd.DataFrame:
        """Return what did not parse or did not belong in the stored data: one row per value.

        Columns, all ``str``: ``resource``, ``path``, ``value``, ``why``. Makes no request.
        """
        return self._frames.problems(self.store, self.participant)

    def resources(self, kind: str) -> list[dict[str, Any]]:
        """Return the raw FHIR resources of a type; the first call requests them.

        Args:
            kind: a resource type, as in ``"ImagingStudy"``. "Endpoint" gives those that were
                included with studies.

        Raises: as :meth:`studies`.
        """
        if kind in RESOURCE_TYPES:
            self._load_once(kind)
        return list(self.participant.resources(kind))

    # Requests

    def load(self) -> Loading[Connection]:
        """Request what is not stored yet: Patient, Coverage, ImagingStudy, ExplanationOfBenefit.

        Sync for Science, Imaging Data use case: *first-connection*.

        Starts at once in the background; ``await`` it, or call ``.result()``: both give this
        connection.

        Raises (from ``result()`` and ``await``):
            Incomplete: ``.missing`` names the types that failed; ``.partial`` is the connection
                with the others.
            AuthorizationRequired, ReauthorizationRequired: approve first, or again.
            Cancelled: Cancel was pressed; calling again continues.
        """
        kinds = [kind for kind in RESOURCE_TYPES if not self._is_loaded(kind)]
        return self._start(Loading(self.session, kinds, result=self))

    def update(self, full: bool = False) -> pd.DataFrame:
        """Request what is new (*periodic-update*), or with ``full`` everything again.

        Returns:
            One row per resource that has changed: ``resource_type``, ``key``, ``change`` ("new",
            "changed", and after ``full`` "gone": no longer served). ``attrs["unchanged"]`` counts
            those that were sent again as they are stored.

        Raises:
            Incomplete: a type failed; ``.partial`` is the frame of the others.
            HolderUnavailable: the holder could not be reached.

        Searches with ``_lastUpdated=gt…`` (FHIR STU3, Search), by the holder's clock.
        """
        loading = self._start(
            Loading(self.session, RESOURCE_TYPES, result=self, update=True, full=full)
        )
        try:
            self._finish(loading)
        except Incomplete as error:
            error.partial = changes(self.participant, loading.runs)
            raise
        return changes(self.participant, loading.runs)

    def download(self, studies: str | Iterable[str] | pd.Series | pd.DataFrame) -> Download:
        """Download studies to files.

        Starts at once in the background; ``await`` it, or call ``.result()``: one study gives
        a Study, a frame or list of them a list of Study. See :class:`Download` for what those
        raise. Without an approval it waits for one, as :meth:`studies` does.

        Args:
            studies: a Study Instance UID, a row of :meth:`studies`, or a frame of such rows, of
                which those that are not ``downloadable`` are skipped (``Download.skipped``, and
                the line or a warning say so); or several UIDs: a list, or a column of a frame.

        Raises:
            InvalidUID: that is no study UID; nothing was requested.
            InvalidArgument: that names no study (a TypeError); nothing was requested.
        """
        request = requested_studies(studies)
        if request.skipped and self._display is None:
            warnings.warn(skipped_words(request.skipped), stacklevel=3)
        return self._start(Download(self._download_source(), request))

    def _start(self, work: _Work) -> _Work:
        self._started.add(work)
        if self._display is not None:
            self._display(work)
        return work

    def _finish(self, loading: Loading[Connection]) -> None:
        """Wait for a loading; an interrupt (■) ends it, and the next call continues."""
        try:
            loading.result()
        except KeyboardInterrupt:
            loading.cancel()
            raise Stopped(
                "Stopped. Call again to continue: what was received so far is stored."
            ) from None

    def _is_loaded(self, kind: str) -> bool:
        return self.patient_id is not None and self.participant.sync_point(kind) is not None

    def _load_once(self, kind: str) -> None:
        if not self._is_loaded(kind):
            self._finish(self._start(Loading(self.session, [kind], result=self)))

    def _table(self, name: str, kind: str) -> pd.DataFrame:
        try:
            self._load_once(kind)
        except Cancelled:
            raise
        except S4SError as error:
            run = None if self.patient_id is None else self.participant.run(kind)
            if run is None or run.next is None:
                raise
            raise Incomplete(
                f"Not all of {kind} was received: {error.problem}",
                request=error.request,
                partial=self._frames.table(
                    self.store, self.participant, name, kind, complete=False
                ),
            ) from error
        return self._frames.table(self.store, self.participant, name, kind)

    def _download_source(self) -> DownloadSource:
        """Return what a download needs of this connection."""
        return DownloadSource(
            store=self.store,
            participant=lambda: self.participant,
            prepare=self.session.ready,
            find_study=self._find_study,
            imaging_base=lambda: self.holder.imaging_base,
            study_only=self._study_only,
        )

    def _find_study(self, uid: str, cancel: Cancel) -> Mapping[str, Any]:
        """Return the ImagingStudy with this Study Instance UID; load the studies first."""
        if not self._is_loaded("ImagingStudy"):
            loading = self._start(Loading(self.session, ["ImagingStudy"], result=self))
            while not loading.done():
                if cancel.wait(0.05):
                    loading.cancel()
                    cancel.check()
            loading.result()
        for study in self.participant.study_resources(uid):
            return study
        raise NotFound(f"The holder lists no study {uid} for this patient.")

    # Ending

    def revoke(self) -> str:
        """Revoke the approval at the holder (RFC 7009), and forget it here.

        Returns:
            "revoked", or the address of the holder's page where the person can do it.
        """
        return self.session.revoke()

    def forget(self) -> None:
        """Forget the approval, consents to other origins, and the holder's remembered address.

        The approval is removed from memory, keyring and files. Data remain; see ``store.purge``.
        """
        self.session.forget()
        Holders().remove(self.session.base)

    def close(self) -> None:
        """End what is under way and close the network; remove a temporary store."""
        active = [work for work in self._started if not work.done()]
        for work in active:
            work.cancel()
        for work in active:
            work.wait(_CLOSE_TIMEOUT)
        self.session.transport.close()
        if self._owns_store:
            self.store.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
