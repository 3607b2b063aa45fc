"""One participant at one data holder: what a researcher holds in hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from ..errors import Cancelled, Incomplete, NotFound, S4SError
from ..fhir.resources import study_uid
from ..http.client import Exchange, Transport
from ..http.retry import WaitPolicy
from ..smart import discovery
from ..smart.registration import Grant, Login
from ..store import Participant, Store
from ..task import Cancel, Clock
from .download import Download
from .known_holders import Holders
from .loading import Loading
from .requested import asked
from .search_to_store import KINDS
from .session import Remember, Session

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Connection", "Loading"]
_Work = TypeVar("_Work", Loading, Download)
_LAST = 2.0  # seconds for work to end when the connection is closed


class Connection:
    """One participant at one data holder. Made by :func:`s4s_notebook.connect`.

    The first call of a table asks the holder; later calls read what came; only
    :meth:`update` asks again. With a store that has data already, everything but ``update()``
    and missing studies works without the holder, and without signing in.

    Args:
        url: FHIR base address of the holder.
        patient: FHIR id. With ``access_token``: whom the token is for. Alone: a patient of a
            holder that needs no sign-in.
        access_token: a token that one already has. Kept in memory only.
        client_id, client_secret, redirect_uri: as registered with the holder.
        scope: SMART scopes to ask for.
        store: a Store or a folder; without one, a private temporary folder.
        allow_origins: origins besides the holder's that may see the token.
        ask: called with an unknown origin; True is consent.
        display: called with each Download and Loading that starts.
        waits: how patient to be with 503.
        remember: True keeps the approval in the system keyring, "file" in a 0600 file.
        legacy: go on where a holder lists PKCE methods without S256.
        clock: time, for tests.

    Attributes:
        store: the Store in which everything is kept.
        holder: addresses and abilities that discovery found.

    Raises:
        DiscoveryError: the address leads to no holder that one can sign in to.
        HolderUnavailable: it does not answer.
    """

    def __init__(
        self,
        url: str,
        *,
        patient: str | None = None,
        access_token: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        redirect_uri: str | None = None,
        scope: str | None = None,
        store: Store | Path | str | None = None,
        allow_origins: Sequence[str] = (),
        ask: Callable[[str], bool] | None = None,
        display: Callable[[Any], object] | None = None,
        waits: WaitPolicy | None = None,
        remember: Remember = False,
        legacy: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.store = store if isinstance(store, Store) else Store(store)
        self._owns_store = not isinstance(store, Store)
        self._display = display
        self._frames: dict[Any, Any] = {}
        self._whole_only: set[str] = set()
        self._begun: WeakSet[Loading | Download] = WeakSet()
        self.session = Session(
            url,
            store=self.store,
            patient=patient,
            access_token=access_token,
            client=(client_id, client_secret, redirect_uri),
            scope=scope,
            allow_origins=allow_origins,
            ask=ask,
            waits=waits,
            remember=remember,
            legacy=legacy,
            clock=clock,
        )
        if not self._here("ImagingStudy") and not self._here("ExplanationOfBenefit"):
            try:
                _ = self.session.holder
            except BaseException:
                self.close()
                raise

    def __repr__(self) -> str:
        return f"<Connection to {self.session.base}, {self.status}>"

    # Who and whether

    @property
    def holder(self) -> discovery.Holder:
        """What discovery found at the holder."""
        return self.session.holder

    @property
    def notes(self) -> tuple[str, ...]:
        """What one should know of the holder and of the way there, such as a proxy."""
        return self.session.notes

    @property
    def patient_id(self) -> str | None:
        """FHIR id of the participant; None until somebody approved."""
        return self.session.patient

    @property
    def participant(self) -> Participant:
        """What the store keeps of this participant."""
        return self.session.participant

    @property
    def status(self) -> str:
        """How it stands: "not authorised", "waiting for approval", "approved", "declined",
        "expired" or "open"."""
        return self.session.status

    @property
    def can_authorize(self) -> bool:
        """Whether the holder offers a sign-in."""
        return self.holder.authorize is not None

    @property
    def login(self) -> Login | None:
        """The sign-in that waits for its reply."""
        return self.session.login

    @property
    def client_id(self) -> str | None:
        """The client that was registered by hand; None where the holder registers one."""
        return self.session.client_id

    @property
    def redirect_uri(self) -> str | None:
        """The redirect address that was registered by hand, or None."""
        return self.session.redirect_uri

    @property
    def grant(self) -> Grant | None:
        """What was approved; its tokens do not show themselves. None without an approval."""
        return self.session.grant

    def use_client(self, client_id: str, client_secret: str | None = None) -> None:
        """Sign in as a client that the holder registered by hand."""
        self.session.use_client(client_id, client_secret)

    @property
    def history(self) -> list[Exchange]:
        """Every exchange with the holder so far, addresses redacted."""
        return list(self.session.history)

    def on_status(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call ``callback(status)`` at each change. Calls that need an approval then wait for
        it, as somebody can be asked. Returns a function that ends it."""
        return self.session.on_status(callback)

    def authorize_url(self, redirect_uri: str | None = None) -> str:
        """The page where the person approves.

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
        """Take the address that the browser landed on after approval.

        Compares ``state`` and, where it came, ``iss`` (RFC 9207), and exchanges the code for
        tokens (RFC 6749 §4.1.3, RFC 7636 §4.5). Returns the connection itself.

        Raises:
            AccessDenied: the person declined, or the holder refused this program.
            StateMismatch: the reply belongs to another sign-in or holder, or was used already.
            LoginExpired: the reply came too late, or no sign-in waits for one.
            TokenRefused: the holder did not accept the code or the client.
        """
        self.session.finish(redirected_url)
        return self

    def wait_authorized(self, timeout: float | None = None) -> None:
        """Wait until somebody approved.

        Args:
            timeout: seconds; None waits for as long as it takes.

        Raises:
            TimeoutError: nobody approved in that time.
            AccessDenied, LoginExpired: the person declined, or the reply came too late.
        """
        self.session.wait(Cancel(), timeout)

    # Tables

    def patient(self) -> pd.DataFrame:
        """The participant: one row (FHIR Patient).

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
            HolderUnavailable: the holder could not be reached, and nothing is here yet.
            Incomplete: some pages are missing; ``.partial`` is the frame of those that came.
            RetryAfterTooLong: the holder wants to be asked again later than ``waits`` allow.
            Cancelled: somebody pressed Cancel; calling again goes on.
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

    def problems(self) -> pd.DataFrame:
        """What did not parse or did not belong, of everything that is here: one row per value.

        Columns, all ``str``: ``resource``, ``path``, ``value``, ``why``. Asks nobody.
        """
        from .frames import problems

        return problems(self)

    def resources(self, kind: str) -> list[dict[str, Any]]:
        """The raw FHIR resources of a type, as they came; asks the holder the first time.

        Args:
            kind: a resource type, as in ``"ImagingStudy"``. "Endpoint" gives those that came
                beside studies.

        Raises: as :meth:`studies`.
        """
        if kind in KINDS:
            self._need(kind)
        return list(self.participant.resources(kind))

    # Asking

    def load(self) -> Loading:
        """Ask for all that is not here yet: Patient, Coverage, ImagingStudy,
        ExplanationOfBenefit (Sync for Science imaging use case, "first-connection").

        Starts at once in the background; ``await`` it, or call ``.result()``: both give this
        connection.

        Raises (from ``result()`` and ``await``):
            Incomplete: ``.missing`` names the types that failed; ``.partial`` is the connection
                with the others.
            AuthorizationRequired, ReauthorizationRequired: approve first, or again.
            Cancelled: somebody pressed Cancel; calling again goes on.
        """
        kinds = [kind for kind in KINDS if not self._here(kind)]
        return self._start(Loading(self, kinds))

    def update(self, full: bool = False) -> pd.DataFrame:
        """Ask for what is new (*periodic-update*), or with ``full`` for everything again.

        Returns:
            One row per resource: ``resource_type``, ``key``, ``change`` ("new", "changed",
            "unchanged", and after ``full`` "gone": no longer served).

        Raises:
            Incomplete: a type failed; ``.partial`` is the frame of the others.
            HolderUnavailable: the holder could not be reached.

        Searches with ``_lastUpdated=gt…`` (FHIR STU3, Search), by the holder's clock.
        """
        from .frames import changes

        loading = self._start(Loading(self, list(KINDS), update=True, full=full))
        try:
            self._finish(loading)
        except Incomplete as error:
            error.partial = changes(self, loading.runs)
            raise
        return changes(self, loading.runs)

    def download(self, what: Any) -> Download:
        """Fetch studies to files: a study UID, a row of :meth:`studies`, or a frame of them.

        Starts at once in the background; ``await`` it, or call ``.result()``: one study gives
        a Study, a frame or list of them a list of Study. See :class:`Download` for what those
        raise.

        Raises:
            InvalidUID: that is no study UID; nothing was asked.
            TypeError: that names no study; nothing was asked.
        """
        uids, many = asked(what)
        return self._start(Download(self, uids, many=many))

    def _start(self, work: _Work) -> _Work:
        self._begun.add(work)
        if self._display is not None:
            self._display(work)
        return work

    def _finish(self, loading: Loading) -> None:
        """Wait for work that nobody else holds; ■ ends it, and the next call goes on."""
        try:
            loading.result()
        except KeyboardInterrupt:
            loading.cancel()
            raise KeyboardInterrupt(
                "Stopped. Call again: what came so far is kept, and it goes on from there."
            ) from None

    def _here(self, kind: str) -> bool:
        return self.patient_id is not None and self.participant.mark(kind) is not None

    def _need(self, kind: str) -> None:
        if not self._here(kind):
            self._finish(self._start(Loading(self, [kind])))

    def _table(self, name: str, kind: str) -> pd.DataFrame:
        from .frames import table

        try:
            self._need(kind)
        except Cancelled:
            raise
        except S4SError as error:
            if self.patient_id is None or self.participant.run(kind) is None:
                raise
            raise Incomplete(
                f"Not all of {kind} came: {error.problem}",
                request=error.request,
                partial=table(self, name, kind, complete=False),
            ) from error
        return table(self, name, kind)

    # What a download needs (see download.transfer.Source)

    def ready(self, cancel: Cancel, say: Callable[[str], None]) -> Transport:
        """The transport, once there is an approval."""
        return self.session.ready(cancel, say)

    @property
    def imaging_base(self) -> str:
        """FHIR base address that serves ImagingStudy; mostly that of everything else."""
        return self.holder.imaging_base

    def included(self) -> list[dict[str, Any]]:
        """The Endpoint resources that came beside studies."""
        return list(self.participant.resources("Endpoint"))

    def imaging_study(self, uid: str, cancel: Cancel) -> Mapping[str, Any]:
        """The ImagingStudy with this Study Instance UID. Raises NotFound."""
        if not self._here("ImagingStudy"):
            loading = self._start(Loading(self, ["ImagingStudy"]))
            while not loading.done():
                if cancel.wait(0.05):
                    loading.cancel()
                    cancel.check()
            loading.result()
        for study in self.participant.resources("ImagingStudy"):
            try:
                if study_uid(study) == uid:
                    return study
            except S4SError:  # a study without a UID is not this one
                continue
        raise NotFound(f"The holder lists no study {uid} for this patient.")

    def no_pieces(self, address: str, learnt: bool = False) -> bool:
        """Whether this address is known to serve whole studies only; ``learnt`` notes it."""
        if learnt:
            self._whole_only.add(address)
        return address in self._whole_only

    # The end

    def revoke(self) -> str:
        """Take the approval back at the holder (RFC 7009), and forget it here.

        Returns:
            "revoked", or the address of the holder's page where the person can do it.
        """
        return self.session.revoke()

    def forget(self) -> None:
        """Forget the approval (in memory, in the keyring and in files, however it was remembered),
        the consents to other origins, and the holder's remembered address. Data stay; see
        ``store.purge``."""
        self.session.forget()
        Holders().remove(self.session.base)

    def close(self) -> None:
        """End what is under way and close the network; a temporary store goes."""
        begun = [work for work in self._begun if not work.done()]
        for work in begun:
            work.cancel()
        for work in begun:
            work.wait(_LAST)
        self.session.transport.close()
        if self._owns_store:
            self.store.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
