"""Signing in through a Connection: who is asked, what is waited for, what is remembered."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from s4s_notebook.connection import Connection, ConnectOptions
from s4s_notebook.errors import (
    AccessDenied,
    AuthorizationError,
    AuthorizationRequired,
    DiscoveryError,
    HolderUnavailable,
    LoginExpired,
    ReauthorizationRequired,
    S4SError,
    StateMismatch,
    UntrustedOrigin,
)
from tests.faultserver import scripts

from .conftest import quick
from .holder import Holder, state_of
from .test_load import until

HERE = Path(__file__).resolve().parents[2]


@pytest.fixture
def locked(holder, canary):
    """A holder that wants a sign-in."""
    holder.token = canary.token
    return holder


def reply_to(url, **more):
    query = "&".join(f"{name}={value}" for name, value in {"state": state_of(url), **more}.items())
    return f"http://127.0.0.1/s4s/callback?{query}"


def sign_in(me):
    return me.finish(reply_to(me.authorize_url(), code="code-1"))


def test_sign_in_and_read(locked, connect):
    me = connect(patient=None)
    assert (me.status, me.patient_id, me.holder.authorize is not None) == (
        "not authorised",
        None,
        True,
    )
    statuses = []
    me.session.on_status(statuses.append)
    url = me.authorize_url("https://hub.example/s4s/callback")
    assert "hub.example" in url
    assert me.session.login.state_hash
    assert me.finish(reply_to(url, code="code-1")) is me
    assert statuses == ["waiting for approval", "approved"]
    assert me.patient_id == "p1"
    assert len(me.benefits()) == 7


def test_without_a_panel_the_call_says_which_page_to_open(locked, connect):
    me = connect(patient=None)
    with pytest.raises(AuthorizationRequired) as caught:
        me.studies()
    page = next(word for word in str(caught.value).split() if word.startswith("http://127"))
    me.finish(reply_to(page, code="code-1"))
    assert len(me.studies()) == 1


def test_with_a_panel_the_call_waits_for_the_approval(locked, connect):
    shown = []
    me = connect(patient=None, display=shown.append)
    me.session.on_status(lambda status: None)

    def approve():
        until(lambda: shown and "Authorise" in shown[0].state.message)
        sign_in(me)

    thread = threading.Thread(target=approve)
    thread.start()
    assert len(me.studies()) == 1
    thread.join()


def test_a_declined_request_ends_the_waiting_and_can_be_made_again(locked, connect):
    me = connect(patient=None)
    me.session.on_status(lambda status: None)
    url = me.authorize_url()
    work = me.load()
    with pytest.raises(AccessDenied):
        me.finish(reply_to(url, error="access_denied"))
    with pytest.raises(AccessDenied):
        work.result(10)
    assert me.status == "declined"
    sign_in(me)
    assert len(me.studies()) == 1


@pytest.mark.fault("A03")
def test_a_reply_that_comes_after_the_kernel_restarted_has_expired(locked, connect):
    url = connect(patient=None).authorize_url()
    fresh = connect(patient=None)
    with pytest.raises(LoginExpired) as caught:
        fresh.finish(reply_to(url, code="code-1"))
    assert "new sign-in" in str(caught.value)
    fresh.authorize_url()
    with pytest.raises(StateMismatch):
        fresh.finish(reply_to(url, code="code-1"))
    assert "/token" not in [path for _, path, _ in locked.requests]


@pytest.fixture
def images(locked):
    """Another origin, which the holder's discovery names as the place of its images."""
    with Holder() as elsewhere:
        elsewhere.token, elsewhere.tokens = locked.token, locked.tokens
        locked.images_at = elsewhere.fhir
        yield elsewhere


@pytest.mark.fault("B12")
def test_an_origin_that_discovery_names_sees_no_token_before_consent(
    locked, images, connect, canary
):
    me = connect(access_token=canary.token)
    with pytest.raises(UntrustedOrigin):
        me.studies()
    assert me.holder.imaging_base == images.fhir
    assert images.requests == []
    asked = []
    me = connect(access_token=canary.token, ask=lambda origin: asked.append(origin) or True)
    locked.tokens.add(canary.token)
    assert len(me.studies()) == 1
    assert asked == [images.root]


