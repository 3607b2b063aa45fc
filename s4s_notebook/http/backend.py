"""The guarded network backend of httpcore: sockets whose every read and write is limited.

A name is resolved once for a connection, every address is checked, and the connection goes to a
checked address, so the name cannot change in between (DNS rebinding). Every call returns within a
tick or checks the cancel switch, so nothing blocks for long.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import httpcore

from ..errors import MalformedResponse, Stalled, TrustError
from ..task import TICK, Cancel
from .origins import Origins, literal

SocketAddress = tuple[int, Any]  # (address family, argument of socket.connect)
BODY_BYTES = 256 << 10  # bytes per read of a body
_current = threading.local()


@dataclass(frozen=True)
class Limits:
    """Limits of one exchange.

    Attributes:
        connect: seconds for resolving a name, for connecting and for the TLS handshake.
        answer: seconds until the headers of the response are complete.
        stall: seconds without a byte within a body.
        floor: bytes a second that must arrive on average over each ``window``.
        window: seconds spent waiting for bytes; the reader's own time does not count.
        head: bytes that may precede the body.
    """

    connect: float = 30.0
    answer: float = 300.0
    stall: float = 120.0
    floor: float = 512.0
    window: float = 60.0
    head: int = 256 * 1024


class ConnectionBroken(Exception):  # noqa: N818 - internal, never shown
    """The connection failed; ``temporary`` tells whether another attempt may help."""

    def __init__(self, reason: str, *, temporary: bool = True) -> None:
        super().__init__(reason)
        self.temporary = temporary


class Monitor:
    """Applies the limits to every read and write of one exchange.

    Used as ``with monitor:`` it applies to the sockets of this thread.

    Attributes:
        in_body: whether the headers are complete.
        ended: whether the holder closed the connection.
        head: raw bytes of the read calls up to the one that completed the headers.
        total: bytes received in all.
        last: raw bytes of the last read, after the last few bytes of the one before.
        records_last: whether they are recorded; a large read is dearer while another is held.
    """

    def __init__(self, limits: Limits | None = None, cancel: Cancel | None = None) -> None:
        self.limits, self.cancel = limits or Limits(), cancel
        self.in_body = False
        self.ended = False
        self.head, self.total = bytearray(), 0
        self.records_last = False
        self._last, self._before = b"", b""
        self._waited, self._bytes = 0.0, 0
        self._outer: Monitor | None = None

    def __enter__(self) -> Self:
        self._outer, _current.monitor = getattr(_current, "monitor", None), self
        return self

    def __exit__(self, *_: object) -> None:
        _current.monitor = self._outer

    @staticmethod
    def current() -> Monitor | None:
        """Return the monitor that applies to this thread, or None."""
        monitor: Monitor | None = getattr(_current, "monitor", None)
        return monitor

    @property
    def last(self) -> bytes:
        """Raw bytes of the last read, after the last few bytes of the one before."""
        return self._before + self._last

    def start_head(self) -> None:
        """Forget the bytes of a proxy's response: the holder's response comes next."""
        self.head, self.total = bytearray(), 0

    def start_body(self) -> None:
        """Apply the limits of a body from now on: the headers are complete."""
        self.in_body, self._waited, self._bytes = True, 0.0, 0

    def check(self) -> None:
        """Raise Cancelled if the switch is set."""
        if self.cancel is not None:
            self.cancel.check()

    def idle(self, since: float, limit: float, description: str) -> None:
        """Check an inactivity that began at the monotonic time ``since``.

        Raises:
            Cancelled: the switch is set.
            Stalled: more than ``limit`` seconds have passed.
        """
        self.check()
        seconds = time.monotonic() - since
        if seconds > limit:
            raise Stalled(f"The holder {description} for {seconds:.0f} seconds.")

    def silent(self, since: float) -> None:
        """Check a time without a byte. Raises Cancelled, Stalled."""
        if self.in_body:
            self.idle(since, self.limits.stall, "sent nothing")
        else:
            self.idle(since - self._waited, self.limits.answer, "gave no answer")

    def received(self, data: bytes, since: float) -> None:
        """Count bytes that were waited for since a monotonic time.

        Raises:
            MalformedResponse: too many bytes before the body.
            Stalled: too few bytes a second.
        """
        now = time.monotonic()
        self.ended = not data
        self._waited += now - since
        self._bytes += len(data)
        self.total += len(data)
        if not self.in_body:
            self.head += data
            if self._bytes > self.limits.head:
                raise MalformedResponse("The headers of the answer never end.")
            self.silent(now)
            return
        if self.records_last:
            self._before, self._last = self._last[-4:], data
        if self._waited > self.limits.window:
            if self._bytes < self.limits.floor * self._waited:
                raise Stalled(f"Only {self._bytes:,} bytes arrived in {self._waited:.0f} seconds.")
            self._waited, self._bytes = 0.0, 0


class SocketStream(httpcore.NetworkStream):
    """A connected socket. The monitor's limits apply in place of httpcore's timeouts."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        """Return the next bytes; none at the end."""
        monitor, started = Monitor.current() or Monitor(), time.monotonic()
        if monitor.in_body:  # few large reads: the work for each costs more than its bytes
            max_bytes = max(max_bytes, BODY_BYTES)
        while True:
            monitor.check()
            try:
                data = self._sock.recv(max_bytes)
            except TimeoutError:
                monitor.silent(started)
            except OSError as error:
                raise httpcore.ReadError(reason(error)) from error
            else:
                monitor.received(data, started)
                return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        """Send all bytes."""
        monitor, started = Monitor.current() or Monitor(), time.monotonic()
        remaining = memoryview(buffer)
        while remaining:
            monitor.check()
            try:
                remaining = remaining[self._sock.send(remaining) :]
            except TimeoutError:
                monitor.idle(started, monitor.limits.stall, "took nothing")
            except OSError as error:
                raise httpcore.WriteError(reason(error)) from error
            else:
                started = time.monotonic()

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        """Return this connection encrypted. Raises TrustError, Stalled, Cancelled."""
        monitor = Monitor.current() or Monitor()
        monitor.start_head()
        try:
            return SocketStream(start_tls(self._sock, ssl_context, server_hostname, monitor))
        except OSError as error:
            raise httpcore.ConnectError(reason(error)) from error

    def get_extra_info(self, info: str) -> Any:
        """Return whether an idle connection has something to read, and so is of no more use."""
        if info == "is_readable":
            if self._sock.fileno() < 0:
                return True
            with selectors.DefaultSelector() as selector:
                selector.register(self._sock, selectors.EVENT_READ)
                return bool(selector.select(0))
        return None  # without HTTP/2 nothing needs the TLS object


class GuardedBackend(httpcore.NetworkBackend):
    """Connects to checked addresses only.

    Args:
        origins: what the addresses are checked against; None (to a proxy) checks nothing.
    """

    def __init__(self, origins: Origins | None) -> None:
        self._origins = origins

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        """Resolve, check and connect. Raises BlockedAddress, Stalled, Cancelled."""
        monitor = Monitor.current() or Monitor()
        resolved = resolve(host, port, monitor)
        if self._origins is not None:
            addresses = [address for _, (ip, *_) in resolved if (address := literal(ip))]
            self._origins.check_addresses(host, addresses)
        last = OSError("no address")
        for to in resolved:
            try:
                return SocketStream(connect(to, monitor))
            except OSError as error:
                last = error
        raise httpcore.ConnectError(reason(last)) from last


def resolve(host: str, port: int, monitor: Monitor) -> list[SocketAddress]:
    """Return every address of a name. A thread asks, because a resolver may hang.

    Raises:
        ConnectionBroken: the name is not known.
        Stalled: the resolver did not answer in time.
        Cancelled: the switch is set.
    """
    result: list[Any] = []

    def look_up() -> None:
        try:
            result.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            result.append(error)

    if literal(host) is not None:
        look_up()
    else:
        thread = threading.Thread(target=look_up, name="s4s-resolve", daemon=True)
        thread.start()
        started = time.monotonic()
        while thread.is_alive():
            thread.join(TICK)
            monitor.check()
            if time.monotonic() - started > monitor.limits.connect:
                raise Stalled(f"Could not look up {host} in {monitor.limits.connect:.0f} seconds.")
    if isinstance(result[0], Exception):
        temporary = getattr(result[0], "errno", None) == socket.EAI_AGAIN
        raise ConnectionBroken(f"the name {host} is not known", temporary=temporary)
    return [(family, address) for family, _, _, _, address in result]


def connect(to: SocketAddress, monitor: Monitor) -> socket.socket:
    """Return a connected socket whose calls end after a tick. Raises OSError, Cancelled."""
    family, address = to
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        try:
            sock.connect(address)
        except BlockingIOError:
            _finish_connecting(sock, monitor)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(TICK)
    except BaseException:
        sock.close()
        raise
    return sock


def _finish_connecting(sock: socket.socket, monitor: Monitor) -> None:
    started = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_WRITE)
        while not selector.select(TICK):
            monitor.check()
            if time.monotonic() - started > monitor.limits.connect:
                raise OSError(errno.ETIMEDOUT, "no connection in time")
    if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(code, os.strerror(code))


def start_tls(
    sock: socket.socket, context: ssl.SSLContext, name: str | None, monitor: Monitor
) -> ssl.SSLSocket:
    """Return TLS over a socket, which is closed if that fails.

    Raises:
        TrustError: the certificate is not valid for that name now.
        OSError: the connection failed.
        Stalled: the handshake did not end in time.
        Cancelled: the switch is set.
    """
    started = time.monotonic()
    tls: socket.socket = sock
    try:
        tls = wrapped = context.wrap_socket(
            sock, server_hostname=name, do_handshake_on_connect=False
        )
        wrapped.settimeout(TICK)
        while True:
            try:
                wrapped.do_handshake()
            except TimeoutError:
                monitor.idle(started, monitor.limits.connect, "did not finish the TLS handshake")
            else:
                return wrapped
    except ssl.SSLCertVerificationError as error:
        tls.close()
        raise TrustError(
            f"The certificate of {name} is not valid: {error.verify_message}.",
            hint="Nothing was sent. A hospital's own authority goes into SSL_CERT_FILE.",
        ) from error
    except BaseException:
        tls.close()
        raise


def reason(error: OSError) -> str:
    """Return why a socket failed, in few words."""
    return error.strerror or type(error).__name__
