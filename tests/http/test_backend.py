"""Sockets, names, TLS and proxies: real ones, on loopback."""

from __future__ import annotations

import _thread
import base64
import datetime
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from s4s_notebook import errors
from s4s_notebook.connection import Connection
from s4s_notebook.http import backend, pool
from s4s_notebook.http.backend import ConnectionBroken, Limits, Monitor
from s4s_notebook.http.client import Transport
from s4s_notebook.http.origins import Origins, literal, parse
from s4s_notebook.http.pool import PooledTransport
from s4s_notebook.http.retry import WaitPolicy
from s4s_notebook.task import Cancel
from s4s_notebook.widgets.connect import ConnectPanel
from tests.faultserver import Conversation, FaultServer
from tests.faultserver import scripts as send
from tests.faultserver.fixtures import FakeTokens, Make

JSON = "application/json"
OK = send.json({"ok": True})
PAST = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


def get(transport: Transport, url: str, **how):
    return transport.request("GET", url, accept=JSON, **how)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """A resolver of our own: each name has answers, given one after the other, then the last."""
    table: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *args, **more):
        if host not in table:
            return real(host, port, *args, **more)
        answer = table[host].pop(0) if len(table[host]) > 1 else table[host][0]
        return [
            (
                socket.AF_INET6 if ":" in ip else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (ip, port),
            )
            for ip in answer
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return table


# ------------------------------------------------------------------ names and addresses


@pytest.mark.fault("B11")
def test_a_rebinding_name_reaches_nothing(server: FaultServer, names, make: Make) -> None:
    """Consented by name and public at first, it turns to loopback: no connection is made."""
    base = "https://holder.example/fhir"
    names["holder.example"] = [["192.0.2.7", "127.0.0.1"]]
    names["imaging.example"] = [["127.0.0.1"]]
    origins = Origins(
        "https://8.8.8.8/fhir", allow_origins=[f"https://imaging.example:{server.port}"]
    )
    with pytest.raises(errors.BlockedAddress, match=r"imaging\.example"):
        get(make(origins=origins), f"https://imaging.example:{server.port}/x")
    origins = Origins(base)
    origins.check_addresses("holder.example", [])
    with pytest.raises(errors.BlockedAddress, match=r"holder\.example"):
        get(make(origins=origins), base)
    assert server.connections == 0


@pytest.mark.fault("B11")
def test_the_connection_goes_to_the_address_that_was_checked(server, names, make) -> None:
    """The second answer of the name is never asked for within one connection."""
    names["x.localhost"] = [["127.0.0.1"], ["8.8.8.8"]]
    server.on("/x", OK)
    base = f"http://x.localhost:{server.port}/fhir"
    transport = make(origins=Origins(base))
    assert get(transport, f"http://x.localhost:{server.port}/x").status == 200
    transport.close()
    origins = Origins(base)
    origins.check_addresses("x.localhost", [literal("127.0.0.1")])
    with pytest.raises(errors.BlockedAddress):
        get(make(origins=origins), f"http://x.localhost:{server.port}/x")


def test_the_next_address_is_tried(names, server: FaultServer, make: Make) -> None:
    names["x.localhost"] = [["::1", "127.0.0.1"]]
    server.on("/x", OK)
    transport = make(origins=Origins(f"http://x.localhost:{server.port}/"))
    assert get(transport, f"http://x.localhost:{server.port}/x").status == 200


def test_ipv6_loopback(make: Make) -> None:
    with FaultServer(family=socket.AF_INET6) as server:
        server.on("/x", OK)
        base = f"http://[::1]:{server.port}/"
        assert get(make(origins=Origins(base)), base + "x").status == 200
        assert server.requests[0].header("Host") == f"[::1]:{server.port}"


def failing(error: OSError):
    def resolve(*_: object, **__: object) -> None:
        raise error

    return resolve


def test_an_unknown_name_is_told_at_once(monkeypatch, make: Make, clock) -> None:
    unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    monkeypatch.setattr(socket, "getaddrinfo", failing(unknown))
    origins = Origins("https://nowhere.example/fhir")
    with pytest.raises(errors.HolderUnavailable, match=r"nowhere\.example is not known"):
        get(make(origins=origins), "https://nowhere.example/fhir")
    assert clock.slept == []
    again = socket.gaierror(socket.EAI_AGAIN, "try again")
    monkeypatch.setattr(socket, "getaddrinfo", failing(again))
    with pytest.raises(errors.HolderUnavailable) as caught:
        get(make(origins=origins), "https://nowhere.example/fhir")
    assert caught.value.request.attempt == 4


def test_a_resolver_that_hangs_can_be_cancelled(monkeypatch, make: Make) -> None:
    free = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: free.wait(20) and [])
    origins = Origins("https://slow.example/fhir")
    cancel = Cancel()
    threading.Timer(0.2, cancel.set).start()
    started = time.monotonic()
    try:
        with pytest.raises(errors.Cancelled):
            get(make(origins=origins), "https://slow.example/fhir", cancel=cancel)
        assert time.monotonic() - started < 1.2
        with pytest.raises(errors.Stalled, match="Could not look up"):
            get(make(origins=origins, limits=Limits(connect=0.1)), "https://slow.example/fhir")
    finally:
        free.set()


