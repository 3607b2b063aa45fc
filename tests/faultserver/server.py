"""The server itself: accepts, reads a request, and lets a script write whatever bytes it likes."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, Self
from urllib.parse import parse_qs, urlsplit


@dataclass
class Seen:
    """One request as it arrived, byte for byte."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return found[0] if found else None

    @property
    def bearer(self) -> str | None:
        value = self.header("Authorization") or ""
        return value.removeprefix("Bearer ") if value.startswith("Bearer ") else None


class Conversation:
    """The connection as a script sees it."""

    def __init__(self, server: FaultServer, sock: socket.socket, seen: Seen) -> None:
        self.server, self.sock, self.seen = server, sock, seen
        self.keep = False

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)
        with self.server.lock:
            self.server.sent += len(data)

    def pause(self, seconds: float) -> None:
        """Wait; ends at once when the server stops."""
        if self.server.stopping.wait(seconds):
            raise ConnectionAbortedError

    def reset(self) -> None:
        """Close with RST, as a crashed server or a firewall does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionAbortedError


Script = Callable[[Conversation], None]


class FaultServer:
    """Answers by path with scripts, one after the other; the last one of a path for ever.

    `requests` is what came, `sent` the bytes written, `connections` how many were accepted.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, family: int = socket.AF_INET) -> None:
        self.requests: list[Seen] = []
        self.sent = self.connections = 0
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self._tls = tls
        self._scripts: dict[str, list[Script]] = {}
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        self._listener.listen(64)
        self._listener.settimeout(0.05)
        self.port: int = self._listener.getsockname()[1]
        self.origin = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.base = f"{self.origin}/fhir"
        self._sockets: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def on(self, path: str, *scripts: Script | bytes) -> Self:
        """Script the answers to a path (`*`: to every other path)."""
        self._scripts[path] = [_raw(s) if isinstance(s, bytes) else s for s in scripts]
        return self

    def at(self, path: str) -> list[Seen]:
        return [seen for seen in self.requests if seen.path == path]

    def url(self, path: str) -> str:
        return self.origin + path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.stopping.set()
        with self.lock:
            for sock in self._sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept() at once
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "a script of the fault server hangs"

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            with self.lock:
                self.connections += 1
                self._sockets.add(sock)
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(None)
        raw = sock
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                with self.lock:
                    self._sockets.add(sock)
            self.talk(sock)
        except OSError:
            pass  # the other side went away, or the server stops: both are asked for
        finally:
            with self.lock:
                self._sockets -= {raw, sock}
            sock.close()
            raw.close()

    def talk(self, sock: socket.socket) -> None:
        with sock.makefile("rb") as file:
            keep = True
            while keep and (seen := _read(file)) is not None:
                with self.lock:
                    self.requests.append(seen)
                    key = seen.path if seen.path in self._scripts else "*"
                    scripts = self._scripts.get(key) or [_raw(_NOT_FOUND)]
                    script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
                conversation = Conversation(self, sock, seen)
                script(conversation)
                keep = conversation.keep


_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def _raw(data: bytes) -> Script:
    return lambda conversation: conversation.send(data)


def _read(file: BinaryIO) -> Seen | None:
    first = file.readline().split()
    if len(first) < 2:
        return None
    headers = []
    while (line := file.readline().decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = line.partition(":")
        headers.append((name, value.strip()))
    length = next((int(v) for n, v in headers if n.lower() == "content-length"), 0)
    body = file.read(length) if length else b""
    return Seen(first[0].decode(), first[1].decode("latin-1"), headers, body)


class Sink:
    """A foreign origin that must never hear from us: counts whatever comes to its door."""

    def __init__(self) -> None:
        self.server = FaultServer()
        self.origin, self.port = self.server.origin, self.server.port

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    def assert_untouched(self) -> None:
        """No connection was made, so no byte and no name lookup of ours came this far."""
        assert self.server.connections == 0, f"{self.server.requests} reached a foreign host"
