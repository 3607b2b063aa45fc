"""The sign-in pages on a real Jupyter server, over real sockets: fault group H."""

from __future__ import annotations

import http.client
import json
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlencode

import pytest

from s4s_notebook.errors import UnsafeStore
from s4s_notebook.smart.mailbox import MAX_PENDING, Mailbox, state_digest
from tests.browser.jupyterserver import BASE_URL, TOKEN, JupyterServer


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("server")
    running = JupyterServer(home, "--debug", "--ServerApp.allow_remote_access=True").start()
    yield running
    running.stop()


@pytest.fixture
def meeting(server):
    """The kernel's side of the folder; what a test leaves there is taken away."""
    place = Mailbox(server.runtime)
    before = set(os.listdir(place.folder))
    yield place
    for name in set(os.listdir(place.folder)) - before:
        (place.folder / name).unlink()


class Answer:
    def __init__(self, reply: http.client.HTTPResponse) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self.body = reply.read().decode()


def ask(server, path, *, method="GET", logged_in=True, host=None, headers=None, body=None):
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    sent = {"Host": host or f"127.0.0.1:{server.port}", **(headers or {})}
    if logged_in:
        sent["Authorization"] = f"token {TOKEN}"
    try:
        link.request(method, f"{BASE_URL}{path}", body, sent)
        return Answer(link.getresponse())
    finally:
        link.close()


def callback(**values):
    return f"s4s/callback?{urlencode(values)}"


def listing(meeting):
    return {name for name in os.listdir(meeting.folder) if not name.startswith("server-")}


def test_a_reply_reaches_the_kernel_once(server, meeting, canary):
    meeting.expect_reply(state_digest("the-state"))
    reply = callback(code=canary.code, state="the-state", iss="https://holder.example", extra="x")
    assert ask(server, reply).status == 200
    mode = stat.S_IMODE((meeting.folder / f"reply-{state_digest('the-state')}").stat().st_mode)
    assert mode == 0o600
    assert ask(server, reply).status == 400, "the second reply is refused"
    assert meeting.take_reply(state_digest("the-state")) == {
        "code": canary.code,
        "state": "the-state",
        "iss": "https://holder.example",
    }
    assert listing(meeting) == set()


@pytest.mark.fault("H01")
def test_nobody_who_is_not_logged_in_hands_over_a_reply(server, meeting, canary):
    meeting.expect_reply(state_digest("the-state"))
    reply = callback(code=canary.code, state="the-state")
    first = ask(server, reply, logged_in=False)
    assert first.status == 200
    assert "again=1" in first.body
    assert ask(server, f"{reply}&again=1", logged_in=False).status == 403
    start = ask(server, f"s4s/start/{meeting.open_panel()}?origin=x", logged_in=False)
    assert start.status == 302
    assert "origin" not in start.headers["Location"]
    assert ask(server, "s4s/status", logged_in=False).status == 403
    assert meeting.take_reply(state_digest("the-state")) is None
    assert not [name for name in listing(meeting) if name.startswith("ask-")]


