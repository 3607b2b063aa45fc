"""Names to addresses to sockets, and what the environment says about TLS and proxies.

Everything here that may take long looks at the cancel switch every tick.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import ssl
import threading
import time
import urllib.request
from typing import Any

import certifi

from ..errors import TrustError
from ..task import TICK
from .origins import ParsedURL, is_local, literal
from .watch import ConnectionBroken, Monitor

SocketAddress = tuple[int, Any]  # (family, what connect() takes)


def resolve(host: str, port: int, watch: Monitor) -> list[SocketAddress]:
    """Every address of a name, asked for in a thread of its own because a resolver may hang.

    Raises:
        Broken: the name is not known. Stalled, Cancelled: as named.
    """
    answer: list[Any] = []

    def ask() -> None:
        try:
            answer.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answer.append(error)

    if literal(host) is not None:
        ask()
    else:
        thread = threading.Thread(target=ask, name="s4s-resolve", daemon=True)
        thread.start()
        started = time.monotonic()
        while thread.is_alive():
            thread.join(TICK)
            watch.idle(started, watch.limits.connect, f"({host}) was looked up in vain")
    if isinstance(answer[0], Exception):
        temporary = getattr(answer[0], "errno", None) == socket.EAI_AGAIN
        raise ConnectionBroken(f"the name {host} is not known", temporary=temporary)
    return [(family, address) for family, _, _, _, address in answer]


def connect(to: SocketAddress, watch: Monitor) -> socket.socket:
    """A connected socket whose calls end after a tick. Raises OSError, Cancelled."""
    family, address = to
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        try:
            sock.connect(address)
        except BlockingIOError:
            _finish(sock, watch)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(TICK)
    except BaseException:
        sock.close()
        raise
    return sock


def _finish(sock: socket.socket, watch: Monitor) -> None:
    started = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_WRITE)
        while not selector.select(TICK):
            watch.check()
            if time.monotonic() - started > watch.limits.connect:
                raise OSError(errno.ETIMEDOUT, "no connection in time")
    if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(code, os.strerror(code))


def start_tls(
    sock: socket.socket, context: ssl.SSLContext, name: str | None, watch: Monitor
) -> ssl.SSLSocket:
    """TLS over a socket, which is closed if that fails.

    Raises:
        TrustError: the certificate is not valid for that name now. OSError, Stalled, Cancelled.
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
                watch.idle(started, watch.limits.connect, "did not finish the TLS handshake")
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


def proxy_for(place: ParsedURL) -> str | None:
    """The proxy that the environment names for a place; this machine is never behind one."""
    if is_local(place.host) or urllib.request.proxy_bypass(f"{place.host}:{place.port}"):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(place.scheme) or proxies.get("all")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def reason(error: OSError) -> str:
    """Why a socket failed, in few words."""
    return error.strerror or type(error).__name__
