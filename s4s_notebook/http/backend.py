"""HTTP over sockets under our own watch. The only importer of httpcore.

A name is resolved once for a connection, every address it has is checked, and the connection goes
to a checked address, so that a name cannot change its mind in between (DNS rebinding). Every read
returns within a tick or looks at the cancel switch, so nothing blocks for long.
"""

from __future__ import annotations

import logging
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit

import httpcore

from ..errors import HolderUnavailable, MalformedResponse, Stalled
from . import sockets
from .origins import Origins, ParsedURL, literal
from .watch import ConnectionBroken, Monitor

Headers = list[tuple[bytes, bytes]]
_BODY_BYTES = 256 << 10  # to read at a time
_ENDS = {b"content-length", b"transfer-encoding"}


class _Stream(httpcore.NetworkStream):
    """A connected socket; httpcore's own timeouts are not used, the watch's limits are."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - watch
        watch, started = Monitor.current() or Monitor(), time.monotonic()
        if watch.in_body:  # what h11 and we do for every chunk is dearer than its bytes
            max_bytes = max(max_bytes, _BODY_BYTES)
        while True:
            watch.check()
            try:
                data = self._sock.recv(max_bytes)
            except TimeoutError:
                watch.silent(started)
            except OSError as error:
                raise httpcore.ReadError(sockets.reason(error)) from error
            else:
                watch.received(len(data), started)
                return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - watch
        watch, started = Monitor.current() or Monitor(), time.monotonic()
        left = memoryview(buffer)
        while left:
            watch.check()
            try:
                left = left[self._sock.send(left) :]
            except TimeoutError:
                watch.idle(started, watch.limits.stall, "took nothing")
            except OSError as error:
                raise httpcore.WriteError(sockets.reason(error)) from error
            else:
                started = time.monotonic()

    def close(self) -> None:
        self._sock.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - watch
    ) -> httpcore.NetworkStream:
        watch = Monitor.current() or Monitor()
        try:
            return _Stream(sockets.start_tls(self._sock, ssl_context, server_hostname, watch))
        except OSError as error:
            raise httpcore.ConnectError(sockets.reason(error)) from error

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # an idle connection with something to read is of no more use
            if self._sock.fileno() < 0:
                return True
            with selectors.DefaultSelector() as selector:
                selector.register(self._sock, selectors.EVENT_READ)
                return bool(selector.select(0))
        return None  # no HTTP/2, so nobody needs the TLS object


class _Backend(httpcore.NetworkBackend):
    """Connects to checked addresses. Without ``trust`` (to a proxy) there is no check."""

    def __init__(self, origins: Origins | None) -> None:
        self._trust = origins

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - watch
        local_address: str | None = None,  # noqa: ARG002 - never given
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 - never given
    ) -> httpcore.NetworkStream:
        watch = Monitor.current() or Monitor()
        found = sockets.resolve(host, port, watch)
        if self._trust is not None:
            addresses = [address for _, (ip, *_) in found if (address := literal(ip))]
            self._trust.check_addresses(host, addresses)
        last = OSError("no address")
        for to in found:
            try:
                return _Stream(sockets.connect(to, watch))
            except OSError as error:
                last = error
        raise httpcore.ConnectError(sockets.reason(last)) from last


class Answer:
    """Status line and headers of an answer; the body is still to come."""

    def __init__(self, response: httpcore.Response, watch: Monitor) -> None:
        self.status: int = response.status
        self.headers: Headers = list(response.headers)
        self._response, self._watch = response, watch

    def chunks(self) -> Iterator[bytes]:
        """The raw body as it comes. Raises :class:`Broken` when it is cut short."""
        begun = _unread(self._response) if self._ends_with_connection() else None
        if begun is not None:
            yield from self._to_the_end(begun)
            return
        stream = self._response.iter_stream()
        while True:
            with _translated(self._watch):
                chunk = next(stream, None)
            if chunk is None:
                if _unread(self._response):
                    self._response.extensions["network_stream"].close()
                return
            yield chunk

    def _ends_with_connection(self) -> bool:
        """Whether there is a body, and nothing in the head says where it ends (RFC 9112 6.3)."""
        names = {name.lower() for name, _ in self.headers}
        return self.status not in (204, 304) and not names & _ENDS

    def _to_the_end(self, begun: bytes) -> Iterator[bytes]:
        """A body that ends with its connection, straight from the socket.

        That is how archives send studies, and h11 would copy each byte twice on its way.
        """
        stream = self._response.extensions["network_stream"]
        if begun:
            yield begun
        while True:
            with _translated(self._watch):
                chunk = stream.read(_BODY_BYTES)
            if not chunk:
                return
            yield chunk

    def drop(self) -> None:
        """Be done with it: a short rest is read so that the connection can be used again."""
        self._watch.limits = replace(self._watch.limits, stall=1.0, window=1.0)
        left, end = 1 << 16, time.monotonic() + 2.0
        with suppress(ConnectionBroken, Stalled, MalformedResponse):
            for chunk in self.chunks():
                left -= len(chunk)
                if left < 0 or time.monotonic() > end:
                    break
        self.close()

    def close(self) -> None:
        with self._watch:
            self._response.close()


def _unread(response: Any) -> bytes | None:
    """What has come and has not been handed out: the beginning of the body, or, after its end, what
    would be taken for the answer to the next request. None when it cannot be known."""
    try:
        state = response.stream._stream._connection._h11_state
    except AttributeError:  # httpcore has no public way to ask, and may change its private one
        return None
    data: bytes = state.trailing_data[0]
    return data


class _translated:  # noqa: N801 - reads as a statement; a class, as it runs for every chunk
    """Puts a watch in charge and turns httpcore's errors into :class:`Broken` or ours."""

    def __init__(self, watch: Monitor) -> None:
        self._watch = watch

    def __enter__(self) -> None:
        self._watch.__enter__()

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        self._watch.__exit__()
        if isinstance(error, httpcore.RemoteProtocolError):
            if self._watch.ended:
                raise ConnectionBroken("the connection was closed too early")
            raise MalformedResponse("The answer is not HTTP as it should be.")
        if isinstance(error, httpcore.ProxyError):
            raise HolderUnavailable("The proxy refused to connect.")
        if isinstance(error, (httpcore.NetworkError, httpcore.TimeoutException)):
            raise ConnectionBroken(str(error))


