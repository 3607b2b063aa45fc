"""The chooser's kernel side: what it takes, how long it waits, what it leaves."""

from __future__ import annotations

import threading

import pytest

from s4s_notebook.connection.known_holders import Holders
from s4s_notebook.errors import DiscoveryError
from s4s_notebook.widgets.connect.choose import ChooserPanel


@pytest.fixture
def panel(tmp_path):
    holders = Holders(tmp_path / "settings")
    holders.add("https://b.example")
    holders.add("https://a.example")
    made = ChooserPanel(holders, runtime=tmp_path / "runtime")
    yield made
    made.end()
    assert not list((tmp_path / "runtime" / "s4s").iterdir())


def test_a_choice_through_the_server_ends_the_wait(panel):
    mailbox = panel._mailbox
    later = threading.Timer(
        0.3, mailbox.add_choice, (panel.panel, {"do": "use", "url": " https://c.example "})
    )
    later.start()
    assert panel.wait(10) == "https://c.example"


def test_removing_one_is_no_choice(panel):
    for pressed in (
        {"do": "remove", "url": "https://a.example"},
        {"do": "use", "url": ""},
        {"do": "something else", "url": "https://x.example"},
        {"do": "use", "url": "https://b.example"},
    ):
        panel.line._handler(pressed)
    assert panel.wait(10) == "https://b.example"
    assert panel.picture["holders"] == ["https://b.example"]
    assert panel.picture["problem"] == "Write the holder's address first."


def test_nobody_chooses(panel):
    with pytest.raises(DiscoveryError, match="Nobody chose"):
        panel.wait(0)


def test_where_others_may_not_be_connected_none_is_offered(tmp_path):
    holders = Holders(tmp_path / "settings")
    holders.add("https://a.example")
    panel = ChooserPanel(holders, others=False, runtime=tmp_path / "runtime")
    assert panel.picture["holders"] == []
    assert panel.picture["others"] is False
    panel.end()
