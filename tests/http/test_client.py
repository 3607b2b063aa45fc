"""The transport against a holder that sends what it should not, on real sockets."""

from __future__ import annotations

import _thread
import copy
import json
import logging
import pickle
import socket
import threading
import time
import traceback
from collections.abc import Iterator

import pytest

from s4s_notebook import errors
from s4s_notebook.http.backend import Limits
from s4s_notebook.http.client import Exchange
from s4s_notebook.http.origins import Origins
from tests.faultserver import Conversation, FaultServer, Sink
from tests.faultserver import scripts as send
from tests.faultserver.fixtures import FakeTokens, Make

JSON = "application/json"
OK = send.json({"ok": True})


def get(transport, url: str, **how):
    return transport.request("GET", url, accept=JSON, **how)


def test_a_request_says_what_it_wants(server: FaultServer, make: Make) -> None:
    server.on("/x", send.json({"a": [1, 2.5, "ü"]}, X_Thing="1"))
    history: list[Exchange] = []
    transport = make(tokens=FakeTokens("abc"), on_exchange=history.append)
    reply = get(transport, server.url("/x?a=1"), params=[("p", "a b&c+d"), ("p", "2")])
    seen = server.requests[0]
    assert seen.target == "/x?a=1&p=a%20b%26c%2Bd&p=2"
    assert seen.header("Accept") == JSON
    assert seen.header("Host") == f"127.0.0.1:{server.port}"
    assert seen.header("User-Agent").startswith("s4s-notebook/")
    assert seen.bearer == "abc"
    assert reply.json() == {"a": [1, 2.5, "ü"]}
    assert reply.headers["x-thing"] == "1"
    assert reply.checked() is reply
    assert reply.url == server.url("/x?a=1&p=a%20b%26c%2Bd&p=2")
    assert "a%20b" not in repr(reply)
    assert history[0].url == server.url("/x?a=***&p=***&p=***")
    assert (history[0].method, history[0].status) == ("GET", 200)


@pytest.mark.fault("B03")
@pytest.mark.parametrize(
    "target",
    [
        "/fhir?_getpages=" + "x" * 8192,
        "/fhir?q=%2B+%7e~&q=a,b|c&r=gt2016-04-16T00:00:00%2B00:00",
        "/fhir/$wado-rs/a%2Fb/{c}[d]'e'(f);g=1?#",
        "/fhir//double?x=//y",
        "/fhir/../up/./x",
    ],
)
def test_an_address_is_asked_for_unchanged(server, make: Make, target: str) -> None:
    server.on("*", OK)
    get(make(), server.url(target))
    assert server.requests[0].target == target.partition("#")[0]


def test_forms_and_json_and_basic(server: FaultServer, make: Make) -> None:
    server.on("/x", OK)
    transport = make(tokens=FakeTokens("abc"))
    transport.request(
        "POST", server.url("/x"), accept=JSON, form={"a": "b c&d", "code": "ü"}, basic=("id", "s:x")
    )
    transport.request("POST", server.url("/x"), accept=JSON, json={"a": ["ü"]}, token=False)
    form, body = server.requests
    assert form.body == b"a=b+c%26d&code=%C3%BC"
    assert form.header("Content-Type") == "application/x-www-form-urlencoded"
    assert form.header("Authorization") == "Basic aWQ6czp4"
    assert json.loads(body.body) == {"a": ["ü"]}
    assert body.header("Content-Type") == JSON
    assert body.header("Authorization") is None


def test_the_holders_clock_is_told(server: FaultServer, make: Make) -> None:
    server.on("/x", send.json({}, Date="Sun, 06 Nov 1994 08:49:37 GMT"), OK)
    assert get(make(), server.url("/x")).date == 784111777.0
    assert get(make(), server.url("/x")).date is None


def drain(transport, url: str, **how) -> int:
    with transport.stream(url, accept="a/b", **how) as stream:
        return sum(len(chunk) for chunk in stream.chunks())