@pytest.mark.fault("H02")
@pytest.mark.parametrize(
    "path", ["s4s/callback?code=a&state=the-state", "s4s/status", "s4s/start/"]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_no_other_method_does_anything(server, meeting, path, method):
    meeting.expect_reply(state_digest("the-state"))
    if path.endswith("/"):
        path += meeting.open_panel()
    before = listing(meeting)
    # As a logged-in browser of another site would: cookie, no XSRF token.
    login = ask(server, f"tree?token={TOKEN}", logged_in=False)
    cookies = "; ".join(value.partition(";")[0] for value in login.headers.get_all("Set-Cookie"))
    headers = {"Cookie": cookies, "Content-Length": "0"}
    answer = ask(server, path, method=method, logged_in=False, headers=headers)
    assert answer.status == 403
    assert ask(server, path, method=method).status in {403, 405}
    assert listing(meeting) == before


CHOICE = json.dumps({"do": "use", "url": "https://holder.example/fhir", "more": "x"})


def test_a_choice_reaches_the_kernel_once(server, meeting):
    panel = meeting.open_panel()
    assert ask(server, f"s4s/choice/{panel}", method="POST", body=CHOICE).status == 204
    [file] = [name for name in listing(meeting) if name.startswith("choice-")]
    assert stat.S_IMODE((meeting.folder / file).stat().st_mode) == 0o600
    chosen = [{"do": "use", "url": "https://holder.example/fhir"}]
    assert list(meeting.take_choices(panel)) == chosen
    assert list(meeting.take_choices(panel)) == []


@pytest.mark.fault("H02", "H08")
def test_no_stranger_chooses_and_nobody_without_end(server, meeting):
    panel = meeting.open_panel()
    place = f"s4s/choice/{panel}"
    assert ask(server, place, method="POST", body=CHOICE, logged_in=False).status == 403
    login = ask(server, f"tree?token={TOKEN}", logged_in=False)
    cookies = "; ".join(value.partition(";")[0] for value in login.headers.get_all("Set-Cookie"))
    headers = {"Cookie": cookies}
    answer = ask(server, place, method="POST", body=CHOICE, logged_in=False, headers=headers)
    assert answer.status == 403, "another site's page has the cookie, not the XSRF token"
    assert ask(server, place).status == 405
    assert ask(server, f"s4s/choice/{'0' * 64}", method="POST", body=CHOICE).status == 404
    for odd in ("", "[]", '{"do": "revoke"}', '{"do": "use", "url": "' + "a" * 9000 + '"}'):
        assert ask(server, place, method="POST", body=odd).status == 400, odd[:20]
    assert not [name for name in listing(meeting) if name.startswith("choice-")]
    for _ in range(MAX_PENDING):
        assert ask(server, place, method="POST", body=CHOICE).status == 204
    assert ask(server, place, method="POST", body=CHOICE).status == 429
    meeting.close_panel(panel)
    assert not [name for name in listing(meeting) if name.startswith("choice-")]


@pytest.mark.fault("H02", "L06")
def test_a_get_that_belongs_to_nothing_changes_nothing(server, meeting):
    meeting.expect_reply(state_digest("the-state"))
    before = listing(meeting)
    for path in (
        callback(code="a", state="another"),
        callback(code="a"),
        callback(state="the-state", code="a") + "&state=the-state",
        callback(error="access_denied"),
        callback(error="access_denied", state="another", error_description="forged words"),
        "s4s/callback",
        "s4s/callback?state=%ff%fe",
        f"s4s/callback?state={'a' * 5000}",
    ):
        assert ask(server, path).status == 400, path
    assert ask(server, f"s4s/start/{'0' * 64}").status == 404
    assert ask(server, "s4s/start/..%2f..%2fetc").status == 404
    assert listing(meeting) == before


def login_cookie(server):
    """Return the cookie that a browser has once its person has logged in to Jupyter."""
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        link.request("GET", f"{BASE_URL}tree?token={TOKEN}")
        set_cookies = link.getresponse().headers.get_all("Set-Cookie")
    finally:
        link.close()
    return {"Cookie": "; ".join(value.partition(";")[0] for value in set_cookies)}


@pytest.mark.fault("H02", "L06")
def test_a_forged_reply_with_the_persons_cookie_ends_no_sign_in(server, meeting):
    """As a foreign page makes the browser send it, which adds the cookie by itself."""
    meeting.expect_reply(state_digest("the-state"))
    before, cookie = listing(meeting), login_cookie(server)
    forged = {"error": "access_denied", "error_description": "forged words", "iss": "https://h"}
    for path in (
        callback(**forged),
        callback(**forged, state=""),
        callback(**forged, state="another"),
        callback(**forged, state="The-state"),
        callback(**forged, state="the-state") + "&state=the-state",
        callback(code="forged"),
        callback(code="forged", state="the-state" * 2),
    ):
        answer = ask(server, path, logged_in=False, headers=cookie)
        assert answer.status == 400, path
        assert "forged" not in answer.body
        assert "declined, nothing" in answer.body
        assert listing(meeting) == before
    # The cookie alone is a login: the reply that knows the state arrives.
    reply = callback(code="c", state="the-state")
    assert ask(server, reply, logged_in=False, headers=cookie).status == 200
    assert meeting.take_reply(state_digest("the-state")) == {"code": "c", "state": "the-state"}


@pytest.mark.fault("H03")
@pytest.mark.parametrize(
    "value",
    [
        "//evil.example",
        "https:///evil.example",
        "\\evil.example",
        "javascript:alert(1)",
        "/\\evil.example",
    ],
)
def test_next_is_ignored(server, meeting, value):
    meeting.expect_reply(state_digest("the-state"))
    answers = [
        ask(server, callback(code="a", state="the-state", next=value)),
        ask(server, callback(code="a", state="gone", next=value, url=value, redirect=value)),
        ask(server, f"s4s/start/{'0' * 64}?{urlencode({'next': value})}"),
    ]
    for answer in answers:
        assert answer.status in {200, 400, 404}
        assert "Location" not in answer.headers
        assert "evil" not in answer.body
        assert "javascript" not in answer.body


MARKUP = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</title><script>alert(1)</script>",
    "&quot;&gt;&lt;script&gt;",
]


