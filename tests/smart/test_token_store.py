"""A remembered sign-in: for one issuer, client and patient, and for nobody else's eyes."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import pytest

from s4s_notebook.errors import StoreError, UnsafeStore
from s4s_notebook.smart.token_store import KeyringTokenStore
from s4s_notebook.store import Store

GRANT = {"refresh_token": "canary-refresh", "expires_at": 5.0}
KEY = ("https://holder.example/fhir", "client-1", "p1")


class Ring(keyring.backend.KeyringBackend):
    """A keyring in memory, in place of a desktop's."""

    priority = 5

    def __init__(self):
        self.kept = {}

    def get_password(self, service, username):
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        self.kept[service, username] = password

    def delete_password(self, service, username):
        if (service, username) not in self.kept:
            raise keyring.errors.PasswordDeleteError
        del self.kept[service, username]


@pytest.fixture(params=["file", "keyring"])
def kind(request):
    before = keyring.get_keyring()
    keyring.set_keyring(Ring())
    yield request.param
    keyring.set_keyring(before)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s") as store:
        yield store


def test_kept_given_back_and_forgotten(store, kind):
    token_store = store.token_store(*KEY, kind=kind)
    assert token_store.load() is None
    token_store.save(GRANT)
    assert store.token_store(*KEY, kind=kind).load() == GRANT
    token_store.forget()
    token_store.forget()
    assert token_store.load() is None
    assert not list((store.root / "tokens").iterdir())


@pytest.mark.fault("F09")
@pytest.mark.parametrize(
    "other",
    [
        ("https://holder.example:444/fhir", "client-1", "p1"),
        ("https://holder.example/fhir2", "client-1", "p1"),
        ("http://holder.example/fhir", "client-1", "p1"),
        ("https://holder.example/fhir", "client-2", "p1"),
        ("https://holder.example/fhir", "client-1", "p2"),
        ("https://holder.example/fhir\0client-1", "p1", ""),
    ],
)
def test_one_issuers_token_is_never_given_to_another(store, kind, other):
    store.token_store(*KEY, kind=kind).save(GRANT)
    assert store.token_store(*other, kind=kind).load() is None


@pytest.mark.fault("F09")
def test_a_file_moved_by_hand_is_not_believed(store):
    mine = store.token_store(*KEY, kind="file")
    other = store.token_store("b", "c", "d", kind="file")
    mine.save(GRANT)
    other.save({"refresh_token": "other"})
    one, two = sorted((store.root / "tokens").iterdir())
    one.rename(one.with_suffix(".x"))
    two.rename(one)
    one.with_suffix(".x").rename(two)
    assert mine.load() is None
    assert other.load() is None


@pytest.mark.fault("A12")
@pytest.mark.parametrize("cut", [0, 1, 20, -1])
def test_a_torn_file_is_as_none(store, cut):
    token_store = store.token_store(*KEY, kind="file")
    token_store.save(GRANT)
    [path] = (store.root / "tokens").iterdir()
    path.write_bytes(path.read_bytes()[:cut])
    assert token_store.load() is None
    token_store.save(GRANT)
    assert token_store.load() == GRANT


@pytest.mark.fault("A12")
def test_killed_while_saving_the_old_or_the_new_token_is_there(store, tmp_path):
    token_store = store.token_store(*KEY, kind="file")
    token_store.save(GRANT)
    new = {"refresh_token": "canary-new"}
    code = (
        "import sys\nfrom tests.store import killed\nfrom s4s_notebook.store import Store\n"
        f"k=Store(sys.argv[1]).token_store(*{KEY!r},kind='file')\nkilled.arm(int(sys.argv[2]))\n"
        f"with k.lock(): k.save({new!r})\nimport os; os._exit(0)"
    )
    seen = []
    for fatal in range(1, 20):
        done = subprocess.run(
            [sys.executable, "-c", code, str(store.root), str(fatal)],
            cwd=Path(__file__).resolve().parents[2],
            timeout=60,
            check=False,
        )
        with token_store.lock():  # the lock went with its process
            seen.append(token_store.load())
        if done.returncode == 0:
            break
    assert seen[0] == GRANT
    assert seen[-1] == new
    assert all(grant in (GRANT, new) for grant in seen)


@pytest.mark.fault("F08")
def test_a_token_file_that_others_can_read_is_refused(store):
    old = os.umask(0)
    try:
        token_store = store.token_store(*KEY, kind="file")
        token_store.save(GRANT)
    finally:
        os.umask(old)
    [path] = (store.root / "tokens").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    os.chmod(path, 0o644)
    with pytest.raises(UnsafeStore):
        token_store.load()


def test_where_there_is_no_keyring_it_says_so(kind):
    assert KeyringTokenStore.available()
    keyring.set_keyring(keyring.backends.fail.Keyring())
    assert not KeyringTokenStore.available()


def test_a_keyring_that_does_not_open_is_an_error_that_says_so(store, kind, monkeypatch):
    token_store = store.token_store(*KEY, kind="keyring")
    token_store.save(GRANT)

    def locked(*args):
        raise keyring.errors.KeyringLocked("cancelled by the user")

    with monkeypatch.context() as patch:
        patch.setattr(Ring, "get_password", locked)
        patch.setattr(Ring, "set_password", locked)
        for call in (token_store.load, lambda: token_store.save(GRANT), token_store.forget):
            with pytest.raises(StoreError, match="keyring does not open"):
                call()
    assert token_store.load() == GRANT
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(StoreError, match="cannot be opened from here"):
        store.remembered(KEY[0], KEY[2])
