"""The session of a connection: discovery, sign-in, tokens, and the transport that uses them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from ..errors import (
    AccessDenied,
    AuthorizationError,
    AuthorizationRequired,
    LoginExpired,
    ReauthorizationRequired,
    S4SError,
    UntrustedOrigin,
)
from ..fhir.capabilities import Statement, check_is_fhir, read_statement
from ..fhir.resources import REFERRED, RESOURCE_TYPES, patient_id
from ..http.client import Exchange, Transport
from ..http.origins import Origins
from ..http.origins import origin as origin_of
from ..http.redact import Secret
from ..http.waits import Waits
from ..smart import discovery
from ..smart import registration as smart
from ..smart.approval import OVER, Approval, Status
from ..smart.authorization import scope_for, state_hash
from ..smart.registration import Client, Grant, Login
from ..smart.token_store import FileTokenStore, KeyringTokenStore, MemoryTokenStore
from ..smart.tokens import FixedToken, Tokens, from_record
from ..store.participant import Participant
from ..store.store import Store
from ..task import Cancel, Clock
from .options import ConnectOptions

#: Where the browser lands when nothing listens: the person copies the address from there.
PASTE = "http://127.0.0.1/s4s/callback"
PAGE_SIZE = 200  # resources, where a holder lets us choose
_TICK = 0.2
_LOGINS = 32  # sign-ins that may wait for their reply at a time


class Session:
    """Discovery, sign-in and transport of one connection.

    Args:
        options: as given to ``connect``.
        store: where remembered approvals, consents and waits are.
        ask: called with an unknown origin; True is consent.
        clock: time, for tests.
        share_approval: use an approval that this process has for the same holder, client and scope.

    Attributes:
        base: FHIR base address.
        patient: FHIR id; None before an approval.
        approval: the status of the approval, and who is told of it.
        history: every exchange with the holder, addresses redacted.
        login: the sign-in that waits for its reply, or None.
        origins: the origins that may see the token.
        transport: what sends requests.
    """

    def __init__(
        self,
        options: ConnectOptions,
        *,
        store: Store,
        ask: Callable[[str], bool] | None,
        clock: Clock | None,
        share_approval: bool = False,
    ) -> None:
        self.base = discovery.check_base(options.url or "")
        self.store = store
        self.patient = None if options.patient is None else patient_id(options.patient)
        self.history: list[Exchange] = []
        self._client_id, self._redirect_uri = options.client_id, options.redirect_uri
        self._client_secret = Secret.wrap(options.client_secret)
        self._scope, self._legacy = options.scope, options.legacy
        self._ask = ask
        self._remember = options.remember
        self._shared: MemoryTokenStore | None = None
        if share_approval and not options.remember:
            requested = (options.client_id, options.redirect_uri, options.scope, options.patient)
            self._shared = MemoryTokenStore((self.base, *(part or "" for part in requested)))
        self._guard = threading.RLock()
        self.overlap, self._page_size = options.overlap, options.page_size
        self.read_referred = options.read_referred
        self._statement: Statement | None = None
        self._logins: dict[str, Login] = {}
        self._clients: dict[str, Client] = {}
        self._holder: discovery.Holder | None = None
        self.login: Login | None = None
        self._allow_origins = tuple(options.allow_origins)
        self.origins = Origins(self.base, options.allow_origins, ask, self._consented)
        self.transport = Transport(
            origins=self.origins,
            waits=options.waits,
            clock=clock,
            on_exchange=self.history.append,
            stored_waits=Waits.of_user(clock),
        )
        self.approval = Approval()
        if self.patient is None:
            self.patient = self._only_patient()
        if options.access_token is not None:
            self.transport.tokens = fixed = FixedToken(options.access_token, self.approval)
            self.approval.accept(fixed)
        elif self._has_grant(self.patient) or self._is_shared():
            self.approval.accept(None)
        elif options.patient is not None:
            self.approval.accept(None, status=Status.OPEN)
        self._allow_consented()

    def _is_shared(self) -> bool:
        """Return whether this process has an approval for this patient; take over the patient."""
        record = self._shared.load() if self._shared is not None else None
        patient = record["patient"] if record else None
        if self._shared is None or patient is None or self.patient not in (None, patient):
            return False
        self.patient = patient
        for origin in self._shared.origins:
            self.origins.allow(origin)
            self._consented(origin)
        return True

    # What the store holds

    def _only_patient(self) -> str | None:
        """Return the one patient of this holder with data or an approval in the store, or None."""
        patients = [
            participant.patient
            for participant in self.store.iter_participants()
            if participant.holder == self.base
            and (
                any(map(participant.sync_point, RESOURCE_TYPES))
                or self._has_grant(participant.patient)
            )
        ]
        return patients[0] if len(patients) == 1 else None

    @property
    def participant(self) -> Participant:
        """The store's data of the patient. Raises AuthorizationRequired before an approval."""
        if self.patient is None:
            raise AuthorizationRequired(
                "Nobody has approved yet, so it is not known whose data to request.",
                hint="Press Authorise, or pass patient=.",
            )
        return self.store.participant(self.base, self.patient)

    def _consented(self, origin: str) -> None:
        self.participant.consent(origin)

    def _allow_consented(self) -> None:
        if self.patient is not None:
            for origin in self.participant.consents():
                self.origins.allow(origin)

    # Discovery

    @property
    def holder(self) -> discovery.Holder:
        """Addresses and capabilities of the holder; the first use requests them.

        Raises:
            DiscoveryError: no FHIR holder there, or none that offers a sign-in.
            HolderUnavailable: the holder did not answer.
        """
        with self._guard:
            if self._holder is None:
                needed = not self.approval.usable
                # Names further origins at most: they see nothing without a consent.
                holder = discovery.discover(self.transport, self.base, required=needed)
                if holder.source == "none" and holder.fhir_version is None:
                    check_is_fhir(self.transport, self.base, self.patient)
                self._holder = holder
            return self._holder

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on the holder and on the way there, such as a proxy."""
        return (*self.holder.notes, *self.transport.notes)

    def page_size(self, kind: str) -> int | None:
        """Return the ``_count`` to send in a search of this type, or None to send none.

        It is the option, else :data:`PAGE_SIZE` where the CapabilityStatement lists the parameter.
        """
        if self._page_size is not None:
            return self._page_size
        with self._guard:
            if self._statement is None:
                self._statement = read_statement(self.transport, self.base)
            return PAGE_SIZE if self._statement.takes(kind, "_count") else None

    # Status

    def on_status(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call ``callback(status)`` at each change; return a function that ends it.

        Calls that need an approval then wait for it, as a panel can ask for one.
        """
        return self.approval.on_change(callback)

    @property
    def status(self) -> Status:
        """See ``Connection.status``."""
        return self.approval.status

    def ready(self, cancel: Cancel, report: Callable[[str], None]) -> Transport:
        """Return the transport, once there is an approval; wait for it where a panel asks.

        Args:
            cancel: ends the wait.
            report: called with a sentence while waiting, then with "".

        Raises:
            AuthorizationRequired: there is no panel; the message has the page to open.
            ReauthorizationRequired: there is no panel, and the approval ended.
            AccessDenied, LoginExpired: how the sign-in ended while this waited.
        """
        self.recall()
        self._renew_approval()
        if not self.approval.usable:
            if not self.approval.observed:
                if self.status in OVER:
                    raise ReauthorizationRequired(
                        f"The approval has ended: {self.status}.",
                        hint="Open connection.authorize_url() and give the address that your "
                        "browser lands on to connection.finish(address); what was downloaded "
                        "stays.",
                    )
                url = self.authorize_url()
                raise AuthorizationRequired(
                    f"Nobody has approved yet. Open this page:\n\n    {url}\n",
                    hint="Then give the address that your browser lands on to "
                    "connection.finish(address).",
                )
            report("Waiting for your approval: press Authorise")
            self.wait(cancel)
            report("")
        _ = self.holder
        return self.transport

    def wait(self, cancel: Cancel, timeout: float | None = None) -> None:
        """Wait for the approval.

        Args:
            cancel: ends the wait.
            timeout: seconds; None waits for as long as it takes.

        Raises:
            TimeoutError: it was not approved in that time.
            Cancelled: ``cancel`` was set.
            AccessDenied, LoginExpired: the person declined, or the reply was too late.
        """
        end = None if timeout is None else self.transport.clock.monotonic() + timeout
        while not self.approval.usable:
            cancel.check()
            if self.status == "declined":
                raise AccessDenied("The request was declined.")
            login = self.login
            if self.status is Status.WAITING and login is not None and login.expired:
                self.approval.sign_in(Status.EXPIRED)
                raise LoginExpired("Nobody approved in time.")
            if end is not None and self.transport.clock.monotonic() > end:
                raise TimeoutError("Nobody has approved yet.")
            cancel.wait(_TICK)

    # Sign-in

    @property
    def client_id(self) -> str | None:
        """The client that was registered by hand; None where the holder registers one."""
        return self._client_id

    @property
    def scope(self) -> str:
        """The scopes to request."""
        return self._scope or scope_for(self.holder, (*RESOURCE_TYPES, *REFERRED))

    def covers(self, kind: str) -> bool:
        """Return whether the approval covers a type, as far as its scopes are known."""
        tokens = self.transport.tokens
        scopes = tokens.grant.scope.split() if isinstance(tokens, Tokens) else []
        clinical = [scope for scope in scopes if "/" in scope and scope != "launch/patient"]
        named = (f"/{kind}.", "/*.")
        return not clinical or any(name in scope for scope in clinical for name in named)

    @property
    def redirect_uri(self) -> str | None:
        """The redirect address that was registered by hand, or None."""
        return self._redirect_uri

    @property
    def grant(self) -> Grant | None:
        """What was approved, its tokens hidden; None without an approval."""
        tokens = self.transport.tokens
        return tokens.grant if isinstance(tokens, Tokens) else None

    def use_client(self, client_id: str, client_secret: str | None = None) -> None:
        """Sign in as a client that the holder registered by hand."""
        if not client_id:
            raise AuthorizationError("A client id is needed.", hint="The holder gave you one.")
        self._client_id = client_id
        self._client_secret = Secret.wrap(client_secret)

    def authorize_url(self, redirect_uri: str | None = None) -> str:
        """Return the page of a new sign-in; register this program first where offered."""
        redirect_uri = redirect_uri or self._redirect_uri or PASTE
        with self._guard:
            login = Login(
                self.holder,
                self._client(redirect_uri),
                scope=self.scope,
                legacy=self._legacy,
                clock=self.transport.clock,
            )
            self._logins[login.state_hash] = self.login = login
            while len(self._logins) > _LOGINS:
                del self._logins[next(iter(self._logins))]
        self.approval.sign_in(Status.WAITING)
        return login.url

    def _client(self, redirect_uri: str) -> Client:
        if self._client_id is not None:
            return Client(self._client_id, self._client_secret, redirect_uri)
        if redirect_uri not in self._clients:
            self._clients[redirect_uri] = smart.register(
                self.transport, self.holder, redirect_uri, scope=self.scope
            )
        return self._clients[redirect_uri]

    def finish(self, redirected_url: Secret | str) -> None:
        """Complete a sign-in with the reply of its page; see ``Connection.finish``."""
        reply = Secret(redirected_url) if isinstance(redirected_url, str) else redirected_url
        redirected_url = ""  # a verbose traceback prints variables
        match = self._logins.get(state_hash(reply))
        login = match or self.login
        if login is None or login.client is None:  # of an earlier kernel
            raise LoginExpired("No sign-in waits for a reply here: this kernel started none.")
        try:
            code = login.code_from(reply.reveal())
        except (AccessDenied, LoginExpired) as error:
            if match is not None:  # anybody can send a reply without a valid state
                declined = isinstance(error, AccessDenied)
                self.approval.sign_in(Status.DECLINED if declined else Status.EXPIRED)
            raise
        try:
            grant = smart.exchange(self.transport, self.holder, login.client, login, code)
        except S4SError:
            if login is self.login:  # its code is used up, and no reply is waited for
                self.approval.sign_in(Status.NOT_AUTHORISED)
            raise
        self._accept(login.client, grant)

    def _accept(self, client: Client, grant: Grant) -> None:
        patient = grant.patient or self.patient
        if patient is None:
            raise AuthorizationError(
                "The holder approved, but does not say for which patient.",
                hint="Connect again with patient=.",
            )
        self.patient = patient
        tokens = Tokens(
            self.transport,
            self.holder,
            client,
            grant,
            token_store=self._token_store(self.patient),
            approval=self.approval,
        )
        origins = [origin_of(url) for url in self._allow_origins]
        if self.approval.observed:  # a panel showed them: consented to by pressing Authorise
            origins += self.holder.imaging_origins
        if self._shared is not None:
            self._shared.origins = tuple(origins)
        tokens.save()
        self.transport.tokens = tokens
        for origin in origins:
            self.origins.allow(origin)
            self._consented(origin)
        self._allow_consented()
        self.approval.accept(tokens)

    # Remembering and forgetting

    def _token_store(self, patient: str | None) -> FileTokenStore | MemoryTokenStore | None:
        if not self._remember:
            return self._shared
        if self._remember != "file" and not KeyringTokenStore.available():
            raise AuthorizationError(
                "There is no keyring here to remember the approval in.",
                hint='Connect without remember=, or with remember="file" for a file that only '
                "you can read.",
            )
        kind: Literal["keyring", "file"] = "file" if self._remember == "file" else "keyring"
        return self.store.token_store(self.base, self._client_id or "", patient or "", kind=kind)

    def _has_grant(self, patient: str | None) -> bool:
        """Return whether an approval was remembered for this holder, client and patient."""
        if patient is None or not self._remember:
            return False
        token_store = self._token_store(patient)
        return token_store is not None and token_store.load() is not None

    def recall(self) -> None:
        """Use the remembered approval, if there is one of this holder and patient."""
        if self.status is Status.APPROVED and self.transport.tokens is None:
            self._recall_grant()

    def _recall_grant(self) -> None:
        token_store = self._token_store(self.patient)
        remembered = None if token_store is None else from_record(self.holder, token_store.load())
        if remembered is None or remembered[1].patient not in (None, self.patient):
            self.approval.forget()
        else:
            self.transport.tokens = tokens = Tokens(
                self.transport,
                self.holder,
                *remembered,
                token_store=token_store,
                approval=self.approval,
            )
            self.approval.accept(tokens)

    def _renew_approval(self) -> None:
        """Take over a new approval that another process stored after this one's ended."""
        if self.status in OVER and isinstance(self.transport.tokens, Tokens):
            self.transport.tokens.adopt()

    def revoke(self) -> str:
        """Revoke the approval; see ``Connection.revoke``."""
        self.recall()
        tokens = self.transport.tokens
        if not isinstance(tokens, Tokens):
            raise AuthorizationError("There is no approval to revoke.")
        self._check_revocation_origin()
        result = smart.revoke(self.transport, self.holder, tokens.client, tokens.grant)
        if result == "revoked":
            self.forget()
        return result

    def _check_revocation_origin(self) -> None:
        """Ask before tokens go to a revocation endpoint elsewhere than the token endpoint."""
        url = self.holder.revoke
        if url is None or self.origins.is_trusted(url):
            return
        if origin_of(url) == origin_of(self.holder.token or self.base):
            return  # it has these tokens from there
        if self._ask is None or not self._ask(origin_of(url)):
            raise UntrustedOrigin(
                f"The holder revokes approvals at {origin_of(url)}, to which nobody has consented.",
                origin=origin_of(url),
            )
        self.origins.allow(url, tokens=False)

    def forget(self) -> None:
        """Forget the approval and the consents; see ``Connection.forget``."""
        for token_store in self.store.remembered(self.base, self.patient):
            with token_store.lock():  # a refresh under way would store its new token after this
                token_store.forget()
        if self._shared is not None:
            self._shared.forget()
        if self.patient is not None:
            self.participant.forget_consents()
        self.origins.forget()
        self.transport.tokens = None
        self.approval.forget()