def test_a_connection_that_never_comes_about() -> None:
    """A listener whose queue is full swallows the handshake, as a firewall does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        to = (socket.AF_INET, listener.getsockname())
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(to[1])
            fillers.append(filler)
        time.sleep(0.1)
        try:
            with pytest.raises(OSError, match="in time"):
                backend.connect(to, Monitor(Limits(connect=0.3)))
            cancel = Cancel()
            cancel.set()
            with pytest.raises(errors.Cancelled):
                backend.connect(to, Monitor(Limits(), cancel))
        finally:
            for filler in fillers:
                filler.close()


@pytest.mark.fault("G06")
@pytest.mark.parametrize("where", ["head", "body", "wait"])
def test_the_interrupt_button_acts_within_a_second(server, make, where: str) -> None:
    server.on("/head", send.stall())
    server.on("/body", send.stall(send.head(200, {"Content-Length": 10})))
    server.on("/wait", send.later("300"))
    from s4s_notebook.task import SystemClock

    transport = make(clock=SystemClock())
    timer = threading.Timer(0.3, _thread.interrupt_main)
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        get(transport, server.url(f"/{where}"))
    assert time.monotonic() - started < 1.3
    timer.join()
    server.on(f"/{where}", OK)
    if where == "wait":  # the next call obeys the time that the holder asked for
        assert transport.stored_waits is not None
        assert transport.stored_waits.until(server.url("/wait")) is not None
    else:
        assert get(transport, server.url(f"/{where}")).status == 200


def test_a_connection_is_used_again(server: FaultServer, make: Make) -> None:
    server.on("/x", send.later("1"), send.redirect("/y"), OK)
    server.on("/y", OK)
    transport = make()
    for _ in range(3):
        get(transport, server.url("/x"))
    assert server.connections == 1


def test_a_connection_that_the_holder_closed_is_not(server: FaultServer, make: Make) -> None:
    server.on("/x", send.json({}, keep=False), OK)
    transport = make()
    get(transport, server.url("/x"))
    time.sleep(0.1)
    assert get(transport, server.url("/x")).status == 200
    assert server.connections == 2


@pytest.mark.fault("D19")
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_bytes_beyond_an_answer_are_not_the_next_answer(server, make, framing: str) -> None:
    """A Content-Length that is too short, or an answer that nobody asked for yet."""

    def too_much(talk: Conversation) -> None:
        both = b""
        for body in (b'{"a":1}', b'{"a":"of another"}'):
            headers, framed = send.frame(body, framing)
            both += send.head(200, headers) + framed
        talk.send(both)
        talk.keep = True

    server.on("/x", too_much, send.json({"a": 2}))
    transport = make()
    assert get(transport, server.url("/x")).json() == {"a": 1}
    assert get(transport, server.url("/x")).json() == {"a": 2}
    assert server.connections == 2


@pytest.mark.fault("D19")
@pytest.mark.parametrize("body", [b'{"a":1}', b'{"a":1}\n', b'{\n\n"a":1}'])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_the_same_answer_twice_is_not_two_answers(server, make, framing: str, body) -> None:
    """The rest ends as the answer itself does, so only the position of the end can tell."""

    def twice(talk: Conversation) -> None:
        headers, framed = send.frame(body, framing)
        talk.send((send.head(200, headers) + framed) * 2)
        talk.keep = True

    server.on("/x", twice, send.json({"a": 2}))
    transport = make()
    assert get(transport, server.url("/x")).json() == {"a": 1}
    assert get(transport, server.url("/x")).json() == {"a": 2}
    assert server.connections == 2


@pytest.mark.parametrize("split", [0, 1, 20, 70, 100])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_connection_is_used_again_however_the_answer_arrives(
    server, make, framing: str, split: int
) -> None:
    def script(talk: Conversation) -> None:
        headers, framed = send.frame(b'{"a":1}\n', framing)
        raw = send.head(200, headers) + framed
        talk.send(raw[:split])
        talk.pause(0.05)
        talk.send(raw[split:])
        talk.keep = True

    server.on("/x", script)
    transport = make()
    for _ in range(2):
        assert get(transport, server.url("/x")).json() == {"a": 1}
    assert server.connections == 1


@pytest.mark.parametrize("pause", ["after the head", "within the body", "no pause"])
def test_a_body_that_ends_with_its_connection(server, make, pause) -> None:
    body = bytes(range(256)) * 4000

    def script(talk: Conversation) -> None:
        at = {"after the head": 0, "within the body": 5000, "no pause": len(body)}[pause]
        talk.send(send.head(200, {"Connection": "close"}) + body[:at])
        talk.pause(0.2)
        talk.send(body[at:])

    server.on("/x", script, OK)
    transport = make()
    with transport.stream(server.url("/x"), accept="*/*") as stream:
        assert b"".join(stream.chunks()) == body
    assert get(transport, server.url("/x")).json() == {"ok": True}
    assert server.connections == 2


def test_an_answer_without_a_body_keeps_the_connection(server, make) -> None:
    """A 204 says no length, and nothing must be waited for."""

    def script(talk: Conversation) -> None:
        talk.send(send.head(204))
        talk.keep = True

    server.on("/x", script, OK)
    transport = make()
    assert get(transport, server.url("/x")).body == b""
    assert get(transport, server.url("/x")).json() == {"ok": True}
    assert server.connections == 1


# ------------------------------------------------------------------ TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def hospital(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """The hospital's own authority, known through SSL_CERT_FILE."""
    file = tmp_path / "hospital.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return authority