@pytest.mark.fault("H04")
@pytest.mark.parametrize("logged_in", [True, False])
@pytest.mark.parametrize("text", MARKUP)
def test_nothing_is_reflected_as_markup(server, meeting, text, logged_in):
    meeting.expect_reply(state_digest(text))
    for path in (
        callback(error=text, error_description=text, state=text),
        callback(error=text, error_description=text, state="gone", x=text),
        "s4s/callback?" + text.replace(" ", "+"),
    ):
        answer = ask(server, quote(path, safe="?&=+%/'\"<>();:"), logged_in=logged_in)
        for marker in ("<script", "<img", "<svg", 'onerror="'):
            assert marker not in answer.body
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "frame-ancestors 'none'" in policy


@pytest.mark.fault("H05")
def test_no_log_line_holds_a_code_or_a_state(server, meeting, canary):
    state = canary.secret
    meeting.expect_reply(state_digest(state))
    reply = callback(code=canary.code, state=state)
    odd = f"s4s/callback?c%6fde={canary.code}&st%61te={state}&again=1"
    for path in (reply, reply, odd, f"{reply}&code=x", callback(code="é" * 3000, state=state)):
        for logged_in in (True, False):
            ask(server, path, logged_in=logged_in)
    ask(server, reply, headers={"Referer": f"http://127.0.0.1/?code={canary.code}"})
    ask(server, reply, method="POST")
    # The folder is gone: the reply cannot be kept, and the failure is logged.
    away = meeting.folder.with_name("s4s-away")
    meeting.folder.rename(away)
    meeting.folder.write_text("in the way")
    try:
        assert ask(server, reply).status == 500
    finally:
        meeting.folder.unlink()
        away.rename(meeting.folder)
    log = server.log.read_text()
    assert "s4s/callback" in log, "the log must be on for this test to say anything"
    assert "could not be stored" in log
    assert canary.code not in log
    assert state not in log
    assert state_digest(state) not in log


@pytest.mark.fault("H07")
def test_the_redirect_address_is_the_one_that_the_browser_came_to(server, meeting):
    panel = meeting.open_panel()
    here = f"http://127.0.0.1:{server.port}"
    asked = []

    def kernel():
        while not asked:
            asked.extend(meeting.sign_in_requests(panel))
        meeting.answer(panel, asked[0][0], url="https://holder.example/authorize?a=b", name="n")

    thread = threading.Thread(target=kernel)
    thread.start()
    answer = ask(
        server,
        f"s4s/start/{panel}?{urlencode({'origin': here})}",
        headers={"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"},
    )
    thread.join()
    assert answer.status == 302
    assert answer.headers["Location"] == "https://holder.example/authorize?a=b"
    assert asked[0][1] == f"{here}{BASE_URL}s4s/callback"


@pytest.mark.fault("H07")
@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.example", None),
        ("http://127.0.0.1", "evil.example"),
        ("javascript:alert(1)", None),
        ("http://127.0.0.1@evil.example", None),
        ("http://127.0.0.1/evil", None),
        ("null", None),
        ("", "evil.example/a"),
    ],
)
def test_a_spoofed_host_is_refused(server, meeting, origin, host):
    panel = meeting.open_panel()
    path = f"s4s/start/{panel}?{urlencode({'origin': origin})}"
    answer = ask(server, path, host=host)
    assert answer.status == 400
    assert not [name for name in listing(meeting) if name.startswith("ask-")]