class Wire:
    """The connections to one holder, direct or through the environment's proxy."""

    def __init__(self, origins: Origins) -> None:
        self._trust = origins
        self._pools: dict[tuple[str, str | None], httpcore.ConnectionPool] = {}
        self._lock = threading.Lock()

    @property
    def proxied(self) -> bool:
        """Whether a proxy was used, so that addresses could not be checked."""
        return any(proxy for _, proxy in self._pools)

    def send(
        self, method: str, place: ParsedURL, headers: Headers, body: bytes, watch: Monitor
    ) -> Answer:
        """One request, one answer. Raises :class:`Broken`, and our errors without a request."""
        url = httpcore.URL(
            scheme=place.scheme.encode(),
            host=place.host.encode(),
            port=place.port,
            target=place.target.encode(),
        )
        request = httpcore.Request(method, url, headers=headers, content=body)
        pool = self._pool(place)
        with _translated(watch):
            response = pool.handle_request(request)
        watch.body()
        return Answer(response, watch)

    def _pool(self, place: ParsedURL) -> httpcore.ConnectionPool:
        key = (place.scheme, sockets.proxy_for(place))
        with self._lock:
            if key not in self._pools:
                self._pools[key] = httpcore.ConnectionPool(
                    ssl_context=sockets.tls_context() if place.scheme == "https" else None,
                    proxy=_proxy(key[1]),
                    max_connections=None,
                    max_keepalive_connections=10,
                    keepalive_expiry=15.0,
                    network_backend=_Backend(None if key[1] else self._trust),
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
    auth = (unquote(url.username), unquote(url.password or "")) if url.username else None
    return httpcore.Proxy(f"http://{url.hostname}:{url.port or 80}", auth=auth)


class _Quiet(logging.Filter):
    """Keeps httpcore from logging our headers, cookies and addresses, at any level."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - whatever it says
        return Monitor.current() is None


for _name in ("connection", "http11", "proxy"):
    logging.getLogger(f"httpcore.{_name}").addFilter(_Quiet())