@pytest.mark.fault("B12")
def test_authorise_consents_to_the_origin_that_was_shown_beside_it(locked, images, connect):
    me = connect(patient=None)
    assert me.holder.imaging_origins == (images.root,)
    assert not me.session.origins.is_trusted(images.fhir)
    me.session.on_status(lambda status: None)  # as a panel does, which shows the origin
    sign_in(me)
    assert len(me.studies()) == 1
    assert len(images.asked("ImagingStudy")) == 1


def test_a_reply_to_no_sign_in_is_refused(locked, connect):
    me = connect(patient=None)
    url = me.authorize_url()
    with pytest.raises(StateMismatch):
        me.finish("http://127.0.0.1/s4s/callback?code=1&state=wrong")
    me.finish(reply_to(url, code="code-1"))
    with pytest.raises(StateMismatch):
        me.finish(reply_to(url, code="code-1"))
    assert len([path for _, path, _ in locked.requests if path == "/token"]) == 1


def test_two_pages_may_be_open_and_either_may_answer(locked, connect):
    me = connect(patient=None)
    first, second = (
        me.authorize_url("http://127.0.0.1:1/a"),
        me.authorize_url("http://127.0.0.1:2/b"),
    )
    me.finish(reply_to(first, code="code-1"))
    assert me.status == "approved"
    assert first != second


class Late:
    """A clock that runs on command."""

    now = 1_000_000.0

    def time(self):
        return self.now

    monotonic = time

    def sleep(self, seconds):
        self.now += seconds


def test_nobody_approved_in_time(locked, connect):
    clock = Late()
    me = connect(patient=None, clock=clock)
    me.session.on_status(lambda status: None)
    me.authorize_url()
    work = me.load()
    clock.now += 3600
    with pytest.raises(LoginExpired):
        work.result(10)
    assert me.status == "expired"


def test_waiting_for_approval_can_time_out(locked, connect):
    me = connect(patient=None)
    with pytest.raises(TimeoutError):
        me.wait_authorized(timeout=0.1)
    sign_in(me)
    me.wait_authorized(timeout=0.1)


def test_a_token_that_one_has(locked, connect, canary):
    locked.tokens.add(canary.token)
    me = connect(access_token=canary.token)
    assert me.status == "approved"
    assert len(me.studies()) == 1
    locked.tokens.clear()
    with pytest.raises(ReauthorizationRequired):
        me.benefits()
    assert len(me.studies()) == 1, "what came stays"
    assert canary.token not in repr(me) + repr(vars(me)) + repr(vars(me.session))


def test_addresses_that_lead_nowhere(holder, connect):
    with pytest.raises(DiscoveryError):
        connect(patient=None)  # an open holder offers no sign-in
    with pytest.raises(DiscoveryError):
        connect(url="not a web address")
    with Holder() as gone:
        url = gone.fhir
    with pytest.raises(HolderUnavailable):
        connect(url=url, patient=None)


def test_revoke_and_forget(locked, connect, canary, store):
    canary.allow(store.root / "tokens")
    me = connect(patient=None, remember="file")
    sign_in(me)
    me.studies()
    assert list((store.root / "tokens").iterdir())
    again = connect(patient=None, remember="file")
    assert again.status == "approved"
    assert len(again.benefits()) == 7
    assert again.revoke() == "revoked"
    assert again.status == "not authorised"
    assert not list((store.root / "tokens").iterdir())
    assert len(again.studies()) == 1
    with pytest.raises(AuthorizationError):
        again.revoke()


def test_forget_leaves_the_data(locked, connect, canary, store):
    canary.allow(store.root / "tokens")
    me = connect(patient=None, remember="file")
    sign_in(me)
    me.studies()
    me.forget()
    assert not list((store.root / "tokens").iterdir())
    assert me.status == "not authorised"
    assert len(me.studies()) == 1


def test_forget_forgets_what_another_connection_was_told_to_remember(
    locked, connect, canary, store
):
    canary.allow(store.root / "tokens")
    sign_in(connect(patient=None, remember="file"))
    sign_in(connect(patient=None, remember="file", client_id="client-2", client_secret="s"))
    assert len(store.remembered(locked.fhir, "p1")) == 2
    connect(patient="p1").forget()
    assert not list((store.root / "tokens").iterdir())
    again = connect(patient=None, remember="file")
    assert (again.status, again.patient_id) == ("not authorised", None)


