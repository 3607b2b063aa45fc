"""Sockets under our own watch: checked addresses, short ticks, limits on time and trickle.

The only importer of httpcore. A name is resolved once, every address it has is checked, and the
connection goes to a checked address, so a name cannot change its mind in between (DNS rebinding).
Every read returns within a tick or looks at the cancel switch, so nothing blocks for long.
"""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlsplit

import certifi
import httpcore

from ..errors import HolderUnavailable, MalformedResponse, Stalled, TrustError
from .trust import Place, Trust, is_local, literal
from .waiting import TICK, Cancel

Headers = list[tuple[bytes, bytes]]
_watching = threading.local()


@dataclass(frozen=True)
class Limits:
    """Seconds for connecting, for an answer to begin and for a silence; and the least speed.

    ``floor`` bytes a second must arrive on average over each ``window`` seconds spent waiting
    for bytes; time that we take ourselves does not count. ``head`` bytes may come before the body.
    """

    connect: float = 30.0
    answer: float = 300.0
    stall: float = 60.0
    floor: float = 512.0
    window: float = 60.0
    head: int = 256 * 1024


class Broken(Exception):  # noqa: N818 - a sign between two modules, not an error to show
    """The connection failed; ``sent`` tells whether the holder may have seen the request."""

    def __init__(self, why: str, *, temporary: bool = True) -> None:
        super().__init__(why)
        self.temporary = temporary


