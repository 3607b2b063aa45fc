"""The remembered holders: addresses in a file of one's own, and nothing else."""

from __future__ import annotations

import json
import stat

import pytest

from s4s_notebook.connection.known_holders import MAX_ADDRESSES, Holders, config_folder
from s4s_notebook.errors import DiskProblem, UnsafeStore


@pytest.fixture
def holders(tmp_path):
    return Holders(tmp_path / "settings")


def test_the_latest_stands_first_and_once(holders, tmp_path):
    for name in ("a", "b", "a"):
        holders.add(f"https://{name}.example/fhir")
    assert holders.all() == ["https://a.example/fhir", "https://b.example/fhir"]
    file = tmp_path / "settings" / "holders.json"
    assert json.loads(file.read_text()) == holders.all()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_only_so_many_are_kept(holders):
    for number in range(MAX_ADDRESSES + 3):
        holders.add(f"https://h{number}.example")
    assert len(holders.all()) == MAX_ADDRESSES
    assert holders.all()[0] == f"https://h{MAX_ADDRESSES + 2}.example"


def test_an_address_on_this_machine_passes(holders, tmp_path):
    for place in ("http://127.0.0.1:8080/fhir", "http://localhost/fhir", "http://[::1]:1/fhir"):
        holders.add(place)
    assert holders.all() == []
    assert not (tmp_path / "settings").exists()


def test_a_folder_of_ours_without_the_file_remembers_nothing(holders, tmp_path):
    (tmp_path / "settings").mkdir()
    assert holders.all() == []


def test_forgetting_leaves_the_others(holders, tmp_path):
    holders.remove("https://a.example")
    assert not (tmp_path / "settings").exists(), "forgetting nothing writes nothing"
    holders.add("https://a.example")
    holders.add("https://b.example")
    holders.remove("https://a.example")
    assert holders.all() == ["https://b.example"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b'{"a": 1}', b'"https://a"', b'[1, null, ["https://a"], "file:///x"]'],
)
def test_what_is_not_ours_counts_as_nothing(holders, tmp_path, content):
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "holders.json").write_bytes(content)
    assert holders.all() == []
    holders.add("https://a.example")
    assert holders.all() == ["https://a.example"]


def test_a_planted_link_is_refused(holders, tmp_path):
    (tmp_path / "settings").mkdir()
    (tmp_path / "secret").write_text('["https://a.example"]')
    (tmp_path / "settings" / "holders.json").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafeStore):
        holders.all()


def test_a_file_in_the_way_is_said(tmp_path):
    (tmp_path / "settings").write_text("")
    with pytest.raises((UnsafeStore, DiskProblem)):
        Holders(tmp_path / "settings").add("https://a.example")


def test_it_lies_in_the_users_own_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert config_folder() == tmp_path / "xdg" / "s4s-notebook"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")  # to be ignored, says the specification
    assert config_folder() == tmp_path / ".config" / "s4s-notebook"