def serving(authority: trustme.CA, *names: str, **how) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **how).configure_cert(context)
    return context


@pytest.fixture
def tls(authority: trustme.CA) -> Iterator[FaultServer]:
    with FaultServer(tls=serving(authority, "127.0.0.1")) as server:
        server.on("/x", OK)
        yield server


def test_a_hospitals_own_authority_works(hospital, tls: FaultServer, make: Make) -> None:
    transport = make(origins=Origins(tls.base), tokens=FakeTokens("abc"))
    assert get(transport, tls.url("/x")).json() == {"ok": True}
    assert tls.requests[0].bearer == "abc"
    assert transport.notes == ()


def test_an_encrypted_connection_is_used_again(hospital, tls: FaultServer, make: Make) -> None:
    transport = make(origins=Origins(tls.base))
    for _ in range(3):
        get(transport, tls.url("/x"))
    assert tls.connections == 1


@pytest.mark.fault("A09")
def test_an_unknown_authority_is_refused(tls: FaultServer, make: Make, monkeypatch, clock) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with pytest.raises(errors.TrustError, match="certificate") as caught:
        get(make(origins=Origins(tls.base), tokens=FakeTokens("abc")), tls.url("/x"))
    assert "SSL_CERT_FILE" in str(caught.value)
    assert tls.requests == []
    assert clock.slept == []


