"""The client of one holder: consented origins, the access token, retries, redirects, limits.

Nothing is sent to an origin without consent. The access token goes to consented origins only
(:class:`BearerAuth`) and never after a redirect to another origin; a request that carries secrets
in its body is never redirected.

Messages, headers, streams and authentication are httpx's, over :class:`PooledTransport`. The auth
flow is run here and not by ``httpx.Client``, which would keep cookies, parse the Location of
redirects that are not followed, read the body of a 401 without limit and log addresses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlencode

import httpx

from .. import errors
from .._version import __version__
from ..task import Cancel, Clock, OnWait, SystemClock
from . import redact, response
from .backend import ConnectionBroken, Limits, Monitor
from .origins import Origins, absolute, origin
from .pool import PooledTransport, ResponseBody
from .redact import Secret
from .response import Response, ResponseStream
from .retry import RetryState, WaitPolicy
from .retry_after import parse_retry_after
from .slots import slots_of
from .waits import Waits

_REDIRECTS = (301, 302, 303, 307, 308)
_LATER = (503, 429)  # come back later: as often as the budget allows
_PASSING = (408, 502, 504)  # may pass: a few attempts, unless a Retry-After says more
_MAX_REDIRECTS = 5
_TOKEN = re.compile(r"[\x21-\x7e]+")
T = TypeVar("T")


class TokenSource(Protocol):
    """The source of the access token."""

    def bearer(self) -> str | None:
        """Return the token to send now; may refresh it when it is due."""

    def reject(self, rejected: str) -> None:
        """Record that the holder refused the token although it was just renewed."""

    def refresh(self, rejected: str, *, cancel: Cancel | None = None) -> None:
        """Get another token, because the holder rejected this one."""


@dataclass(frozen=True)
class Exchange:
    """One request and its response, as shown in a history.

    Attributes:
        method: HTTP method.
        url: the address, redacted.
        status: HTTP status, or None without a response.
        started: POSIX seconds.
        seconds: until the headers of the response were complete.
        waited: seconds waited before this attempt.
    """

    method: str
    url: str
    status: int | None
    started: float
    seconds: float
    waited: float


class BearerAuth(httpx.Auth):
    """Attaches the access token, and refreshes a rejected one once.

    Args:
        tokens: the source of the token.
        origins: the token goes to trusted ones only.
        cancel: ends a refresh.
    """

    def __init__(self, tokens: TokenSource, origins: Origins, cancel: Cancel | None) -> None:
        self._tokens, self._origins, self._cancel = tokens, origins, cancel
        self._refreshed = False
        self.bearer: Secret | None = None  # what the last request carried

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Send with the token; after a 401, once more with a refreshed token."""
        self._attach(request)
        response = yield request
        if response.status_code == 401 and self.bearer and not self._refreshed:
            _discard(response)
            self._tokens.refresh(self.bearer.reveal(), cancel=self._cancel)
            self._refreshed = True
            self._attach(request)
            response = yield request
            if (
                response.status_code == 401
                and self.bearer
                and origin(str(request.url)) == self._origins.base.origin
            ):
                self._tokens.reject(self.bearer.reveal())

    def _attach(self, request: httpx.Request) -> None:
        """Set the Authorization header. Raises ReauthorizationRequired for an unfit token."""
        self.bearer = None
        if not self._origins.is_trusted(str(request.url)):
            return
        self.bearer = Secret.wrap(self._tokens.bearer())
        if self.bearer is None:
            return
        if not _TOKEN.fullmatch(self.bearer.reveal()):
            raise errors.ReauthorizationRequired("The token is not fit to be sent.")
        request.headers["Authorization"] = f"Bearer {self.bearer.reveal()}"


@dataclass
class _PendingRequest:
    """A request with its attempts so far.

    Attributes:
        basic: HTTP Basic credentials, or None.
        token: whether the access token may be attached.
        wait: whether to wait and repeat at all.
        follow: whether a GET follows redirects.
        long: whether its body is a long transfer.
        bearer: the token that the last attempt carried.
        last_url: the address of the last attempt.
        counted: seconds of waiting that the history has already.
    """

    method: str
    url: str
    retry_state: RetryState
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    basic: httpx.BasicAuth | None = None
    token: bool = True
    wait: bool = True
    follow: bool = True
    long: bool = False
    bearer: Secret | None = None
    secrets: tuple[Secret, ...] = ()
    last_url: str = ""
    counted: float = 0.0

    def __repr__(self) -> str:
        return f"<{self.shown()}>"

    def shown(self, status: int | None = None) -> errors.Request:
        """Return the request as it may be shown."""
        url = redact.url(self.last_url or self.url)
        return errors.Request(self.method, url, status, self.retry_state.attempt)