# ------------------------------------------------------------------ who sees the token


@pytest.mark.fault("B01", "B12")
def test_nothing_goes_to_an_origin_without_consent(server, sink: Sink, make: Make, canary) -> None:
    transport = make(tokens=FakeTokens(canary.token))
    for address in (sink.origin + "/fhir?page=2", f"http://localhost:{server.port}/fhir"):
        with pytest.raises(errors.UntrustedOrigin) as caught:
            get(transport, address)
        assert caught.value.request.status is None
    assert server.connections == 0


@pytest.mark.fault("B12")
def test_the_token_goes_to_consented_origins_only(server: FaultServer, make: Make) -> None:
    with FaultServer() as imaging, FaultServer() as login:
        imaging.on("/x", OK)
        login.on("/x", OK)
        origins = Origins(server.base, allow_origins=[imaging.origin])
        origins.allow(login.origin, tokens=False)
        transport = make(origins=origins, tokens=FakeTokens("abc"))
        get(transport, imaging.url("/x"))
        get(transport, imaging.url("/x"), token=False)
        get(transport, login.url("/x"))
        assert [seen.bearer for seen in imaging.requests] == ["abc", None]
        assert [seen.bearer for seen in login.requests] == [None]


@pytest.mark.fault("B12")
def test_an_interactive_consent_is_enough(server: FaultServer, make: Make) -> None:
    with FaultServer() as imaging:
        imaging.on("/x", OK)
        origins = Origins(server.base, confirm=lambda place: place == imaging.origin)
        get(make(origins=origins, tokens=FakeTokens("abc")), imaging.url("/x"))
        assert imaging.requests[0].bearer == "abc"


@pytest.mark.fault("A13")
def test_401_means_one_refresh_and_one_retry(server: FaultServer, make: Make) -> None:
    server.on("/x", send.reply(401))
    tokens = FakeTokens("one", "two", "three")
    reply = get(make(tokens=tokens), server.url("/x"))
    assert reply.status == 401
    assert tokens.rejected == ["one"]
    assert [seen.bearer for seen in server.requests] == ["one", "two"]
    with pytest.raises(errors.ReauthorizationRequired):
        reply.checked()


@pytest.mark.fault("A13")
def test_401_from_where_no_token_went_refreshes_nothing(server: FaultServer, make: Make) -> None:
    with FaultServer() as foreign:
        foreign.on("/x", send.reply(401))
        tokens = FakeTokens("one", "two")
        origins = Origins(server.base)
        origins.allow(foreign.origin, tokens=False)
        transport = make(origins=origins, tokens=tokens)
        with pytest.raises(errors.AuthorizationRequired):
            get(transport, foreign.url("/x")).checked()
        server.on("/x", send.redirect(foreign.url("/x")))
        assert get(transport, server.url("/x")).status == 401
        assert tokens.rejected == []
        assert len(foreign.requests) == 2


def test_without_tokens_401_asks_to_sign_in(server: FaultServer, make: Make) -> None:
    server.on("/x", send.reply(401))
    with pytest.raises(errors.AuthorizationRequired):
        get(make(), server.url("/x")).checked()


@pytest.mark.fault("A10")
@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a b", "ä", "", "a\x00"])
def test_a_token_that_no_header_may_hold_is_never_sent(server, make, token: str) -> None:
    with pytest.raises(errors.ReauthorizationRequired):
        get(make(tokens=FakeTokens(token)), server.url("/x"))
    assert server.requests == []


# ------------------------------------------------------------------ redirects


@pytest.mark.fault("A08", "B06")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["same", "foreign"])
def test_a_call_with_secrets_is_never_redirected(
    server, sink: Sink, make: Make, canary, status: int, where: str
) -> None:
    target = server.url("/elsewhere") if where == "same" else sink.origin
    server.on("/token", send.redirect(target, status))
    for follow in (True, False):
        reply = make().request(
            "POST",
            server.url("/token"),
            accept=JSON,
            form={"code": canary.code},
            basic=("id", canary.secret),
            follow=follow,
        )
        assert reply.status == status
        with pytest.raises(errors.HTTPStatusError, match="not followed"):
            reply.checked()
    assert server.at("/elsewhere") == []