@pytest.mark.fault("A09")
@pytest.mark.parametrize("kind", ["expired", "wrong host", "self-signed"])
def test_a_bad_certificate_is_refused_and_nothing_sent(hospital, make, kind: str) -> None:
    authority = trustme.CA() if kind == "self-signed" else hospital
    context = serving(
        authority,
        "other.example" if kind == "wrong host" else "127.0.0.1",
        not_before=PAST,
        not_after=PAST + datetime.timedelta(days=1) if kind == "expired" else None,
    )
    with FaultServer(tls=context) as server:
        server.on("*", OK)
        with pytest.raises(errors.TrustError, match="not valid"):
            get(make(origins=Origins(server.base), tokens=FakeTokens("abc")), server.url("/x"))
        assert server.requests == []


@pytest.mark.fault("A09")
def test_a_token_is_never_sent_without_encryption(make: Make) -> None:
    for url in ("http://holder.example/fhir", "http://8.8.8.8/token"):
        transport = make(origins=Origins("https://holder.example/fhir"), tokens=FakeTokens("abc"))
        with pytest.raises(errors.BlockedAddress, match="not encrypted"):
            get(transport, url)


class Plain(FaultServer):
    """Answers a TLS greeting as a web server without TLS does."""

    def talk(self, sock: socket.socket) -> None:
        sock.sendall(send.head(400))


def test_a_holder_that_speaks_no_tls(hospital, make: Make) -> None:
    with Plain() as server:
        base = f"https://127.0.0.1:{server.port}/"
        with pytest.raises(errors.HolderUnavailable):
            get(make(origins=Origins(base), waits=WaitPolicy(tries=1)), base)


def test_a_handshake_that_stalls(hospital, make: Make) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        base = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(errors.Stalled, match="handshake"):
            get(make(origins=Origins(base), limits=Limits(connect=0.3)), base)


def test_variables_that_name_nothing(monkeypatch, tmp_path: Path, tls, make: Make) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent.pem"))
    with pytest.raises(errors.TrustError, match="SSL_CERT_FILE"):
        get(make(origins=Origins(tls.base)), tls.url("/x"))