class Transport:
    """Sends requests to one holder; safe to use from several threads.

    Args:
        origins: the origins consented to.
        tokens: the source of the access token; may be set later.
        waits: how long to wait.
        clock: the clock; tests pass their own.
        limits: of one exchange.
        on_exchange: called after every exchange, for a history.
        stored_waits: until when nothing may be requested, also by other processes; by default
            they last as long as this transport.
    """

    def __init__(
        self,
        *,
        origins: Origins,
        tokens: TokenSource | None = None,
        waits: WaitPolicy | None = None,
        clock: Clock | None = None,
        limits: Limits | None = None,
        on_exchange: Callable[[Exchange], None] | None = None,
        stored_waits: Waits | None = None,
    ) -> None:
        self.origins, self.tokens = origins, tokens
        self.waits, self.clock = waits or WaitPolicy(), clock or SystemClock()
        self._limits = limits or Limits()
        self._on_exchange = on_exchange
        self.stored_waits = stored_waits or Waits(None, self.clock)
        self._pool = PooledTransport(origins)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about how the holder is reached."""
        note = "Requests go through a proxy, so where a name leads to could not be checked."
        return (note,) if self._pool.proxied else ()

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Sequence[tuple[str, str]] = (),
        accept: str,
        form: Mapping[str, str] | None = None,
        json: Any = None,
        basic: tuple[str, str] | None = None,
        token: bool = True,
        wait: bool = True,
        cancel: Cancel | None = None,
        on_wait: OnWait | None = None,
        max_bytes: int = response.BUNDLE_BYTES,
        follow: bool = True,
    ) -> Response:
        """Send a request, wait where the holder asks for it, and return the complete response.

        Only a GET follows redirects.

        Args:
            method: HTTP method.
            url: absolute address.
            params: query parameters to add.
            accept: the Accept header.
            form: body as a form.
            json: body as JSON.
            basic: user and password for HTTP Basic, sent in place of the token.
            token: whether to send the access token where it may go.
            wait: False makes one attempt: a 503 is returned, a lost connection raises at once.
                Before the time that an earlier response asked for, it makes none.
            cancel: ends the call within a second.
            on_wait: called while waiting.
            max_bytes: the largest acceptable body.
            follow: whether a GET follows redirects.

        Returns:
            The response, whatever its status; see :meth:`Response.checked`.

        Raises:
            UntrustedOrigin: no consent to that origin. Nothing was sent.
            BlockedAddress: a forbidden address. Nothing was sent.
            TrustError: the certificate is not valid. Nothing was sent.
            HolderUnavailable: no connection.
            RetryAfterTooLong: the waiting budget is used up, or an earlier response refused
                until a later time. ``.not_before`` says until when.
            Stalled: the bytes stopped or were too slow.
            Cancelled: the switch is set.
            MalformedResponse: not HTTP, or beyond the limits.
            IntegrityError: gzip that is cut or damaged.
        """
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        if params:
            query = urlencode(list(params), quote_via=quote)
            url = f"{url}{'&' if '?' in url else '?'}{query}"
        pending = self._pending(method, url, headers, cancel, on_wait, wait=wait)
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            pending.body = urlencode(dict(form)).encode()
        elif json is not None:
            headers["Content-Type"] = "application/json"
            pending.body = response.encode_json(json)
        if basic is not None:
            pending.basic = httpx.BasicAuth(*basic)
        pending.token, pending.follow = token and basic is None, follow
        pending.secrets = tuple(
            Secret(value) for value in ((form or {}).values() if form or basic else ()) if value
        ) + ((Secret(basic[1]),) if basic else ())
        form = json = basic = None  # a verbose traceback prints the variables of a frame

        def read(raw: httpx.Response) -> Response:
            body = response.read_body(raw, max_bytes)
            raw.close()
            return Response(
                raw.status_code,
                raw.headers,
                pending.last_url,
                body,
                response.date_of(raw.headers, self.clock.time()),
                pending.shown(raw.status_code),
                pending.bearer,
                pending.secrets,
            )

        return self._run(pending, read)

    @contextmanager
    def stream(
        self,
        url: str,
        *,
        accept: str,
        token: bool = True,
        cancel: Cancel | None = None,
        on_wait: OnWait | None = None,
    ) -> Iterator[ResponseStream]:
        """GET a long body; 503 and the like are waited out before this yields.

        Args:
            url: absolute address.
            accept: the Accept header.
            token: whether to send the access token where it may go.
            cancel: ends the call within a second.
            on_wait: called while waiting.

        Yields:
            The response, with its body to be read.

        Raises:
            S4SError: as :meth:`request`, and the error that fits every status but 2xx.
        """
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        pending = self._pending("GET", url, headers, cancel, on_wait)
        pending.token, pending.long = token, True

        def check(raw: httpx.Response) -> httpx.Response:
            if 200 <= raw.status_code < 300:
                response.check_encoding(raw.headers)
                return raw
            body = response.read_body(raw, response.ERROR_BYTES)
            raise response.error_for(pending.shown(raw.status_code), body, pending.bearer)

        raw = self._run(pending, check)
        try:
            yield ResponseStream(raw, pending.last_url, pending.shown(raw.status_code))
        finally:
            raw.close()

    def close(self) -> None:
        """Close every connection. Cancel running calls first: they would connect again."""
        self._pool.close()

    def _pending(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        cancel: Cancel | None,
        on_wait: OnWait | None,
        *,
        wait: bool = True,
    ) -> _PendingRequest:
        headers["User-Agent"] = f"s4s-notebook/{__version__}"
        waits = self.waits if wait else replace(self.waits, budget=0.0)

        def store(seconds: float, status: int) -> None:
            self._store_wait(pending, seconds, status)

        retry_state = RetryState(waits, self.clock, cancel, on_wait, store)
        pending = _PendingRequest(method, url, retry_state, headers, wait=wait)
        return pending

    def _store_wait(self, pending: _PendingRequest, seconds: float, status: int) -> None:
        for url in {pending.url, pending.last_url or pending.url}:
            self.stored_waits.set(url, seconds, status)

    def obey(self, url: str, retry_state: RetryState, request: errors.Request) -> None:
        """Wait as earlier responses asked, of this process or another.

        Raises:
            RetryAfterTooLong: that exceeds the budget, or the response refused until then.
            Cancelled: the switch is set.
        """
        while (stored := self.stored_waits.get(url)) is not None:
            refused = stored.status not in (*_LATER, *_PASSING)
            retry_state.wait_stored(stored.remaining(self.clock), request, refused=refused)

    def _run(self, pending: _PendingRequest, finish: Callable[[httpx.Response], T]) -> T:
        """Repeat until there is a response to return; every error leaves with its request."""
        try:
            while True:
                try:
                    self.obey(pending.url, pending.retry_state, pending.shown())
                    raw = self._attempt(pending)
                    try:
                        if not self._retry_later(pending, raw):
                            response.check_length(raw.headers)
                            return finish(raw)
                    except BaseException:
                        raw.close()
                        raise
                except ConnectionBroken as error:
                    self._reconnect_later(pending, error)
        except (errors.S4SError, KeyboardInterrupt) as error:
            if isinstance(error, errors.S4SError):
                error.request = error.request or pending.shown()
            # The frames below hold headers and tokens, and a verbose traceback prints frames.
            raise error.with_traceback(None) from None

    def _reconnect_later(self, pending: _PendingRequest, error: ConnectionBroken) -> None:
        """Wait for another attempt after a lost connection, or give up."""
        request = pending.shown()
        if pending.wait and error.temporary and pending.retry_state.back_off(request, "connection"):
            return
        raise errors.HolderUnavailable(f"The holder cannot be reached: {error}.", request=request)

    def _retry_later(self, pending: _PendingRequest, raw: httpx.Response) -> bool:
        """Return whether the response says "later"; then it was discarded and waited out."""
        status, state = raw.status_code, pending.retry_state
        later = status in _LATER or (status in _PASSING and "retry-after" in raw.headers)
        again = status in _PASSING and not state.exhausted
        if not pending.wait or not (later or again):
            self._store_refusal(pending, raw, later=later)
            return False
        _discard(raw)
        request, reason = pending.shown(status), str(status)
        if later:
            values = raw.headers.get_list("retry-after")
            state.wait_retry_after(request, reason, values, raw.headers.get("date"))
        else:
            state.back_off(request, reason)
        return True

    def _store_refusal(self, pending: _PendingRequest, raw: httpx.Response, *, later: bool) -> None:
        """Store the time that a response asks for which is not repeated within this call."""
        status, values = raw.status_code, raw.headers.get_list("retry-after")
        if status < 400 or status == 401 or not (values or later):
            return
        seconds = None
        with suppress(errors.RetryAfterTooLong):  # a mistake must not block it for ever
            seconds = parse_retry_after(values, now=self.clock.time(), date=raw.headers.get("date"))
        if seconds is None and not later:
            return
        seconds = max(self.waits.floor, self.waits.first if seconds is None else seconds)
        self._store_wait(pending, seconds, status)

    def _attempt(self, pending: _PendingRequest) -> httpx.Response:
        """Send once, following redirects by our rules."""
        auth: httpx.Auth | None = pending.basic
        if pending.token and self.tokens is not None:
            auth = BearerAuth(self.tokens, self.origins, pending.retry_state.cancel)
        url = pending.url
        for _ in range(_MAX_REDIRECTS + 1):
            raw = self._send(pending, url, auth)
            if raw.status_code not in _REDIRECTS or not pending.follow or pending.method != "GET":
                return raw
            _discard(raw)
            target = self._redirect_target(url, raw.headers)
            if origin(target) != origin(url):
                auth = None  # another origin sees no token, nor does the way back from it
            url = target
        raise errors.MalformedResponse("The redirects never end.")

    def _redirect_target(self, url: str, headers: httpx.Headers) -> str:
        locations = headers.get_list("location")
        if len(locations) != 1:
            raise errors.MalformedResponse("The redirect does not say where to.")
        target = absolute(url, locations[0])
        self.origins.check(target, "A redirect")
        return target

    def _send(self, pending: _PendingRequest, url: str, auth: httpx.Auth | None) -> httpx.Response:
        """Send to one address with its authentication, without redirects."""
        parsed = self.origins.check(url, "The next request")
        pending.last_url, pending.bearer = url, None
        request = httpx.Request(
            pending.method,
            parsed.origin,
            headers=pending.headers,
            content=pending.body,
            extensions={"parsed_url": parsed},
        )
        flow = (auth or httpx.Auth()).sync_auth_flow(request)
        request = next(flow)
        while True:
            raw = self._exchange(pending, request)
            if isinstance(auth, BearerAuth):
                pending.bearer = auth.bearer
            try:
                request = flow.send(raw)
            except StopIteration:
                return raw
            except BaseException:
                raw.close()
                raise

    def _exchange(self, pending: _PendingRequest, request: httpx.Request) -> httpx.Response:
        """Send once and record it in the history."""
        monitor = Monitor(self._limits, pending.retry_state.cancel)
        monitor.check()
        request.extensions["monitor"] = monitor
        slots = slots_of(request.extensions["parsed_url"].origin)
        request.extensions["slot"] = slots.acquire(
            self.waits.per_origin, long=pending.long, cancel=pending.retry_state.cancel
        )
        started, began, status = self.clock.time(), self.clock.monotonic(), None
        try:
            raw = self._pool.handle_request(request)
            status = raw.status_code
        finally:
            total = pending.retry_state.waited
            waited, pending.counted = total - pending.counted, total
            if self._on_exchange is not None:
                seconds = self.clock.monotonic() - began
                shown = redact.url(pending.last_url)
                exchange = Exchange(pending.method, shown, status, started, seconds, waited)
                self._on_exchange(exchange)
        return raw


def _discard(raw: httpx.Response) -> None:
    """Close a response that is not needed, so that its connection can be used again."""
    if isinstance(raw.stream, ResponseBody):
        raw.stream.discard()