@pytest.mark.fault("H07")
def test_a_server_for_this_machine_only_refuses_other_names(tmp_path):
    server = JupyterServer(tmp_path).start()
    try:
        assert ask(server, "s4s/status").status == 200
        assert ask(server, "s4s/callback?code=a&state=b", host="evil.example").status == 403
    finally:
        server.stop()


@pytest.mark.fault("H07")
def test_users_do_not_meet(tmp_path):
    mine, theirs = Mailbox(tmp_path / "a"), Mailbox(tmp_path / "b")
    mine.expect_reply(state_digest("s"))
    assert not theirs.deliver_reply(state_digest("s"), {"code": "x"})
    assert stat.S_IMODE(mine.folder.stat().st_mode) == 0o700
    mine.folder.chmod(0o777)
    assert stat.S_IMODE(Mailbox(tmp_path / "a").folder.stat().st_mode) == 0o700
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "s4s").symlink_to(theirs.folder)
    with pytest.raises(UnsafeStore):
        Mailbox(tmp_path / "c")


@pytest.mark.fault("H07")
@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="needs root to give a file away")
def test_a_folder_of_somebody_else_is_refused(tmp_path):
    (tmp_path / "s4s").mkdir()
    os.chown(tmp_path / "s4s", 12345, 12345)
    with pytest.raises(UnsafeStore, match="somebody else"):
        Mailbox(tmp_path)


@pytest.mark.fault("H07")
def test_a_planted_link_is_not_followed(tmp_path):
    place = Mailbox(tmp_path)
    secret = tmp_path / "private"
    secret.write_text('{"code": "x"}')
    (place.folder / f"reply-{state_digest('s')}").symlink_to(secret)
    assert place.take_reply(state_digest("s")) is None
    assert secret.read_text() == '{"code": "x"}'


@pytest.mark.fault("H08")
def test_ten_megabytes_of_query_are_refused(server, meeting):
    meeting.expect_reply(state_digest("the-state"))
    before = listing(meeting)
    try:
        answer = ask(server, "s4s/callback?state=the-state&code=" + "a" * (10 << 20))
        assert answer.status in {400, 413, 414, 431}
    except (ConnectionError, http.client.HTTPException):
        pass  # the server hung up: as good as a refusal
    assert ask(server, "s4s/status").status == 200
    assert listing(meeting) == before


@pytest.mark.fault("H08")
def test_a_thousand_replies_at_once_leave_one(server, meeting):
    meeting.expect_reply(state_digest("the-state"))
    paths = [callback(code=str(number), state="the-state") for number in range(500)]
    paths += [callback(code=str(number), state=f"other-{number}") for number in range(500)]
    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda path: ask(server, path).status, paths))
    assert statuses.count(200) == 1
    assert statuses.count(400) == 999
    assert listing(meeting) == {f"reply-{state_digest('the-state')}"}


@pytest.mark.fault("H08")
def test_a_panel_takes_so_many_starts_and_no_more(server, meeting):
    panel = meeting.open_panel()
    numbers = [meeting.request_sign_in(panel, "http://x/") for _ in range(MAX_PENDING)]
    assert None not in numbers
    origin = urlencode({"origin": f"http://127.0.0.1:{server.port}"})
    assert ask(server, f"s4s/start/{panel}?{origin}").status == 429
    meeting.close_panel(panel)
    assert listing(meeting) == set()


def test_a_panel_of_a_dead_kernel_is_gone(server, meeting):
    panel = meeting.open_panel()
    dead = os.fork()
    if dead == 0:
        os._exit(0)
    os.waitpid(dead, 0)
    (meeting.folder / f"panel-{panel}").write_text(f'{{"pid": {dead}}}')
    origin = urlencode({"origin": f"http://127.0.0.1:{server.port}"})
    assert ask(server, f"s4s/start/{panel}?{origin}").status == 404
    assert listing(meeting) == set()
