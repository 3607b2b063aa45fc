"""Systems that refuse: no hard links, a read-only home, several users on one machine."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from s4s_notebook.errors import AuthorizationError, DiskProblem, UnsafeStore
from s4s_notebook.smart.mailbox import Mailbox, state_digest
from s4s_notebook.smart.redirect import SignIn
from tests import refuse
from tests.browser.jupyterserver import REPO, JupyterServer
from tests.jupyter.test_pages import ask, callback

NO_LINKS = (sys.executable, str(REPO / "tests" / "refuse.py"))
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
NAME = state_digest("the-state")


def namespaces() -> bool:
    """Whether this machine lets us mount, in a namespace of our own."""
    if shutil.which("unshare") is None:
        return False
    done = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False)
    return done.returncode == 0


needs_links_refused = pytest.mark.skipif(not refuse.can_refuse(), reason="needs Linux's seccomp")
needs_namespaces = pytest.mark.skipif(not namespaces(), reason="needs unshare")
needs_root = pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="needs root")


def run(code: str, *arguments: str, through: tuple[str, ...] = ()) -> str:
    """Run Python code in a process of its own and return what it prints."""
    command = [*through, sys.executable, "-c", code, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd="/", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


EXCHANGE = """
import sys
from pathlib import Path
from s4s_notebook.smart.mailbox import Mailbox, state_digest
kernel, server, name = Mailbox(Path(sys.argv[1])), Mailbox(Path(sys.argv[1])), state_digest("s")
server.register_server()
panel = kernel.open_panel()
number = server.request_sign_in(panel, "http://127.0.0.1/back")
[(same, address)] = kernel.sign_in_requests(panel)
kernel.answer(panel, same, url="https://holder.example/authorize", name=name)
kernel.expect_reply(name)
kernel.expect_reply(name)
delivered = [server.deliver_reply(name, {"code": str(at)}) for at in range(2)]
print(kernel.has_server(), server.has_panel(panel), same == number, address)
print(server.take_answer(panel, number)["url"], delivered, kernel.take_reply(name))
kernel.close_panel(panel)
server.unregister_server()
print(sorted(entry.name for entry in kernel.folder.iterdir()))
"""


@pytest.mark.fault("M04")
@needs_links_refused
@pytest.mark.parametrize("through", [(), NO_LINKS], ids=["links", "no links"])
def test_a_sign_in_needs_no_hard_links(tmp_path, through) -> None:
    printed = run(EXCHANGE, str(tmp_path), through=through)
    assert printed.splitlines() == [
        "True True True http://127.0.0.1/back",
        "https://holder.example/authorize [True, False] {'code': '0'}",
        "[]",
    ]


TAKE_AND_DELIVER = """
import sys, threading
from pathlib import Path
from s4s_notebook.smart.mailbox import Mailbox, state_digest
mailbox = Mailbox(Path(sys.argv[1]))
taken = []
def take():
    while len(taken) < 300:
        for at in range(300):
            reply = mailbox.take_reply(state_digest(str(at)))
            taken.extend([reply] if reply else [])
reader = threading.Thread(target=take)
reader.start()
for at in range(300):
    mailbox.expect_reply(state_digest(str(at)))
    mailbox.deliver_reply(state_digest(str(at)), {"code": str(at)})
reader.join(20)
print(sorted(int(reply["code"]) for reply in taken) == list(range(300)))
import os; os._exit(0)
"""


@pytest.mark.fault("M04")
@needs_links_refused
def test_no_reply_is_lost_or_read_half_written_without_links(tmp_path) -> None:
    """A reader that polls all the time never takes a file before its content is there."""
    assert run(TAKE_AND_DELIVER, str(tmp_path), through=NO_LINKS) == "True"


@pytest.mark.fault("M04")
@needs_links_refused
def test_the_server_pages_load_and_work_without_links(tmp_path, canary) -> None:
    server = JupyterServer(tmp_path, through=NO_LINKS).start()
    try:
        assert ask(server, "s4s/status").status == 200
        mailbox = Mailbox(server.runtime)
        assert mailbox.has_server()
        mailbox.expect_reply(NAME)
        assert ask(server, callback(code=canary.code, state="the-state")).status == 200
        assert mailbox.take_reply(NAME)["code"] == canary.code
    finally:
        server.stop()
    assert "Traceback" not in server.log.read_text()


@pytest.mark.fault("M04")
@needs_namespaces
def test_the_other_pages_load_where_the_folder_of_replies_is_read_only(tmp_path) -> None:
    folder = tmp_path / "runtime" / "s4s"
    folder.mkdir(mode=0o700, parents=True)
    through = ("unshare", "-rm", "sh", "-c", READ_ONLY, str(folder))
    server = JupyterServer(tmp_path, through=through).start()
    try:
        assert ask(server, "s4s/status").status == 200
        assert ask(server, callback(code="x", state="s")).status == 404
    finally:
        server.stop()
    assert "s4s: sign-in pages are off" in server.log.read_text()


HOME_ONLY_READ = """
import sys
from pathlib import Path
import s4s_notebook as s4s
from s4s_notebook.connection.known_holders import Holders
from s4s_notebook.smart.mailbox import Mailbox
for attempt in (
    lambda: Mailbox(Path.home() / "runtime"),
    lambda: Holders().add("https://holder.example/fhir"),
    lambda: s4s.Store(Path.home() / "store"),
):
    try:
        attempt()
    except s4s.S4SError as error:
        print(type(error).__name__, bool(error.hint))
with s4s.Store() as store:
    print(store.root.is_relative_to(Path.home()))
