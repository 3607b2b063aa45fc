"""One refresh for many threads and processes; rotation, loss, death; a fixed token."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from s4s_notebook import errors
from s4s_notebook.http.redact import Secret
from s4s_notebook.http.retry import WaitPolicy
from s4s_notebook.smart.discovery import Holder, read_configuration
from s4s_notebook.smart.token_endpoint import Client, Grant
from s4s_notebook.smart.tokens import FixedToken, Tokens, from_record, to_record
from s4s_notebook.task import Cancel
from tests.faultserver import FakeClock
from tests.faultserver.holder import Answer, configuration, holder, transport_to
from tests.smart.rotating import FileTokenStore, Rotating

BACK = "http://127.0.0.1:9999/callback"


@pytest.fixture
def server():
    with holder() as server:
        yield server


@pytest.fixture
def at(server) -> Holder:
    return read_configuration(configuration(server.origin), server.base)


@pytest.fixture
def rotating(server, canary) -> Rotating:
    return Rotating(server, canary.token)


@pytest.fixture
def client(canary) -> Client:
    return Client("app", canary.secret, BACK)


@pytest.fixture
def transport(server):
    with transport_to(server.base, clock=FakeClock()) as transport:
        yield transport


def grant_of(rotating: Rotating, **changes) -> Grant:
    grant = Grant(Secret(rotating.access), Secret(rotating.refresh), None, "s", "p", None)
    return replace(grant, **changes)


@pytest.fixture
def tokens(transport, at, client, rotating) -> Tokens:
    transport.tokens = Tokens(transport, at, client, grant_of(rotating))
    return transport.tokens


@pytest.fixture
def token_store(tmp_path, canary) -> FileTokenStore:
    token_store = FileTokenStore(tmp_path / "kept.json")
    canary.allow(token_store.path)
    canary.allow(token_store.path.with_suffix(".new"))
    return token_store


def ask(transport, server):
    return transport.request("GET", f"{server.base}/Patient/p", accept="*/*").checked()


# ------------------------------------------------------------------ due, rejected


def test_a_good_token_is_sent_as_it_is(transport, server, tokens, rotating):
    ask(transport, server)
    assert [each.path for each in server.asked] == ["/fhir/Patient/p"]
    assert server.asked[0].headers["authorization"] == f"Bearer {rotating.access}"


@pytest.mark.parametrize(
    ("lifetime", "before_end", "renewed"),
    [(3600, 61, False), (3600, 59, True), (10, 2, False), (10, 0.9, True), (None, 59, True)],
)
def test_renewed_shortly_before_the_end(
    transport, server, at, client, rotating, lifetime, before_end, renewed
):
    end = transport.clock.time() + before_end
    grant = grant_of(rotating, expires_at=end, lifetime=lifetime)
    transport.tokens = Tokens(transport, at, client, grant)
    ask(transport, server)
    assert server.count("/token") == renewed
    if renewed:
        assert transport.tokens.grant.expires_at == transport.clock.time() + 3600
        assert transport.tokens.grant.lifetime == 3600


@pytest.mark.fault("A13")
def test_a_rejected_token_is_renewed_once_and_the_call_made_again(
    transport, server, tokens, rotating
):
    rotating.number += 1  # the holder has moved on; the refresh token has not
    rotating.before = lambda asked: setattr(rotating, "number", rotating.number - 1)
    ask(transport, server)
    assert [each.path for each in server.asked] == ["/fhir/Patient/p", "/token", "/fhir/Patient/p"]
    form = server.asked[1].form
    assert form["grant_type"] == "refresh_token"
    assert "client_id" not in form
    assert server.asked[1].headers["authorization"].startswith("Basic ")


@pytest.mark.fault("A13")
def test_a_fresh_token_that_is_rejected_too_is_an_error(transport, server, tokens):
    server.on("/fhir/Patient/p", Answer({}, 401))
    with pytest.raises(errors.ReauthorizationRequired) as caught:
        ask(transport, server)
    assert caught.value.request.status == 401
    assert server.count("/fhir/Patient/p") == 2
    assert server.count("/token") == 1


@pytest.mark.fault("A13")
def test_401_of_another_origin_renews_nothing(transport, server, tokens):
    with holder() as foreign:
        foreign.on("/x", Answer({}, 401))
        transport.origins.allow(foreign.origin, tokens=False)
        with pytest.raises(errors.AuthorizationRequired):
            transport.request("GET", f"{foreign.origin}/x", accept="*/*").checked()
        assert "authorization" not in foreign.asked[0].headers
    assert server.count("/token") == 0


@pytest.mark.fault("A13")
def test_401_in_the_middle_of_a_study_renews_once(transport, server, tokens, rotating):
    def instance(asked):
        good = asked.headers.get("authorization") == f"Bearer {rotating.access}"
        return Answer(b"dicom") if good else Answer(b"", 401)

    server.on("/wado/1", instance)
    server.on("/wado/2", _rejecting_first(rotating, instance))
    for number in (1, 2):
        url = f"{server.origin}/wado/{number}"
        with transport.stream(url, accept="application/dicom") as stream:
            assert b"".join(stream.chunks()) == b"dicom"
    asked = [each.path for each in server.asked]
    assert asked == ["/wado/1", "/wado/2", "/token", "/wado/2"]


def test_a_public_client_renews_with_its_id(transport, server, at, rotating):
    tokens = Tokens(transport, at, Client("pub", None, BACK), grant_of(rotating))
    tokens.refresh(rotating.access)
    assert server.asked[0].form["client_id"] == "pub"


def test_what_is_not_sent_anew_stays(transport, server, at, client, rotating):
    server.on("/token", Answer({"access_token": "new", "token_type": "bearer"}))
    tokens = Tokens(transport, at, client, grant_of(rotating))
    tokens.refresh(rotating.access)
    assert tokens.bearer() == "new"
    assert tokens.grant.refresh_token == Secret(rotating.refresh)
    assert (tokens.grant.scope, tokens.grant.patient) == ("s", "p")


def test_without_a_keeper_nothing_is_kept(tokens, client):
    tokens.save()
    assert tokens.client == client


def test_no_refresh_token(transport, server, at, client, rotating):
    grant = grant_of(rotating, refresh_token=None, expires_at=0.0)
    transport.tokens = Tokens(transport, at, client, grant)
    ask(transport, server)  # past its end by our clock, but the holder decides
    rotating.number += 1
    with pytest.raises(errors.ReauthorizationRequired, match="gave none to renew"):
        ask(transport, server)
    assert server.count("/token") == 0


# ------------------------------------------------------------------ many at once


@pytest.mark.fault("A11")
@pytest.mark.parametrize("how", ["due", "rejected"])
def test_twenty_threads_renew_once(server, at, client, rotating, how):
    with transport_to(server.base) as transport, ThreadPoolExecutor(20) as pool:
        grant = grant_of(rotating, expires_at=1.0 if how == "due" else None)
        transport.tokens = Tokens(transport, at, client, grant)
        if how == "rejected":
            server.on("/fhir/Patient/p", _rejecting_first(rotating))
        start = threading.Barrier(20)

        def one(_):
            start.wait()
            return ask(transport, server).status

        assert list(pool.map(one, range(20))) == [200] * 20
    assert server.count("/token") == 1
    assert rotating.number == 1


def _rejecting_first(rotating, then=None):
    """The first token is good no longer, though its refresh token is."""

    def rule(asked):
        return Answer({}, 401) if rotating.number == 0 else (then or rotating.resource)(asked)

    return rule


def run_children(server, token_store, count: int, threads: int) -> list[str]:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "tests.smart.rotating", server.base, str(token_store.path)]
    children = [
        subprocess.Popen(
            [*command, str(threads), "together"],
            cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(count)
    ]  # fmt: skip
    assert [child.stdout.readline() for child in children] == ["ready\n"] * count
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    lines = []
    for child in children:
        out, _ = child.communicate(timeout=60)
        lines += out.split("\n")[:-1]
    return lines


@pytest.mark.fault("A11")
@pytest.mark.parametrize("how", ["due", "rejected"])
def test_two_processes_with_twenty_requests_renew_once(
    server, at, client, rotating, token_store, how
):
    grant = grant_of(rotating, expires_at=1.0 if how == "due" else None)
    token_store.save(to_record(at, client, grant))
    if how == "rejected":
        server.on("/fhir/Patient/p", _rejecting_first(rotating))
    assert run_children(server, token_store, 2, 10) == ["ok"] * 20
    assert server.count("/token") == 1
    assert token_store.load()["access_token"] == rotating.access


FAILING = {
    "used up": (Answer({"error": "invalid_grant", "description": "used"}, 400), 1),
    "down": (Answer(b"", hang_up=True), None),
    "busy": (Answer(b"", 503, {"Retry-After": "86400"}), 1),
}


@pytest.mark.fault("A11")
@pytest.mark.parametrize("way", FAILING)
@pytest.mark.parametrize("how", ["due", "rejected"])
def test_a_refresh_that_fails_is_sent_once_for_twenty_requests_in_two_processes(
    server, at, client, rotating, token_store, how, way
):
    answer, most = FAILING[way]
    grant = grant_of(rotating, expires_at=1.0 if how == "due" else None)
    token_store.save(to_record(at, client, grant))
    rotating.before = lambda _: answer
    if how == "rejected":
        server.on("/fhir/Patient/p", _rejecting_first(rotating))
    outcomes = run_children(server, token_store, 2, 10)
    expected = {"used up": "ReauthorizationRequired", "down": "HolderUnavailable"}
    if how == "due" and way != "used up":  # the token at hand is good for a while
        assert outcomes == ["ok"] * 20
    else:
        assert outcomes == [expected.get(way, "RetryAfterTooLong")] * 20
    if most is not None:
        assert server.count("/token") == most
    assert (token_store.load() is None) == (way == "used up"), "only an end is forgotten"


def test_the_new_tokens_are_saved_before_they_are_used(server, at, client, rotating, token_store):
    held = []

    def resource(asked):
        held.append((token_store.load()["access_token"], asked.headers["authorization"]))
        return rotating.resource(asked)

    server.on("/fhir/Patient/p", resource)
    with transport_to(server.base) as transport:
        grant = grant_of(rotating, expires_at=1.0)
        transport.tokens = Tokens(transport, at, client, grant, token_store=token_store)
        transport.tokens.save()
        ask(transport, server)
    assert held == [(rotating.access, f"Bearer {rotating.access}")]


def test_the_approval_of_another_patient_is_not_adopted(
    transport, server, at, client, rotating, token_store
):
    other = grant_of(rotating, access_token=Secret("other"), patient="q")
    token_store.save(to_record(at, client, other))
    tokens = Tokens(transport, at, client, grant_of(rotating), token_store=token_store)
    tokens.refresh(rotating.access)
    assert tokens.grant.patient == "p"
    assert tokens.bearer() == rotating.access


# ------------------------------------------------------------------ loss, death


@pytest.mark.fault("A12")
def test_invalid_grant_ends_it_without_a_loop(transport, server, tokens, rotating):
    rotating.number = 5  # whatever we hold is used up
    for _ in range(5):
        with pytest.raises(errors.ReauthorizationRequired, match="used up: invalid_grant"):
            ask(transport, server)
    assert server.count("/token") == 1
    assert server.count("/fhir/Patient/p") == 1


@pytest.mark.fault("A12")
@pytest.mark.parametrize("status", [400, 401, 403])
def test_the_holders_word_ends_it_whatever_the_status(server, tokens, rotating, status):
    assert repr(tokens) == f"<Tokens for {server.base}, good>"
    rotating.before = lambda asked: Answer({"error": "invalid_client"}, status)
    with pytest.raises(errors.ReauthorizationRequired, match="invalid_client"):
        tokens.refresh(rotating.access)
    assert repr(tokens) == f"<Tokens for {server.base}, over>"


@pytest.mark.fault("A12")
def test_a_lost_answer_is_asked_for_once_more_then_authorise_again(
    transport, server, tokens, rotating
):
    rotating.after = lambda asked: Answer(hang_up=True)
    for _ in range(3):
        with pytest.raises(errors.ReauthorizationRequired) as caught:
            tokens.refresh(rotating.canary + "-access-0")
    assert server.count("/token") == 2
    assert "Authorise again" in caught.value.hint


@pytest.mark.fault("A12")
def test_a_request_that_was_lost_before_it_counted_is_made_good(
    transport, server, tokens, rotating
):
    lost = iter([Answer(hang_up=True)])
    rotating.before = lambda asked: next(lost, None)
    tokens.refresh(rotating.access)
    assert server.count("/token") == 2
    assert tokens.bearer() == rotating.access


@pytest.mark.fault("A12")
def test_a_token_address_that_is_down_keeps_the_approval(transport, server, at, client, rotating):
    rotating.before = lambda asked: Answer(hang_up=True)
    grant = grant_of(rotating, expires_at=transport.clock.time() + 5)
    transport.tokens = Tokens(transport, at, client, grant)
    ask(transport, server)  # due, cannot be renewed, still good: sent
    assert server.count("/token") == 2
    ask(transport, server)  # and the token address is left alone for a while
    assert server.count("/token") == 2
    rotating.number += 1  # now it is rejected
    with pytest.raises(errors.HolderUnavailable):
        ask(transport, server)
    rotating.number -= 1
    rotating.before = lambda asked: None
    transport.clock.sleep(60)
    ask(transport, server)
    assert rotating.number == 1


@pytest.mark.fault("A12")
def test_an_answer_that_is_no_token_is_an_error_and_the_next_try_ends_it(
    transport, server, tokens, rotating
):
    rotating.after = lambda asked: Answer(b'{"access_token": "cut')
    with pytest.raises(errors.MalformedResponse):
        tokens.refresh(rotating.canary + "-access-0")
    with pytest.raises(errors.ReauthorizationRequired):
        tokens.refresh(rotating.canary + "-access-0")
    assert server.count("/token") == 2


def test_a_broken_sign_in_server_keeps_the_approval(transport, server, tokens, rotating):
    rotating.before = lambda asked: Answer(b"", 500)
    with pytest.raises(errors.HolderUnavailable):
        tokens.refresh(rotating.access)
    rotating.before = lambda asked: None
    tokens.refresh(rotating.access)
    assert rotating.number == 1


@pytest.mark.parametrize(("status", "body"), [(400, b"<html>"), (403, b""), (404, {"error": "x"})])
def test_a_refusal_that_is_not_oauths_ends_nothing(
    transport, server, tokens, rotating, status, body
):
    rotating.before = lambda asked: Answer(body, status)
    with pytest.raises(errors.TokenRefused):
        tokens.refresh(rotating.access)
    rotating.before = lambda asked: None
    tokens.refresh(rotating.access)
    assert rotating.number == 1


def test_a_renewal_for_another_patient_is_refused(transport, server, tokens, rotating):
    rotating.after = lambda asked: Answer(rotating.body() | {"patient": "q"})
    with pytest.raises(errors.MalformedResponse, match="another patient"):
        tokens.refresh(f"{rotating.canary}-access-0")
    assert tokens.grant.patient == "p"


@pytest.mark.parametrize("status", [301, 307])
def test_a_refresh_is_not_redirected(transport, server, tokens, rotating, status):
    rotating.before = lambda asked: Answer(b"", status, {"Location": f"{server.origin}/other"})
    with pytest.raises(errors.TokenRefused):
        tokens.refresh(rotating.access)
    assert server.count("/other") == 0


def test_a_busy_token_address_is_waited_out(transport, server, tokens, rotating):
    busy = iter([Answer(b"", 503, {"Retry-After": "300"}), Answer(b"", 429, {"Retry-After": "60"})])
    rotating.before = lambda asked: next(busy, None)
    began = transport.clock.monotonic()
    tokens.refresh(rotating.access)
    assert transport.clock.monotonic() - began >= 360
    assert rotating.number == 1


@pytest.mark.parametrize("status", [503, 429, 500, 408])
def test_a_busy_token_address_does_not_hold_up_a_token_that_may_be_good(
    transport, server, at, client, rotating, status
):
    rotating.before = lambda asked: Answer(b"", status, {"Retry-After": "300"})
    grant = grant_of(rotating, expires_at=transport.clock.time() - 5)
    transport.tokens = Tokens(transport, at, client, grant)
    began = transport.clock.monotonic()
    ask(transport, server)
    assert transport.clock.monotonic() == began


@pytest.mark.fault("C07")
@pytest.mark.parametrize("everywhere", [False, True])
def test_eight_hours_of_503_with_the_token_running_out(server, at, client, rotating, everywhere):
    clock = FakeClock()
    opens, good_until = clock.now + 8 * 3600, [clock.now + 3600]
    busy = Answer(b"", 503, {"Retry-After": "300"})

    def renewed(asked):
        good_until[0] = clock.now + 3600

    def resource(asked):
        if clock.now < opens:
            return busy
        return rotating.resource(asked) if clock.now < good_until[0] else Answer({}, 401)

    rotating.after = renewed
    rotating.before = lambda asked: busy if everywhere and clock.now < opens else None
    server.on("/fhir/Patient/p", resource)
    waits = WaitPolicy(budget=12 * 3600, jitter=0.0)
    with transport_to(server.base, clock=clock, waits=waits) as transport:
        grant = grant_of(rotating, expires_at=clock.now + 3600, lifetime=3600)
        transport.tokens = Tokens(transport, at, client, grant)
        ask(transport, server)
    assert clock.now >= opens
    assert server.count("/fhir/Patient/p") <= 8 * 12 + 3
    assert rotating.number == (1 if everywhere else 8)


def test_waiting_for_a_renewal_can_be_cancelled(server, at, client, rotating):
    rotating.before = lambda asked: Answer(b"", 503, {"Retry-After": "300"})
    cancel = Cancel()
    with transport_to(server.base) as transport:
        tokens = Tokens(transport, at, client, grant_of(rotating))
        threading.Timer(0.3, cancel.set).start()
        began = time.monotonic()
        transport.tokens = tokens
        server.on("/fhir/Patient/p", Answer({}, 401))
        with pytest.raises(errors.Cancelled):
            transport.request("GET", f"{server.base}/Patient/p", accept="*/*", cancel=cancel)
        assert time.monotonic() - began < 1.3
        # nor does it wait for another thread that is at it
        tokens._lock.acquire()
        with pytest.raises(errors.Cancelled):
            tokens.refresh(rotating.access, cancel=cancel)
        tokens._lock.release()


def test_a_renewal_waits_for_another_thread_that_is_at_it(server, tokens, rotating):
    tokens._lock.acquire()
    threading.Timer(0.5, tokens._lock.release).start()
    began = time.monotonic()
    tokens.refresh(rotating.access)
    assert time.monotonic() - began >= 0.4
    assert server.count("/token") == 1


def test_waiting_ends_with_the_budget(server, at, client, rotating):
    rotating.before = lambda asked: Answer(b"", 503, {"Retry-After": "300"})
    with transport_to(server.base, clock=FakeClock(), waits=WaitPolicy(budget=1000)) as transport:
        tokens = Tokens(transport, at, client, grant_of(rotating))
        with pytest.raises(errors.RetryAfterTooLong):
            tokens.refresh(rotating.access)
    assert server.count("/token") == 4


@pytest.mark.fault("A12")
def test_a_full_disk_is_an_error_but_the_new_tokens_are_held(
    transport, server, at, client, rotating, token_store, monkeypatch
):
    def full(record):
        raise errors.DiskProblem("The disk is full.")

    tokens = transport.tokens = Tokens(
        transport, at, client, grant_of(rotating), token_store=token_store
    )
    tokens.save()
    monkeypatch.setattr(token_store, "save", full)
    with pytest.raises(errors.DiskProblem):
        tokens.refresh(rotating.access)
    ask(transport, server)
    assert server.count("/token") == 1
    monkeypatch.undo()
    tokens.refresh(rotating.access)  # what the disk holds is older, so it is not taken over
    assert tokens.bearer() == rotating.access == token_store.load()["access_token"]


@pytest.mark.fault("A12")
def test_a_used_up_approval_is_forgotten_and_a_new_one_of_another_process_taken_over(
    transport, server, at, client, rotating, token_store
):
    tokens = Tokens(transport, at, client, grant_of(rotating), token_store=token_store)
    tokens.save()
    rotating.number = 5
    with pytest.raises(errors.ReauthorizationRequired):
        tokens.refresh(tokens.bearer())
    assert token_store.load() is None
    with pytest.raises(errors.ReauthorizationRequired):
        tokens.bearer()
    other = Client("registered anew", None, BACK)
    token_store.save(to_record(at, other, grant_of(rotating)))
    assert tokens.bearer() == rotating.access
    assert tokens.client == other
    assert server.count("/token") == 1


@pytest.mark.fault("A12")
def test_the_end_of_one_approval_leaves_that_of_another_patient(
    transport, server, at, client, rotating, token_store
):
    other = grant_of(rotating, access_token=Secret("other"), patient="q")
    tokens = Tokens(transport, at, client, grant_of(rotating), token_store=token_store)
    token_store.save(to_record(at, client, other))
    rotating.number = 5
    with pytest.raises(errors.ReauthorizationRequired):
        tokens.refresh(tokens.bearer())
    assert from_record(at, token_store.load()) == (client, other)


@pytest.mark.fault("A12")
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_while_the_holder_renews(server, at, client, rotating, token_store, moment):
    token_store.save(to_record(at, client, grant_of(rotating, expires_at=1.0)))
    children: list[subprocess.Popen] = []

    def kill(asked):
        os.kill(children[0].pid, signal.SIGKILL)
        children[0].wait(10)
        setattr(rotating, moment, lambda asked: None)
        return Answer(hang_up=True)

    setattr(rotating, moment, kill)
    root = Path(__file__).resolve().parents[2]
    command = [
        sys.executable,
        "-m",
        "tests.smart.rotating",
        server.base,
        str(token_store.path),
        "1",
    ]
    children.append(subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True))
    out, _ = children[0].communicate(timeout=30)
    assert (out, children[0].returncode) == ("", -signal.SIGKILL)
    # "before": the old token is still usable; "after": the new one is lost, the person is asked
    expected = {"before": ["ok"], "after": ["ReauthorizationRequired"]}[moment]
    assert run_children(server, token_store, 1, 1) == expected
    assert server.count("/token") == 2


@pytest.mark.fault("A12")
def test_killed_at_random_moments_around_the_rotation(server, at, client, rotating, token_store):
    random.seed(12)
    root = Path(__file__).resolve().parents[2]
    command = [
        sys.executable,
        "-m",
        "tests.smart.rotating",
        server.base,
        str(token_store.path),
        "3",
    ]
    ends = []
    for _ in range(5):
        token_store.save(to_record(at, client, grant_of(rotating, expires_at=1.0)))
        began = server.count("/token")
        child = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
        while server.count("/token") == began:
            time.sleep(0.001)
        time.sleep(random.random() * 0.02)
        child.kill()
        child.communicate(timeout=10)
        ends += run_children(server, token_store, 1, 1)
        assert server.count("/token") - began <= 2
    assert len(ends) == 5
    assert set(ends) <= {"ok", "ReauthorizationRequired"}


# ------------------------------------------------------------------ what is kept


def test_a_record_gives_back_what_went_in(at, client, rotating):
    grant = grant_of(rotating, expires_at=5.0, lifetime=3600.0)
    again = from_record(at, json.loads(json.dumps(to_record(at, client, grant))))
    assert again == (client, grant)
    public = Client("pub", None, BACK)
    bare = grant_of(rotating, refresh_token=None, patient=None)
    assert from_record(at, to_record(at, public, bare)) == (public, bare)


@pytest.mark.fault("A12")
@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": None},
        {"access_token": "a\r\nb"},
        {"access_token": 5},
        {"client_id": None},
        {"scope": 1},
        {"refresh_token": ["x"]},
        {"expires_at": "soon"},
        {"base": "https://other.example/fhir"},
        {"token_endpoint": "https://other.example/token"},
    ],
)
def test_a_torn_or_foreign_record_counts_as_none(at, client, rotating, changes):
    assert from_record(at, to_record(at, client, grant_of(rotating)) | changes) is None


@pytest.mark.fault("A12")
@pytest.mark.parametrize("record", [None, {}, [], "x"])
def test_no_record(at, record):
    assert from_record(at, record) is None


@pytest.mark.fault("A12")
@pytest.mark.parametrize("text", ["", "{", '{"base": "x"', "[]", "null", "\x00" * 100])
def test_a_torn_file_does_not_stop_a_renewal(
    transport, server, at, client, rotating, token_store, text
):
    tokens = Tokens(transport, at, client, grant_of(rotating), token_store=token_store)
    token_store.path.write_text(text)
    tokens.refresh(rotating.access)
    assert tokens.bearer() == rotating.access == token_store.load()["access_token"]


# ------------------------------------------------------------------ a token that one already has


def test_a_fixed_token(transport, server, rotating, canary):
    transport.tokens = FixedToken(f" {rotating.access}\n")
    assert rotating.access not in f"{transport.tokens!r} {vars(transport.tokens)}"
    ask(transport, server)
    rotating.number += 1
    with pytest.raises(errors.ReauthorizationRequired, match="the token that was passed"):
        ask(transport, server)
    assert server.count("/token") == 0


@pytest.mark.fault("A10")
@pytest.mark.parametrize("token", ["", "a b", "Bearer abc", "a\r\nX: y", "ä", "x" * 20_000])
def test_text_that_is_no_token(token):
    with pytest.raises(errors.TokenRefused):
        FixedToken(token)


@pytest.mark.fault("G04")
@pytest.mark.parametrize("answer", [Answer(hang_up=True), Answer({"error": "x"}, 400), Answer(b"")])
def test_a_verbose_traceback_of_a_renewal_shows_no_secret(
    transport, server, tokens, rotating, canary, answer
):
    server.on("/token", answer)
    try:
        tokens.refresh(rotating.access)
    except errors.S4SError as error:
        below = error.with_traceback(error.__traceback__.tb_next.tb_next)
        told = traceback.TracebackException.from_exception(below, capture_locals=True)
    text = "".join(told.format())
    assert rotating.refresh not in text
    assert canary.secret not in text
    assert rotating.access not in f"{text} {tokens!r} {vars(tokens)}"
