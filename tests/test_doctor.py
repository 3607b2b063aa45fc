"""`s4s doctor`: what is in order, and the line that mends what is not."""

from __future__ import annotations

from pydicom.pixels.decoders.base import get_decoder

from s4s_notebook import checkup
from s4s_notebook.cli import main


def by_name(findings):
    return {finding.what: finding for finding in findings}


def test_it_looks_at_every_part(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    found = by_name(checkup.doctor())
    assert {"Python", "jupyterlab", "Sign-in route", "Codecs", "Store", "Sandbox"} <= found.keys()
    assert found["Sandbox"].good
    assert found["Codecs"].good
    assert found["Sign-in route"].good


def test_an_old_package_is_named_with_the_line_that_mends_it(monkeypatch):
    monkeypatch.setattr(checkup, "version", lambda name: "2.19.0")
    found = by_name(checkup._versions())
    server = found["jupyter-server"]
    assert not server.good
    assert "→ pip install --upgrade 'jupyter-server>=2.20'" in str(server)


def test_a_missing_codec_says_what_to_install(monkeypatch):
    decoder = get_decoder(checkup.CODECS["JPEG-LS"])
    monkeypatch.setattr(decoder, "_available", {})
    [found] = checkup._codecs()
    assert found.found == "missing: JPEG-LS"
    assert "s4s-notebook[codecs]" in found.mend


def test_a_store_that_cannot_be_used_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("S4S_STORE", str(tmp_path / "file"))
    [found] = checkup._store()
    assert not found.good
    assert found.mend


def test_the_command_prints_and_exits_by_what_it_found(capsys, monkeypatch):
    good = checkup.Finding(True, "This", "fine")
    bad = checkup.Finding(False, "That", "old", "do this")
    monkeypatch.setattr(checkup, "doctor", lambda: checkup.Findings([good]))
    assert main(["doctor"]) == 0
    monkeypatch.setattr(checkup, "doctor", lambda: checkup.Findings([good, bad]))
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == ["✘ That: old", "    → do this"]
