"""The one way to a holder: who is asked, who sees the token, how long we wait, what may come back.

The only importer of httpx, and the only place that attaches a token. Nothing is sent to an origin
that nobody consented to; the token goes to consented origins only, never after a redirect to
another one; a call that carries secrets in its body is never redirected at all.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlencode

import httpx

from .. import errors
from .._version import __version__
from ..task import Cancel, Clock, OnWait, SystemClock
from . import backend as network
from . import redact
from . import response as answers
from .origins import Origins, ParsedURL, absolute, origin
from .redact import Secret
from .response import HeaderMap, Response, ResponseStream
from .retry import RetryState, WaitPolicy
from .watch import ConnectionBroken, Limits, Monitor

__all__ = ["Exchange", "TokenSource", "Transport"]

_REDIRECTS = (301, 302, 303, 307, 308)
_LATER = (503, 429)  # come back later: as often as the budget allows
_PASSING = (408, 502, 504)  # may pass: a few tries, unless a Retry-After says more
_TOKEN = re.compile(r"[\x21-\x7e]+")
T = TypeVar("T")


class TokenSource(Protocol):
    """Where the access token comes from."""

    def bearer(self) -> str | None:
        """The token to send now; may refresh when it is due."""

    def refresh(self, rejected: str, *, cancel: Cancel | None = None) -> None:
        """Get another token, because the holder rejected this one."""


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, as shown in a history. Times in seconds; started is POSIX."""

    method: str
    url: str
    status: int | None
    started: float
    seconds: float
    waited: float


@dataclass
class Call:
    """One request as asked for, with what has happened to it."""

    method: str
    url: str
    retry_state: RetryState
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    basic: Secret | None = None
    token: bool = True
    wait: bool = True
    follow: bool = True
    bearer: Secret | None = None  # what the last exchange carried
    at: str = ""  # where the last answer came from
    counted: float = 0.0  # seconds of waiting that the history has already

    def __repr__(self) -> str:
        return f"<{self.shown()}>"

    def shown(self, status: int | None = None) -> errors.Request:
        return errors.Request(
            self.method, redact.url(self.at or self.url), status, self.retry_state.attempt
        )