@pytest.mark.fault("B06")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_five_redirects_at_home_are_followed(server, make, status: int) -> None:
    for number in range(5):
        server.on(f"/{number}", send.redirect(f"/{number + 1}?q=%2B", status))
    server.on("/5", OK)
    reply = get(make(tokens=FakeTokens("abc")), server.url("/0"))
    assert reply.json() == {"ok": True}
    assert reply.url == server.url("/5?q=%2B")
    assert {seen.bearer for seen in server.requests} == {"abc"}
    assert get(make(), server.url("/0"), follow=False).status == status


@pytest.mark.fault("B06")
def test_redirects_that_never_end(server: FaultServer, make: Make) -> None:
    server.on("/x", send.redirect("/x"))
    with pytest.raises(errors.MalformedResponse, match="never end"):
        get(make(), server.url("/x"))
    assert len(server.requests) == 6


@pytest.mark.fault("B06", "B01")
@pytest.mark.parametrize(
    "form", ["{}", "//127.0.0.1:{port}/x", "http://127.0.0.1@127.0.0.1:{port}/"]
)
def test_a_redirect_to_another_origin_is_refused(server, sink, make, form: str) -> None:
    server.on("/x", send.redirect(form.format(sink.origin, port=sink.port)))
    with pytest.raises(errors.UntrustedOrigin):
        get(make(tokens=FakeTokens("abc")), server.url("/x"))


@pytest.mark.parametrize("headers", [[], [("Location", "/a"), ("Location", "/b")]])
def test_a_redirect_that_does_not_say_where(server, make, headers) -> None:
    server.on("/x", send.head(302, [*headers, ("Content-Length", "0")]))
    with pytest.raises(errors.MalformedResponse):
        get(make(), server.url("/x"))


@pytest.mark.fault("D11")
def test_a_consented_redirect_carries_no_token(server: FaultServer, make: Make) -> None:
    with FaultServer() as bucket:
        server.on("/studies/1.2", send.redirect(bucket.url("/signed?sig=abc"), 307))
        server.on("/back", send.reply(200, b"back"))
        bucket.on("/signed", send.reply(200, b"bytes"), send.redirect(server.url("/back")))
        origins = Origins(server.base, allow_origins=[bucket.origin])
        transport = make(origins=origins, tokens=FakeTokens("abc"))
        for expected in (b"bytes", b"back"):
            with transport.stream(server.url("/studies/1.2"), accept="a/b") as stream:
                assert b"".join(stream.chunks()) == expected
        assert [seen.header("Authorization") for seen in bucket.requests] == [None, None]
        assert server.at("/back")[0].header("Authorization") is None
        assert server.at("/studies/1.2")[0].bearer == "abc"


@pytest.mark.fault("D11")
def test_an_unconsented_redirect_of_a_study_is_refused(server, sink, make) -> None:
    server.on("/studies/1.2", send.redirect(f"{sink.origin}/signed?sig=abc"))
    with (
        pytest.raises(errors.UntrustedOrigin) as caught,
        make(tokens=FakeTokens("abc")).stream(server.url("/studies/1.2"), accept="a/b"),
    ):
        pass
    assert "abc" not in str(caught.value)


# ------------------------------------------------------------------ broken HTTP