class Watch:
    """What one exchange may cost, and how much of it is used."""

    def __init__(self, limits: Limits, cancel: Cancel | None) -> None:
        self.limits, self.cancel = limits, cancel
        self.in_body = self.ended = False
        self._waited, self._bytes = 0.0, 0

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let the sockets of this thread answer to this watch."""
        before, _watching.now = getattr(_watching, "now", None), self
        try:
            yield
        finally:
            _watching.now = before

    def body(self) -> None:
        self.in_body, self._waited, self._bytes = True, 0.0, 0

    def idle(self, seconds: float, limit: float, what: str) -> None:
        """Nothing came for so long: go on, or raise."""
        if self.cancel is not None:
            self.cancel.check()
        if seconds > limit:
            raise Stalled(f"The holder {what} for {seconds:.0f} seconds.")

    def silent(self, seconds: float) -> None:
        if self.in_body:
            self.idle(seconds, self.limits.stall, "sent nothing")
        else:
            self.idle(self._waited + seconds, self.limits.answer, "gave no answer")

    def received(self, count: int, seconds: float) -> None:
        """Count a read; raise when the head is too long or the body trickles."""
        self.ended = count == 0
        self._waited += seconds
        self._bytes += count
        if not self.in_body:
            if self._bytes > self.limits.head:
                raise MalformedResponse("The answer's headers never end.")
            self.silent(0.0)
        elif self._waited > self.limits.window:
            if self._bytes < self.limits.floor * self._waited:
                raise Stalled(f"Only {self._bytes} bytes came in {self._waited:.0f} seconds.")
            self._waited, self._bytes = 0.0, 0


def _now() -> Watch:
    watch: Watch | None = getattr(_watching, "now", None)
    return watch or Watch(Limits(), None)


class _Stream(httpcore.NetworkStream):
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.settimeout(TICK)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - ours
        watch, started = _now(), time.monotonic()
        while True:
            if watch.cancel is not None:
                watch.cancel.check()
            try:
                data = self._sock.recv(max_bytes)
            except TimeoutError:
                watch.silent(time.monotonic() - started)
            except OSError as error:
                raise httpcore.ReadError(_reason(error)) from error
            else:
                watch.received(len(data), time.monotonic() - started)
                return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - ours
        watch, started = _now(), time.monotonic()
        while buffer:
            try:
                buffer = buffer[self._sock.send(buffer) :]
            except TimeoutError:
                watch.idle(time.monotonic() - started, watch.limits.stall, "took nothing")
            except OSError as error:
                raise httpcore.WriteError(_reason(error)) from error
            else:
                started = time.monotonic()

    def close(self) -> None:
        self._sock.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - ours
    ) -> httpcore.NetworkStream:
        watch, started = _now(), time.monotonic()
        tls: socket.socket = self._sock
        try:
            tls = wrapped = ssl_context.wrap_socket(
                self._sock, server_hostname=server_hostname, do_handshake_on_connect=False
            )
            wrapped.settimeout(TICK)
            while True:
                try:
                    wrapped.do_handshake()
                    break
                except TimeoutError:
                    waited = time.monotonic() - started
                    watch.idle(waited, watch.limits.connect, "did not finish the TLS handshake")
        except ssl.SSLCertVerificationError as error:
            tls.close()
            raise TrustError(
                f"The certificate of {server_hostname} is not valid: {error.verify_message}.",
                hint="Nothing was sent. A hospital's own authority goes into SSL_CERT_FILE.",
            ) from error
        except OSError as error:
            tls.close()
            raise httpcore.ConnectError(_reason(error)) from error
        except BaseException:
            tls.close()
            raise
        return _Stream(wrapped)

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object":
            return self._sock if isinstance(self._sock, ssl.SSLSocket) else None
        if info == "is_readable":  # an idle connection that can be read has been closed
            with selectors.DefaultSelector() as selector:
                selector.register(self._sock, selectors.EVENT_READ)
                return bool(selector.select(0))
        return None


class _Backend(httpcore.NetworkBackend):
    """Connects to checked addresses. Without ``trust`` (to a proxy) there is no check."""

    def __init__(self, trust: Trust | None) -> None:
        self._trust = trust

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the watch knows
        local_address: str | None = None,  # noqa: ARG002 - never given
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 - never given
    ) -> httpcore.NetworkStream:
        watch = _now()
        found = resolve(host, port, watch)
        if self._trust is not None:
            addresses = [address for _, sockaddr in found if (address := literal(str(sockaddr[0])))]
            self._trust.check_addresses(host, addresses)
        last: OSError = OSError("no address")
        for family, sockaddr in found:
            try:
                return _Stream(_connect(family, sockaddr, watch))
            except OSError as error:
                last = error
        raise httpcore.ConnectError(_reason(last)) from last


def resolve(host: str, port: int, watch: Watch) -> list[tuple[int, Any]]:
    """(family, socket address) of a name, asked in a thread because a resolver may hang."""
    answer: list[Any] = []

    def ask() -> None:
        try:
            answer.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answer.append(error)

    if literal(host) is not None:
        ask()  # no name, no resolver, no delay
    else:
        thread = threading.Thread(target=ask, name="s4s-resolve", daemon=True)
        thread.start()
        started = time.monotonic()
        while thread.is_alive() and not answer:
            thread.join(TICK)
            watch.idle(time.monotonic() - started, watch.limits.connect, "has a name that hung")
    if isinstance(answer[0], Exception):
        temporary = getattr(answer[0], "errno", None) == socket.EAI_AGAIN
        raise Broken(f"the name {host} is not known", temporary=temporary) from answer[0]
    return [(family, sockaddr) for family, _, _, _, sockaddr in answer[0]]


def _connect(family: int, sockaddr: Any, watch: Watch) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        try:
            sock.connect(sockaddr)
        except BlockingIOError:
            started = time.monotonic()
            with selectors.DefaultSelector() as selector:
                selector.register(sock, selectors.EVENT_WRITE)
                while not selector.select(TICK):
                    waited = time.monotonic() - started
                    if waited > watch.limits.connect:
                        raise OSError(errno.ETIMEDOUT, "no connection in time") from None
                    watch.idle(waited, watch.limits.connect, "")
        if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code))  # noqa: TRY301 - as connect() itself would
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def tls_context() -> ssl.SSLContext:
    """TLS as the machine wants it: SSL_CERT_FILE or SSL_CERT_DIR, else certifi's authorities."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if not file and not folder:
        file = certifi.where()
    try:
        return ssl.create_default_context(cafile=file or None, capath=folder or None)
    except OSError as error:
        raise TrustError(
            "SSL_CERT_FILE or SSL_CERT_DIR names nothing that can be read.",
            hint="Nothing was sent. Mend or unset that variable.",
        ) from error