def test_forget_of_an_approval_that_was_not_taken_up_yet(locked, connect, canary, store):
    canary.allow(store.root / "tokens")
    sign_in(connect(patient=None, remember="file"))
    again = connect(patient=None, remember="file")
    assert again.status == "approved"
    again.forget()
    assert again.status == "not authorised"
    with pytest.raises(AuthorizationRequired):
        again.studies()


@pytest.mark.fault("B12")
def test_forget_takes_back_the_consents_too(locked, connect, canary, store):
    asked = []
    me = connect(patient=None, ask=lambda origin: asked.append(origin) or True)
    sign_in(me)
    place = "http://127.0.0.1:9/wado"
    me.session.origins.check(place)
    me.forget()
    assert not me.session.origins.is_trusted(place)
    assert me.session.origins.is_trusted(locked.fhir), "the holder itself was typed by the person"
    assert not connect(patient="p1").session.origins.is_trusted(place)
    me.session.origins.check(place)
    assert len(asked) == 2


@pytest.mark.fault("F09")
def test_a_remembered_token_is_not_used_for_another_holder(locked, connect, canary, store):
    canary.allow(store.root / "tokens")
    sign_in(connect(patient=None, remember="file"))
    with Holder() as other:
        other.token = canary.token
        me = connect(url=other.fhir, patient=None, remember="file")
        assert me.status == "not authorised"
        with pytest.raises(AuthorizationRequired):
            me.studies()
        assert not [path for _, path, _ in other.requests if path == "/token"]
    port = connect(url=locked.fhir + "2", patient="p1", remember="file")
    assert port.status == "open"
    assert port.session.transport.tokens is None


REFRESH = """
import sys, threading
from s4s_notebook.connection import Connection
me = Connection(sys.argv[2], store=sys.argv[1], remember="file")
assert me.status == "approved", me.status
found = []
sys.stdin.readline()
threads = [threading.Thread(target=lambda: found.append(me.session.ready(
    __import__("s4s_notebook.task", fromlist=["Cancel"]).Cancel(), print
    ).request("GET", sys.argv[2] + "/Patient/p1", accept="application/json").status))
    for _ in range(10)]
me.holder
[t.start() for t in threads]
[t.join() for t in threads]
assert found == [200] * 10, found
"""