BROKEN = {
    "CL and TE": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\n{}\r\n0\r\n\r\n",
    "two CL": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "CL list": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\n{} ",
    "CL +2": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n{}",
    "CL huge": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n{}",
    "TE gzip": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "200 KB of headers": b"HTTP/1.1 200 OK\r\n" + b"X: yyyyyyyyyyyy\r\n" * 12_500 + b"\r\n{}",
    "one long header": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n{}",
    "NUL in a header": b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n{}",
    "no HTTP": b"SSH-2.0-OpenSSH_9\r\n\r\n",
    "endless 1xx": b"HTTP/1.1 102 Processing\r\n\r\n" * 20_000,
    "endless 1xx with headers": (b"HTTP/1.1 103 Hint\r\nLink: </x>\r\n\r\n") * 10_000,
    "odd status": b"HTTP/1.1 2000 OK\r\n\r\n{}",
}  # fmt: skip


@pytest.mark.fault("D19")
@pytest.mark.parametrize("kind", BROKEN)
def test_broken_http_is_a_typed_error_and_no_retry(server, make, kind: str) -> None:
    server.on("/x", BROKEN[kind])
    for call in (get, drain):
        with pytest.raises(errors.MalformedResponse) as caught:
            call(make(), server.url("/x"))
        assert caught.value.request is not None
    assert len(server.requests) == 2


@pytest.mark.fault("D19")
def test_1xx_for_ever_ends(server: FaultServer, make: Make) -> None:
    server.on("/x", send.drip(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 100, 0.01))
    with pytest.raises(errors.MalformedResponse, match="never end"):
        get(make(limits=Limits(head=20_000)), server.url("/x"))
    with pytest.raises(errors.Stalled, match="gave no answer"):
        get(make(limits=Limits(answer=0.5, head=1 << 30)), server.url("/x"))