def proxy_for(place: Place) -> str | None:
    """The proxy that the environment names for a place; this machine is never behind one."""
    if is_local(place.host) or urllib.request.proxy_bypass(f"{place.host}:{place.port}"):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(place.scheme) or proxies.get("all")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


class Answer:
    """Status line and headers of an answer; the body is still to come."""

    def __init__(self, response: httpcore.Response, watch: Watch) -> None:
        self.status: int = response.status
        self.headers: Headers = list(response.headers)
        self._response, self._watch = response, watch

    def chunks(self) -> Iterator[bytes]:
        """The raw body as it comes. Raises :class:`Broken` when it is cut short."""
        with self._watch.active(), _as_broken(self._watch):
            chunks = iter(self._response.iter_stream())
        while True:
            with self._watch.active(), _as_broken(self._watch):
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    def close(self) -> None:
        self._response.close()

    def drop(self) -> None:
        """Be done with it: a short rest is read so that the connection can be used again."""
        self._watch.limits = replace(self._watch.limits, stall=1.0, window=1.0)
        left = 1 << 16
        with suppress(Broken, Stalled, MalformedResponse):
            for chunk in self.chunks():
                left -= len(chunk)
                if left < 0:
                    break
        self.close()


@contextmanager
def _as_broken(watch: Watch) -> Iterator[None]:
    try:
        yield
    except httpcore.RemoteProtocolError as error:
        if watch.ended:
            raise Broken("the connection was closed too early") from error
        raise MalformedResponse("The answer is not HTTP as it should be.") from error
    except httpcore.ProxyError as error:
        raise HolderUnavailable("The proxy refused to connect.") from error
    except (httpcore.NetworkError, httpcore.TimeoutException) as error:
        raise Broken(str(error)) from error


class Wire:
    """The connections to one holder, direct or through the environment's proxy."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._pools: dict[tuple[bool, str | None], httpcore.ConnectionPool] = {}
        self._lock = threading.Lock()

    def send(
        self, method: str, place: Place, headers: Headers, body: bytes, watch: Watch
    ) -> Answer:
        """One request, one answer. Raises :class:`Broken` and S4SErrors without a request."""
        request = httpcore.Request(
            method,
            httpcore.URL(
                scheme=place.scheme.encode(),
                host=place.host.encode(),
                port=place.port,
                target=place.target.encode(),
            ),
            headers=headers,
            content=body,
        )
        pool = self._pool(place)
        with watch.active(), _as_broken(watch):
            response = pool.handle_request(request)
        watch.body()
        return Answer(response, watch)

    def _pool(self, place: Place) -> httpcore.ConnectionPool:
        proxy = proxy_for(place)
        key = (place.scheme == "https", proxy)
        with self._lock:
            if key not in self._pools:
                self._pools[key] = httpcore.ConnectionPool(
                    ssl_context=tls_context() if key[0] else None,
                    proxy=_proxy(proxy),
                    max_connections=None,
                    max_keepalive_connections=10,
                    keepalive_expiry=15.0,
                    network_backend=_Backend(None if proxy else self._trust),
                )
            return self._pools[key]

    def close(self) -> None:
        with self._lock:
            for pool in self._pools.values():
                pool.close()
            self._pools.clear()


def _proxy(address: str | None) -> httpcore.Proxy | None:
    if address is None:
        return None
    url = urlsplit(address)
    if url.scheme != "http" or not url.hostname:
        raise HolderUnavailable(
            "The environment names a proxy of a kind that is not supported.",
            hint="Set HTTPS_PROXY to an http:// address.",
        )
    auth = None
    if url.username:
        auth = (unquote(url.username), unquote(url.password or ""))
    return httpcore.Proxy(f"http://{url.hostname}:{url.port or 80}", auth=auth)


class _Quiet(logging.Filter):
    """Keeps httpcore from logging our headers, cookies and addresses, at any level."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - whatever it says
        return getattr(_watching, "now", None) is None


for _name in ("connection", "http11", "http2", "proxy", "socks"):
    logging.getLogger(f"httpcore.{_name}").addFilter(_Quiet())
