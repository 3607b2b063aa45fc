"""httpx over pooled connections of our guarded backend: TLS, proxies, framing of bodies."""

from __future__ import annotations

import logging
import os
import re
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit

import certifi
import httpcore
import httpx

from ..errors import HolderUnavailable, MalformedResponse, Stalled, TrustError
from .backend import BODY_BYTES, ConnectionBroken, GuardedBackend, Monitor
from .origins import Origins, ParsedURL, is_local
from .slots import Slot

_FRAMING = ("content-length", "transfer-encoding")
_BLANK_LINE = re.compile(rb"\n\r?\n")  # the end of headers and of a chunked body


class _errors_translated:  # noqa: N801 - reads as a statement; a class, as it runs for every chunk
    """Applies a monitor and turns httpcore's errors into :class:`ConnectionBroken` or ours."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def __enter__(self) -> None:
        self._monitor.__enter__()

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        self._monitor.__exit__()
        if isinstance(error, httpcore.RemoteProtocolError):
            if self._monitor.ended or not self._monitor.total:  # a kept connection had ended
                raise ConnectionBroken("the connection was closed too early")
            raise MalformedResponse("The answer is not HTTP as it should be.")
        if isinstance(error, httpcore.ProxyError):
            raise HolderUnavailable("The proxy refused to connect.")
        if isinstance(error, (httpcore.NetworkError, httpcore.TimeoutException)):
            raise ConnectionBroken(str(error))


class ResponseBody(httpx.SyncByteStream):
    """The raw body of a response, in the pieces that arrive."""

    def __init__(self, response: httpcore.Response, monitor: Monitor, slot: Slot) -> None:
        self._response, self._monitor, self._slot = response, monitor, slot
        self._headers = httpx.Headers(response.headers)
        self._chunked = "transfer-encoding" in self._headers
        self._last = b""  # the last piece, if chunked
        monitor.records_last = self._chunked

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces. Raises :class:`ConnectionBroken` when the body is cut."""
        if not self._has_body() or any(name in self._headers for name in _FRAMING):
            yield from self._framed()
            if not self._ends_here():
                self._response.extensions["network_stream"].close()
        else:
            yield from self._until_closed()

    def _has_body(self) -> bool:
        return self._response.status not in (204, 304)

    def _framed(self) -> Iterator[bytes]:
        stream = self._response.iter_stream()
        while True:
            with _errors_translated(self._monitor):
                piece = next(stream, None)
            if piece is None:
                return
            if self._chunked:
                self._last = piece
            yield piece

    def _until_closed(self) -> Iterator[bytes]:
        """Yield a body that ends with its connection (RFC 9112 section 6.3).

        That is how archives send studies. The first piece is all that httpcore has buffered; the
        rest comes straight from the socket, because httpcore would copy each byte twice.
        """
        buffered = self._framed()  # closing it would close the connection
        stream = self._response.extensions["network_stream"]
        piece = next(buffered, b"")
        while piece:
            yield piece
            with _errors_translated(self._monitor):
                piece = stream.read(BODY_BYTES)

    def _ends_here(self) -> bool:
        """Return whether nothing was received beyond the end of the body.

        httpcore would take what follows for the response to the next request. In doubt (an
        informational response, a blank line within the last chunk) the answer is no, which costs
        no more than a new connection.
        """
        head = _BLANK_LINE.search(self._monitor.head)
        if head is None:
            return False
        if self._has_body() and self._chunked:
            tail = self._monitor.last or bytes(self._monitor.head[head.end() :])
            position = tail.find(self._last)
            end = _BLANK_LINE.search(tail, position + len(self._last) if position >= 0 else 0)
            return end is not None and end.end() == len(tail)
        length = int(self._headers.get("content-length", "0")) if self._has_body() else 0
        return self._monitor.total - head.end() == length

    def discard(self) -> None:
        """Close the response; a short rest is read so that the connection can be used again."""
        self._monitor.limits = replace(self._monitor.limits, stall=1.0, window=1.0)
        remaining, end = 1 << 16, time.monotonic() + 2.0
        with suppress(ConnectionBroken, Stalled, MalformedResponse):
            for piece in self:
                remaining -= len(piece)
                if remaining < 0 or time.monotonic() > end:
                    break
        self.close()

    def close(self) -> None:
        """Close the response, and its connection unless the body was read to its end."""
        try:
            with self._monitor:
                self._response.close()
        finally:
            self._slot.release()


class PooledTransport(httpx.BaseTransport):
    """The connections to one holder, direct or through the environment's proxy.

    A request needs three extensions: ``monitor``, the :class:`Monitor` of its exchange,
    ``parsed_url``, the checked address: what was checked is what is sent, unchanged, and ``slot``,
    which is released when the response is closed.
    """

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._pools: dict[tuple[str, str | None], httpcore.ConnectionPool] = {}
        self._lock = threading.Lock()

    @property
    def proxied(self) -> bool:
        """Whether a proxy was used, so that addresses could not be checked."""
        return any(proxy for _, proxy in self._pools)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its response, with the body still to be read.

        Raises:
            ConnectionBroken: the connection failed or was closed too early.
            S4SError: any of ours, without a request.
        """
        monitor: Monitor = request.extensions["monitor"]
        parsed: ParsedURL = request.extensions["parsed_url"]
        url = httpcore.URL(
            scheme=parsed.scheme.encode(),
            host=parsed.host.encode(),
            port=parsed.port,
            target=parsed.target.encode(),
        )
        slot: Slot = request.extensions["slot"]
        try:
            pool = self._pool(parsed)
            with _errors_translated(monitor):
                response = pool.handle_request(
                    httpcore.Request(
                        request.method, url, headers=request.headers.raw, content=request.content
                    )
                )
        except BaseException:
            slot.release()
            raise
        monitor.start_body()
        body = ResponseBody(response, monitor, slot)
        return httpx.Response(response.status, headers=response.headers, stream=body)

    def _pool(self, parsed: ParsedURL) -> httpcore.ConnectionPool:
        key = (parsed.scheme, proxy_for(parsed))
        with self._lock:
            if key not in self._pools:
                self._pools[key] = httpcore.ConnectionPool(
                    ssl_context=tls_context() if parsed.scheme == "https" else None,
                    proxy=_proxy(key[1]),
                    max_connections=None,
                    max_keepalive_connections=10,
                    keepalive_expiry=15.0,
                    network_backend=GuardedBackend(None if key[1] else self._origins),
                )
            return self._pools[key]

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for pool in self._pools.values():
                pool.close()
            self._pools.clear()


def tls_context() -> ssl.SSLContext:
    """Return the TLS settings: SSL_CERT_FILE or SSL_CERT_DIR, else certifi's authorities."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if not file and not folder:
        file = certifi.where()
    try:
        return ssl.create_default_context(cafile=file or None, capath=folder or None)
    except OSError as error:
        raise TrustError(
            "SSL_CERT_FILE or SSL_CERT_DIR names nothing that can be read.",
            hint="Nothing was sent. Correct or unset that variable.",
        ) from error


def proxy_for(parsed: ParsedURL) -> str | None:
    """Return the proxy that the environment names for an address; none for this machine."""
    if is_local(parsed.host) or urllib.request.proxy_bypass(f"{parsed.host}:{parsed.port}"):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parsed.scheme) or proxies.get("all")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


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


class _LogFilter(logging.Filter):
    """Keeps httpcore from logging our headers, cookies and addresses, at any level."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        return Monitor.current() is None


for _name in ("connection", "http11", "proxy"):
    logging.getLogger(f"httpcore.{_name}").addFilter(_LogFilter())