def test_a_few_informational_answers_are_fine(server: FaultServer, make: Make) -> None:
    server.on(
        "/x", b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert get(make(), server.url("/x")).json() == {}


# ------------------------------------------------------------------ slow holders


@pytest.mark.fault("D15")
def test_silence_in_a_body_ends(server: FaultServer, make: Make) -> None:
    server.on("/x", send.stall(send.head(200, {"Content-Length": 100}) + b"ab"))
    with pytest.raises(errors.Stalled, match="sent nothing") as caught:
        get(make(limits=Limits(stall=0.5)), server.url("/x"))
    assert caught.value.request.status is None or caught.value.request.status == 200


@pytest.mark.fault("D15")
def test_a_drip_in_a_body_ends(server: FaultServer, make: Make) -> None:
    server.on("/x", send.drip(send.head(200, {"Content-Length": 10_000}), b"x", 0.05))
    limits = Limits(floor=512, window=0.6, stall=30)
    started = time.monotonic()
    with (
        pytest.raises(errors.Stalled, match="bytes arrived in"),
        make(limits=limits).stream(server.url("/x"), accept="a/b") as stream,
    ):
        for _ in stream.chunks():
            pass
    assert time.monotonic() - started < 5


def test_a_slow_reader_is_not_blamed_on_the_holder(server: FaultServer, make: Make) -> None:
    body = b"x" * 3_000_000
    server.on("/x", send.reply(200, body))
    limits = Limits(floor=10_000_000, window=0.5)
    with make(limits=limits).stream(server.url("/x"), accept="a/b") as stream:
        got = 0
        for chunk in stream.chunks():
            got += len(chunk)
            time.sleep(0.02)
    assert got == len(body)


def test_steady_bytes_above_the_floor_are_fine(server: FaultServer, make: Make) -> None:
    def steady(talk: Conversation) -> None:
        talk.send(send.head(200, {"Content-Length": 20_000}))
        for _ in range(20):
            talk.pause(0.03)
            talk.send(b"x" * 1000)

    server.on("/x", steady)
    with make(limits=Limits(window=0.1, floor=1000)).stream(
        server.url("/x"), accept="a/b"
    ) as stream:
        assert sum(len(chunk) for chunk in stream.chunks()) == 20_000


class Deaf(FaultServer):
    """Takes a connection and reads nothing from it; then closes or stays."""

    def __init__(self, *, stays: bool) -> None:
        super().__init__()
        self._stays = stays

    def talk(self, sock: socket.socket) -> None:
        if self._stays:
            self.stopping.wait(30)


def test_a_holder_that_takes_nothing(make: Make) -> None:
    with Deaf(stays=True) as deaf:
        transport = make(origins=Origins(deaf.base), limits=Limits(stall=0.3))
        with pytest.raises(errors.Stalled, match="took nothing"):
            transport.request("POST", deaf.url("/x"), accept=JSON, json="x" * 30_000_000)


def test_a_holder_that_closes_while_it_is_spoken_to(make: Make) -> None:
    with Deaf(stays=False) as deaf:
        transport = make(origins=Origins(deaf.base))
        for _ in range(5):
            with pytest.raises(errors.HolderUnavailable):
                transport.request(
                    "POST", deaf.url("/x"), accept=JSON, json="x" * 9_000_000, wait=False
                )


# ------------------------------------------------------------------ nothing is told


@pytest.mark.fault("G05")
def test_no_log_holds_a_secret_at_any_level(server, make, canary, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpcore.connection", "httpcore.http11", "httpx"):
        caplog.set_level(logging.DEBUG, logger=name)
    server.on(
        "/x",
        send.redirect(f"/y?code={canary.code}"),
        send.json({}, Set_Cookie=f"s={canary.token}"),
    )
    server.on("/y", send.json({}, Set_Cookie=f"s={canary.token}"))
    transport = make(tokens=FakeTokens(canary.token))
    get(transport, server.url(f"/x?patient={canary.name}"))
    with pytest.raises(errors.UntrustedOrigin):
        get(transport, f"https://holder.example/?code={canary.code}")
    assert "cAnArY" not in caplog.text


@pytest.mark.fault("G04")
def test_no_error_and_no_verbose_traceback_holds_a_secret(server, make, canary) -> None:
    said = json.dumps({"error": "x", "error_description": f"bad token {canary.token}"}).encode()
    server.on("/said", send.reply(403, said))
    server.on("/cut", send.cut(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na", 99))
    server.on("/odd", BROKEN["bad chunk"])
    transport = make(tokens=FakeTokens(canary.token))
    calls = [
        lambda: get(transport, server.url("/said")).checked(),
        lambda: get(transport, server.url("/cut"), wait=False),
        lambda: get(transport, server.url("/odd")),
        lambda: transport.request(
            "POST", server.url("/odd"), accept=JSON, basic=("i", canary.secret), wait=False
        ),
    ]
    for call in calls:
        with pytest.raises(errors.S4SError) as caught:
            call()
        found = [name for name, text in inner_frames(caught.value) if "cAnArY" in text]
        assert not found, f"a secret is a local of {found}"
        assert "cAnArY" not in str(caught.value) + repr(vars(caught.value))


@pytest.mark.fault("G04", "G06")
def test_an_interrupted_call_shows_no_secret(server: FaultServer, make: Make, canary) -> None:
    server.on("/x", send.stall())
    transport = make(tokens=FakeTokens(canary.token))
    timer = threading.Timer(0.3, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt) as caught:
        get(transport, server.url("/x"))
    timer.join()
    assert not [name for name, text in inner_frames(caught.value) if "cAnArY" in text]


def inner_frames(error: BaseException) -> Iterator[tuple[str, str]]:
    """Every frame of ours and below that a verbose traceback would print, with its locals."""
    seen: BaseException | None = error
    while seen is not None:
        for frame, _ in traceback.walk_tb(seen.__traceback__):
            if "tests/http" not in frame.f_code.co_filename:
                shown = " ".join(f"{name}={value!r}" for name, value in frame.f_locals.items())
                yield frame.f_code.co_qualname, shown
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def test_replies_survive_being_shown_and_copied(server, make, canary) -> None:
    server.on("/x", OK)
    reply = get(make(tokens=FakeTokens(canary.token)), server.url("/x"))
    assert canary.token not in repr(vars(reply))
    assert copy.copy(reply).status == 200
    assert canary.token.encode() not in pickle.dumps(vars(reply)["_bearer"])