"""


@pytest.mark.fault("M04")
@needs_namespaces
def test_with_a_read_only_home_errors_are_typed_and_a_temporary_store_works(
    tmp_path, monkeypatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    through = ("unshare", "-rm", "sh", "-c", READ_ONLY, str(home))
    printed = run(HOME_ONLY_READ, through=through)
    assert printed.splitlines() == ["DiskProblem True"] * 3 + ["False"]


# ------------------------------------------------------------------ a port that is in use


@pytest.mark.fault("M04")
def test_a_redirect_port_that_is_in_use_leaves_the_way_of_pasting(tmp_path) -> None:
    finished: list[str] = []
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        back = f"http://127.0.0.1:{other.getsockname()[1]}/callback"
        sign_in = SignIn(
            lambda address: (f"https://holder.example/authorize?redirect_uri={address}", NAME),
            finished.append,
            on_problem=lambda _: None,
            redirect_uri=back,
            runtime=tmp_path,
        )
        try:
            assert "cannot be served" in sign_in.problem
            assert "paste" in sign_in.problem
            assert sign_in.must_paste
            assert sign_in.link().endswith(back)
            with pytest.raises(AuthorizationError, match="in use") as caught:
                sign_in.listen()
            assert "paste" in caught.value.hint
            other.close()  # the other program ends
            assert sign_in.listen().redirect_uri == back
            assert (sign_in.problem, sign_in.must_paste) == ("", False)
        finally:
            sign_in.close()


# ------------------------------------------------------------------ several users


def as_user(number: int) -> tuple[str, ...]:
    """A command that runs the next one as that user, where need be with Python in sight."""
    drop = f'exec setpriv --reuid {number} --regid {number} --clear-groups "$@"'
    closed = [
        folder
        for folder in Path(sys.base_prefix).parents
        if not folder.stat().st_mode & stat.S_IXOTH
    ]
    if closed:  # Python lies in root's home: show that, and nothing else of it
        top, prefix = closed[-1], sys.base_prefix
        drop = (
            f"mkdir -p /run/s4s-python && mount --bind {prefix} /run/s4s-python"
            f" && mount -t tmpfs -o mode=755 none {top} && mkdir -p {prefix}"
            f" && mount --bind /run/s4s-python {prefix} && {drop}"
        )
    return ("unshare", "-m", "sh", "-c", drop, "sh")


@pytest.fixture
def homes() -> Iterator[dict[int, Path]]:
    """A home of its own, mode 0700, for each of two users."""
    above = Path(tempfile.mkdtemp(prefix="s4s-users-", dir="/tmp"))
    above.chmod(0o755)
    yield {number: above / f"user-{number}" for number in (10001, 10002)}
    shutil.rmtree(above)


KERNEL = """
import json, sys
from pathlib import Path
from s4s_notebook.errors import S4SError
from s4s_notebook.smart.mailbox import Mailbox
try:
    mailbox = Mailbox(Path(sys.argv[1]))
    if sys.argv[2] == "expect":
        mailbox.expect_reply(sys.argv[3])
    print(json.dumps(mailbox.take_reply(sys.argv[3])))
except S4SError as error:
    print(json.dumps(type(error).__name__))
"""


def own(home: Path, number: int) -> None:
    """Give a home and all in it to its user."""
    for path in (home, *home.rglob("*")):
        os.chown(path, number, number, follow_symlinks=False)
    home.chmod(0o700)


@pytest.mark.fault("H07")
@needs_root
@needs_namespaces
def test_two_users_with_servers_of_their_own_do_not_meet(homes, canary) -> None:
    """Two accounts, two homes, two Jupyter servers; one state, expected by one of them."""
    servers = {
        number: JupyterServer(home, through=as_user(number)) for number, home in homes.items()
    }
    (alice, at_alice), (bob, at_bob) = servers.items()

    def kernel(user: int, runtime: Path, do: str) -> object:
        return json.loads(run(KERNEL, str(runtime), do, NAME, through=as_user(user)))

    try:
        for number, server in servers.items():
            own(server.home, number)
            server.start()
            os.kill(server.pid, 0)
            assert Path(f"/proc/{server.pid}").stat().st_uid == number
        assert kernel(alice, at_alice.runtime, "expect") is None
        reply = callback(code=canary.code, state="the-state")
        assert "is over" in ask(at_bob, reply).body
        assert kernel(alice, at_alice.runtime, "take") is None
        assert ask(at_alice, reply).status == 200
        [file] = (at_alice.runtime / "s4s").glob("reply-*")
        assert (file.stat().st_uid, stat.S_IMODE(file.stat().st_mode)) == (alice, 0o600)
        # Bob's processes get at it neither by its path nor through a link in their own folder.
        assert kernel(bob, at_alice.runtime, "take") == "DiskProblem"
        (homes[bob] / "linked").mkdir()
        (homes[bob] / "linked" / "s4s").symlink_to(at_alice.runtime / "s4s")
        assert kernel(bob, homes[bob] / "linked", "take") == "DiskProblem"
        # Not even where Alice's home is open to all.
        for folder in (homes[alice], at_alice.runtime):
            folder.chmod(0o755)
        assert kernel(bob, at_alice.runtime, "take") == "UnsafeStore"
        assert kernel(bob, homes[bob] / "linked", "take") in ("UnsafeStore", "DiskProblem")
        taken = kernel(alice, at_alice.runtime, "take")
        assert isinstance(taken, dict)
        assert taken["code"] == canary.code
    finally:
        for server in servers.values():
            server.stop()


def test_what_cannot_be_made_is_typed(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((DiskProblem, UnsafeStore)) as caught:
        Mailbox(tmp_path / "file")
    assert "JUPYTER_RUNTIME_DIR" in caught.value.hint