@pytest.mark.fault("A11")
def test_twenty_requests_in_two_processes_refresh_once(locked, connect, canary, store):
    canary.allow(store.root / "tokens")
    me = connect(patient=None, remember="file")
    sign_in(me)
    locked.tokens.clear()  # the token has run out
    command = [sys.executable, "-c", REFRESH, str(store.root), locked.fhir]
    both = [
        subprocess.Popen(
            command, cwd=HERE, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    time.sleep(1.5)
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert len([path for _, path, _ in locked.requests if path == "/token"]) == 1 + 1
    assert len(me.patient()) == 1, "and this third process finds the new one"
    assert len([path for _, path, _ in locked.requests if path == "/token"]) == 2


def test_without_a_keyring_remember_says_so(locked, connect):
    import keyring

    before = keyring.get_keyring()
    keyring.set_keyring(keyring.backends.fail.Keyring())
    try:
        me = connect(patient=None, remember=True)
        with pytest.raises(AuthorizationError, match="keyring"):
            sign_in(me)
    finally:
        keyring.set_keyring(before)


def test_a_consented_origin_is_kept_for_this_holder_and_patient(locked, connect, canary, store):
    asked = []
    me = connect(patient=None, ask=lambda origin: asked.append(origin) or True)
    sign_in(me)
    me.session.origins.check("http://127.0.0.1:9/wado")
    assert asked == ["http://127.0.0.1:9"]
    again = connect(patient="p1", access_token=canary.token)
    assert again.session.origins.is_trusted("http://127.0.0.1:9/wado")
    other = connect(patient="p2", access_token=canary.token)
    assert not other.session.origins.is_trusted("http://127.0.0.1:9/wado")


def test_a_connection_closes_its_own_store(holder):
    with Connection(holder.fhir, patient="p1", waits=quick()) as me:
        root = me.store.root
        me.studies()
    assert not root.exists()


def test_pages_asked_for_without_end_are_forgotten_from_the_oldest(locked, connect):
    me = connect(patient=None, client_id="client-1", client_secret="s")
    first, *_, last = [me.authorize_url() for _ in range(40)]
    with pytest.raises(StateMismatch):
        me.finish(reply_to(first, code="code-1"))
    me.finish(reply_to(last, code="code-1"))
    assert me.status == "approved"
    assert not [path for _, path, _ in locked.requests if path == "/register"]


def test_a_refused_approval_while_another_stands_changes_nothing(locked, connect):
    me = connect(patient=None)
    sign_in(me)
    with pytest.raises(AccessDenied):
        me.finish(reply_to(me.authorize_url(), error="access_denied"))
    assert me.status == "approved"
    assert len(me.studies()) == 1


@pytest.mark.fault("A12", "F09")
def test_a_remembered_approval_that_is_another_patients_is_not_used(locked, connect, canary, store):
    canary.allow(store.root / "tokens")
    sign_in(connect(patient=None, remember="file"))
    kept = store.token_store(locked.fhir, "", "p1", kind="file").load()
    store.token_store(locked.fhir, "", "p2", kind="file").save(kept)
    me = connect(patient="p2", remember="file")
    assert me.status == "approved"
    with pytest.raises(AuthorizationRequired):
        me.studies()
    assert me.status != "approved"
    assert "/fhir/ImagingStudy?patient=p2" not in locked.asked("ImagingStudy")


@pytest.mark.fault("G04")
def test_a_client_secret_is_never_shown(locked, connect, canary):
    me = connect(patient=None, client_id="client-1", client_secret=canary.secret)
    assert canary.secret not in repr(vars(me)) + repr(vars(me.session))
    me.session.use_client("client-2", canary.secret)
    assert canary.secret not in repr(vars(me.session))


def test_the_options_show_no_secret_and_no_patient(canary):
    options = ConnectOptions(
        "https://holder.example/fhir",
        patient=canary.name,
        access_token=canary.token,
        client_secret=canary.secret,
    )
    assert "holder.example" in repr(options)
    assert not [
        text for text in (canary.name, canary.token, canary.secret) if text in repr(options)
    ]


def test_after_a_withdrawal_a_call_waits_where_a_panel_asks_and_raises_elsewhere(locked, connect):
    me = connect(patient=None)
    sign_in(me)
    me.studies()
    locked.withdrawn = True
    locked.tokens.clear()
    with pytest.raises(ReauthorizationRequired, match="used up: invalid_grant") as caught:
        me.benefits()
    assert "Ann" not in str(caught.value)
    assert "Ann Example" in caught.value.holder_said
    assert me.status == "withdrawn"
    assert "withdrawn" in repr(me)
    with pytest.raises(ReauthorizationRequired, match="approval has ended"):
        me.benefits()  # nothing waits where nobody can approve
    me.session.on_status(lambda status: None)
    work = me.load()
    with pytest.raises(TimeoutError):
        work.result(0.3)
    sign_in(me)
    assert work.result(10).status == "approved"
    assert len(me.benefits()) == 7


@pytest.mark.fault("L03")
def test_a_script_sends_nothing_to_origins_that_nobody_was_shown(locked, images, connect):
    me = connect(patient=None)
    sign_in(me)
    assert not me.session.origins.is_trusted(images.fhir)
    with pytest.raises(UntrustedOrigin, match="nobody has consented"):
        me.studies()
    assert images.asked("ImagingStudy") == []


@pytest.mark.parametrize("status", [503, 500, 400])
def test_a_code_that_is_not_exchanged_leaves_nobody_waiting(locked, connect, status):
    """The code is used up: what shows the status offers Authorise again."""
    locked.server.on("/token", scripts.later("3600", status=status))
    me = connect(patient=None)
    with pytest.raises(S4SError):
        sign_in(me)
    assert me.status == "not authorised"


def test_the_end_of_an_earlier_sign_in_leaves_the_later_one_waiting(locked, connect):
    me = connect(patient=None)
    early = me.authorize_url()
    me.authorize_url()
    locked.server.on("/token", scripts.reply(400))
    with pytest.raises(S4SError):
        me.finish(reply_to(early, code="code-1"))
    assert me.status == "waiting for approval"