class Transport:
    """Speaks HTTP with one holder; safe to use from several threads.

    Args:
        trust: the origins consented to. tokens: where the token comes from; may be set later.
        waits: how patient to be. limits: see :class:`watch.Limits`.
        on_exchange: called after every exchange, for a history.
        on_not_before, not_before: keep and recall, by an opaque key, the POSIX time before which
            a request must not be repeated, so that a wait survives the process.
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
        on_not_before: Callable[[str, float], None] | None = None,
        not_before: Callable[[str], float | None] | None = None,
    ) -> None:
        self.origins, self.tokens = origins, tokens
        self.waits, self.clock = waits or WaitPolicy(), clock or SystemClock()
        self._limits = limits or Limits()
        self._on_exchange = on_exchange
        self._keep, self._recall = on_not_before, not_before
        self._wire = network.Wire(origins)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about how the holder is reached."""
        through = "Requests go through a proxy, so where a name leads to could not be checked."
        return (through,) if self._wire.proxied else ()

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
        max_bytes: int = 64 << 20,
        follow: bool = True,
    ) -> Response:
        """Ask, wait where the holder says so, and return the whole answer, whatever its status.

        Call :meth:`Response.checked` for an error on anything but 2xx. With ``wait=False`` one try
        is made: 503 comes back as a reply and a lost connection raises at once. Only a GET
        follows redirects.

        Raises:
            UntrustedOrigin, BlockedAddress, TrustError: nothing was sent.
            HolderUnavailable: no connection. RetryAfterTooLong: the waiting budget is used up.
            Stalled, Cancelled, MalformedResponse, IntegrityError: as named.
        """
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        if params:
            query = urlencode(list(params), quote_via=quote)
            url = f"{url}{'&' if '?' in url else '?'}{query}"
        call = self._call(method, url, headers, cancel, on_wait, wait=wait)
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            call.body = urlencode(dict(form)).encode()
        elif json is not None:
            headers["Content-Type"] = "application/json"
            call.body = answers.encode_json(json)
        if basic is not None:
            call.basic = Secret(base64.b64encode(":".join(basic).encode()).decode())
        call.token, call.follow = token and basic is None, follow
        form = json = basic = None  # a verbose traceback prints what a frame holds

        def finish(answer: network.Answer, heads: HeaderMap) -> Response:
            content = answers.read_body(answer, heads, max_bytes)
            answer.close()
            date = answers.date_of(heads, self.clock.time())
            shown = call.shown(answer.status)
            return Response(answer.status, heads, call.at, content, date, shown, call.bearer)

        return self._run(call, finish)

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
        """GET a long body; 503 and its kin are waited out before this yields.

        Raises:
            as :meth:`request`, and the error that fits for every status but 2xx.
        """
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        call = self._call("GET", url, headers, cancel, on_wait)
        call.token = token

        def finish(answer: network.Answer, heads: HeaderMap) -> network.Answer:
            if 200 <= answer.status < 300:
                answers.check_encoding(heads)
                return answer
            content = b""
            with suppress(errors.ContentError):  # a page that is long or odd changes no status
                content = answers.read_body(answer, heads, 1 << 16)
            raise answers.error_for(call.shown(answer.status), content, call.bearer)

        answer = self._run(call, finish)
        try:
            yield ResponseStream(
                answer, HeaderMap(answer.headers), call.at, call.shown(answer.status)
            )
        finally:
            answer.close()

    def close(self) -> None:
        """Close every connection. Cancel calls under way first: they would connect again."""
        self._wire.close()

    def _call(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        cancel: Cancel | None,
        on_wait: OnWait | None,
        *,
        wait: bool = True,
    ) -> Call:
        key = hashlib.sha256(f"{method} {url}".encode()).hexdigest()
        keep = None if self._keep is None else partial(self._keep, key)
        waits = self.waits if wait else replace(self.waits, budget=0.0)
        retry_state = RetryState(waits, self.clock, cancel, on_wait, keep)
        call = Call(method, url, retry_state, headers, wait=wait)
        if self._recall is not None:
            retry_state.wait_until(self._recall(key), call.shown())
        return call

    def _run(self, call: Call, finish: Callable[[network.Answer, HeaderMap], T]) -> T:
        """Try until there is an answer to return; every error leaves with its request."""
        try:
            while True:
                try:
                    answer = self._hops(call)
                    try:
                        heads = HeaderMap(answer.headers)
                        if not self._put_off(call, answer, heads):
                            answers.check_length(heads)
                            return finish(answer, heads)
                    except BaseException:
                        answer.close()
                        raise
                except ConnectionBroken as error:
                    self._lost(call, error)
        except (errors.S4SError, KeyboardInterrupt) as error:
            if isinstance(error, errors.S4SError):
                error.request = error.request or call.shown()
            # The frames below hold headers and tokens, and a verbose traceback prints frames.
            raise error.with_traceback(None) from None

    def _lost(self, call: Call, error: ConnectionBroken) -> None:
        """Wait for another try after a lost connection, or give up."""
        if call.wait and error.temporary and call.retry_state.back_off(call.shown(), "connection"):
            return
        raise errors.HolderUnavailable(
            f"The holder cannot be reached: {error}.", request=call.shown()
        )

    def _put_off(self, call: Call, answer: network.Answer, heads: HeaderMap) -> bool:
        """Whether the answer says "later"; then it has been dropped and waited out."""
        later = answer.status in _LATER or (answer.status in _PASSING and "retry-after" in heads)
        again = answer.status in _PASSING and not call.retry_state.exhausted
        if not call.wait or not (later or again):
            return False
        answer.drop()
        request, reason = call.shown(answer.status), str(answer.status)
        if later:
            values = heads.get_all("retry-after")
            call.retry_state.wait_retry_after(request, reason, values, heads.get("date"))
        else:
            call.retry_state.back_off(request, reason)
        return True

    def _hops(self, call: Call) -> network.Answer:
        """One try: follows redirects by the rules, and refreshes a rejected token once."""
        url, crossed, refreshed, hops = call.url, False, False, 0
        while True:
            answer = self._exchange(call, url, bare=crossed)
            tokens = self.tokens
            if answer.status == 401 and call.bearer and tokens and not refreshed:
                answer.drop()
                tokens.refresh(call.bearer.reveal(), cancel=call.retry_state.cancel)
                refreshed = True
                continue
            if answer.status not in _REDIRECTS or not call.follow or call.method != "GET":
                return answer
            answer.drop()
            hops += 1
            if hops > 5:
                raise errors.MalformedResponse("The redirects never end.")
            target = self._target(url, HeaderMap(answer.headers))
            crossed = crossed or origin(target) != origin(url)
            url = target

    def _target(self, url: str, heads: HeaderMap) -> str:
        places = heads.get_all("location")
        if len(places) != 1:
            raise errors.MalformedResponse("The redirect does not say where to.")
        target = absolute(url, places[0])
        self.origins.check(target, "A redirect")
        return target

    def _exchange(self, call: Call, url: str, *, bare: bool) -> network.Answer:
        """Send once, with the token where it may go, and note it in the history."""
        place, tokens = self.origins.check(url, "The next request"), self.tokens
        call.at, call.bearer = url, None
        if call.token and not bare and tokens is not None and self.origins.is_trusted(url):
            call.bearer = Secret.wrap(tokens.bearer())
        watch = Monitor(self._limits, call.retry_state.cancel)
        watch.check()
        started, began, status = self.clock.time(), self.clock.monotonic(), None
        try:
            answer = self._wire.send(call.method, place, _headers(call, place), call.body, watch)
            status = answer.status
        finally:
            waited, call.counted = call.retry_state.waited - call.counted, call.retry_state.waited
            if self._on_exchange is not None:
                seconds = self.clock.monotonic() - began
                shown = redact.url(url)
                self._on_exchange(Exchange(call.method, shown, status, started, seconds, waited))
        return answer


def _headers(call: Call, place: ParsedURL) -> network.Headers:
    """The headers to send. Raises ReauthorizationRequired for a token that no header may hold."""
    headers = {**call.headers, "User-Agent": f"s4s-notebook/{__version__}"}
    for scheme, secret in (("Basic", call.basic), ("Bearer", call.bearer)):
        if secret is not None:
            if not _TOKEN.fullmatch(secret.reveal()):
                raise errors.ReauthorizationRequired("The token is not fit to be sent.")
            headers["Authorization"] = f"{scheme} {secret.reveal()}"
    request = httpx.Request(call.method, place.origin, headers=headers, content=call.body)
    return request.headers.raw