def test_a_folder_of_authorities(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert pool.tls_context().cert_store_stats()["x509_ca"] == 0


# ------------------------------------------------------------------ proxies


class Proxy(FaultServer):
    """Tunnels every CONNECT to one TLS server on loopback, whatever name was asked for."""

    def __init__(self, behind: FaultServer) -> None:
        super().__init__()
        self._behind = behind
        self.on("*", send.reply(403))
        self.refuse = False

    def talk(self, sock: socket.socket) -> None:
        with sock.makefile("rb", 0) as file:
            from tests.faultserver.server import _read

            seen = _read(file)
        assert seen is not None
        with self.lock:
            self.requests.append(seen)
        if self.refuse:
            Conversation(self, sock, seen).send(send.head(407, {"Content-Length": 0}))
            return
        sock.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        with socket.create_connection(("127.0.0.1", self._behind.port)) as far:
            pumps = [
                threading.Thread(target=pump, args=pair) for pair in ((sock, far), (far, sock))
            ]
            for each in pumps:
                each.start()
            for each in pumps:
                each.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass  # one side is gone; the other is told below
    finally:
        for sock in (source, sink):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # already closed


@pytest.fixture
def behind(hospital) -> Iterator[tuple[FaultServer, Proxy]]:
    context = serving(hospital, "holder.example")
    with FaultServer(tls=context) as holder, Proxy(holder) as proxy:
        holder.on("*", OK)
        yield holder, proxy


def proxied(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_the_environments_proxy_is_used(behind, monkeypatch, make: Make, server, canary) -> None:
    holder, proxy = behind
    address = proxy.origin.replace("http://", f"http://user:{canary.secret}@")
    proxied(monkeypatch, HTTPS_PROXY=address)
    transport = make(origins=Origins("https://holder.example/fhir"), tokens=FakeTokens("abc"))
    assert get(transport, "https://holder.example/fhir/x").json() == {"ok": True}
    assert proxy.requests[0].target == "holder.example:443"
    assert proxy.requests[0].bearer is None
    expected = base64.b64encode(f"user:{canary.secret}".encode()).decode()
    assert proxy.requests[0].header("Proxy-Authorization") == f"Basic {expected}"
    assert holder.requests[0].bearer == "abc"
    assert holder.requests[0].header("Proxy-Authorization") is None
    assert "could not be checked" in transport.notes[0]


def test_the_person_is_told_of_the_proxy_before_signing_in(behind, monkeypatch, tmp_path) -> None:
    holder, proxy = behind
    proxied(monkeypatch, HTTPS_PROXY=proxy.origin)
    doors = ("token", "authorization")
    found = {f"{door}_endpoint": f"https://holder.example/{door}" for door in doors}
    found |= {"code_challenge_methods_supported": ["S256"], "capabilities": ["launch-standalone"]}
    holder.on("/fhir/.well-known/smart-configuration", send.json(found))
    with Connection("https://holder.example/fhir", store=tmp_path / "store") as me:
        assert "could not be checked" in me.notes[-1]
        assert me.notes[-1] in ConnectPanel(me).picture["facts"]


def test_this_machine_is_never_behind_a_proxy(behind, monkeypatch, make: Make, server) -> None:
    proxied(monkeypatch, HTTP_PROXY=behind[1].origin, ALL_PROXY=behind[1].origin)
    server.on("/x", OK)
    assert get(make(), server.url("/x")).status == 200
    assert behind[1].requests == []


def test_no_proxy_is_obeyed(monkeypatch) -> None:
    place = parse("https://imaging.holder.example/x")
    proxied(monkeypatch, HTTPS_PROXY="proxy:3128")
    assert pool.proxy_for(place) == "http://proxy:3128"
    monkeypatch.setenv("NO_PROXY", "other.example,.holder.example")
    assert pool.proxy_for(place) is None
    proxied(monkeypatch)
    assert pool.proxy_for(place) is None


def test_a_proxy_that_refuses(behind, monkeypatch, make: Make) -> None:
    behind[1].refuse = True
    proxied(monkeypatch, HTTPS_PROXY=behind[1].origin)
    with pytest.raises(errors.HolderUnavailable, match="proxy refused"):
        get(make(origins=Origins("https://holder.example/")), "https://holder.example/")


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:1", "https://127.0.0.1:1", "http://"])
def test_proxies_of_another_kind(monkeypatch, make: Make, address: str) -> None:
    proxied(monkeypatch, HTTPS_PROXY=address)
    with pytest.raises(errors.HolderUnavailable, match="not supported"):
        get(make(origins=Origins("https://holder.example/")), "https://holder.example/")


def test_literal_addresses_are_checked_even_behind_a_proxy(behind, monkeypatch, make) -> None:
    proxied(monkeypatch, HTTPS_PROXY=behind[1].origin)
    origins = Origins("https://8.8.8.8/fhir", confirm=lambda _: True)
    with pytest.raises(errors.BlockedAddress):
        get(make(origins=origins), "https://169.254.169.254/latest")
    assert behind[1].connections == 0


# ------------------------------------------------------------------ small things


def test_closing_twice_is_fine() -> None:
    transport = PooledTransport(Origins("http://127.0.0.1:1/"))
    transport.close()
    transport.close()
    assert not transport.proxied


def test_watches_nest() -> None:
    outer, inner = Monitor(), Monitor()
    with outer:
        with inner:
            assert Monitor.current() is inner
        assert Monitor.current() is outer
    assert Monitor.current() is None


def test_broken_says_whether_to_try_again() -> None:
    assert ConnectionBroken("x").temporary
    assert not ConnectionBroken("x", temporary=False).temporary
