"""`s4s doctor`: what is in order, and the line that mends what is not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from pydicom.pixels.decoders.base import get_decoder

from s4s_notebook import _connect as start
from s4s_notebook._version import __version__
from s4s_notebook.cli import doctor as checkup
from s4s_notebook.cli import main
from s4s_notebook.smart.mailbox import Mailbox


def by_name(findings):
    return {finding.what: finding for finding in findings}


@pytest.fixture(autouse=True)
def jupyter_of_its_own(tmp_path, monkeypatch):
    """The person's own Jupyter folders, empty; their settings come before the environment's."""
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    for name in ("CONFIG", "DATA", "RUNTIME"):
        monkeypatch.setenv(f"JUPYTER_{name}_DIR", str(tmp_path / name.lower()))


def jupyter(*words):
    subprocess.run([sys.executable, "-m", "jupyter", *words], check=True, capture_output=True)


def test_it_looks_at_every_part():
    found = by_name(checkup.doctor())
    looked_at = {"Python", "jupyterlab", "JupyterLab extension", "Jupyter server extension",
                 "Sign-in route", "Pop-ups", "Codecs", "Memory", "Store", "Sandbox"}  # fmt: skip
    assert looked_at <= found.keys()
    for part in ("Jupyter server extension", "Sign-in route", "Codecs", "Store", "Sandbox"):
        assert found[part].good, part
    assert all(finding.good or finding.mend for finding in found.values())


def test_an_old_package_is_named_with_the_line_that_mends_it(monkeypatch):
    monkeypatch.setattr(checkup, "version", lambda _: "2.19.0")
    server = by_name(checkup.versions())["jupyter-server"]
    assert not server.good
    assert "→ pip install --upgrade 'jupyter-server>=2.20'" in str(server)


def enabled_for_me(tmp_path, value):
    """The person's own settings name the extension, as Jupyter's commands write them."""
    place = tmp_path / "config" / "jupyter_server_config.d"
    place.mkdir(parents=True, exist_ok=True)
    enabled = {"ServerApp": {"jpserver_extensions": {checkup.SERVER: value}}}
    (place / f"{checkup.SERVER}.json").write_text(json.dumps(enabled))


def test_a_disabled_server_extension_is_seen(tmp_path):
    [found] = checkup.server_extension()
    assert found.good
    enabled_for_me(tmp_path, value=False)
    [found] = checkup.server_extension()
    command = "jupyter server extension enable --user s4s_notebook.jupyter"
    assert f"→ {command}, then restart Jupyter" in str(found)
    jupyter(*command.split()[1:])
    [found] = checkup.server_extension()
    assert found.good, "the line mends it"


def test_what_no_command_enables_is_told_with_its_file(tmp_path):
    enabled_for_me(tmp_path, value=True)
    file = tmp_path / "config" / "jupyter_server_config.json"
    file.write_text(json.dumps({"ServerApp": {"jpserver_extensions": {checkup.SERVER: False}}}))
    [found] = checkup.server_extension()
    assert f'→ take "s4s_notebook.jupyter" out of {file}' in str(found)


def test_a_server_extension_that_is_nowhere_is_told(monkeypatch):
    monkeypatch.setattr("jupyter_core.paths.jupyter_config_path", list)
    [found] = checkup.server_extension()
    assert "→ uv pip install --reinstall-package s4s-notebook" in str(found), "a checkout is built"


@pytest.fixture
def installed(tmp_path):
    """A lab extension in the person's own folder, with the version that is asked for."""

    def install(version):
        folder = tmp_path / "data" / "labextensions" / "s4s-notebook"
        folder.mkdir(parents=True, exist_ok=True)
        package = {"name": "s4s-notebook", "version": version, "jupyterlab": {}}
        (folder / "package.json").write_text(json.dumps(package))

    return install


def test_a_lab_extension_that_is_missing_old_or_disabled_is_seen(installed, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("jupyter_core.paths.jupyter_path", lambda *_: [])
        [found] = checkup.lab_extension()
    assert "→ uv pip install --reinstall-package s4s-notebook" in str(found), "a checkout is built"
    installed("0.0.1")
    [found] = checkup.lab_extension()
    assert found.found == f"0.0.1 is left over; this is s4s-notebook {__version__}"
    installed(__version__)
    [found] = checkup.lab_extension()
    assert found.good
    jupyter("labextension", "disable", "--level=user", "s4s-notebook")
    [found] = checkup.lab_extension()
    assert "→ jupyter labextension enable s4s-notebook" in str(found)
    jupyter("labextension", "enable", "--level=user", "s4s-notebook")
    [found] = checkup.lab_extension()
    assert found.good, "the line mends it"


def test_a_kernel_whose_server_has_no_pages_of_ours_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(checkup, "in_notebook", lambda: True)
    route, _ = checkup.sign_in()
    assert "→ restart Jupyter" in str(route)
    Mailbox(tmp_path / "runtime").register_server()
    route, _ = checkup.sign_in()
    assert route.good


def test_a_runtime_folder_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "runtime").write_text("in the way")
    [route] = checkup.sign_in()
    assert not route.good
    assert str(tmp_path / "runtime") in route.mend


def test_a_missing_codec_says_what_to_install(monkeypatch):
    decoder = get_decoder(checkup.CODECS["JPEG-LS"])
    monkeypatch.setattr(decoder, "_available", {})
    [found] = checkup.codecs()
    assert found.found == "missing: JPEG-LS"
    assert "s4s-notebook[codecs]" in found.mend


@pytest.mark.parametrize(
    ("limit", "used"),
    [
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ],
)
def test_the_memory_is_the_containers_where_it_has_less(tmp_path, limit, used):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n")
    group = tmp_path / "sys" / "fs" / "cgroup"
    (group / "memory").mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("1\n")
    [found] = checkup.memory(tmp_path)
    assert (found.good, found.found) == (True, "8.2 GB free")
    (group / limit).write_text("2000000000\n")
    (group / used).write_text("1500000000\n")
    [found] = checkup.memory(tmp_path)
    assert (found.good, found.found) == (False, "0.5 GB free")
    assert found.mend.startswith("close other notebooks")


@pytest.mark.parametrize("place", ["/proc/s4s", "{}/file"])
def test_a_store_that_cannot_be_used_is_told(tmp_path, monkeypatch, place):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(start.STORE_FOLDER, place.format(tmp_path))
    [found] = checkup.store()
    assert not found.good
    assert "→ set S4S_STORE to a folder that is yours" in str(found)


def test_the_command_prints_and_exits_by_what_it_found(capsys, monkeypatch):
    good = checkup.Finding(True, "This", "fine")
    bad = checkup.Finding(False, "That", "old", "do this")
    monkeypatch.setattr(checkup, "doctor", lambda: checkup.Findings([good]))
    assert main(["doctor"]) == 0
    monkeypatch.setattr(checkup, "doctor", lambda: checkup.Findings([good, bad]))
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == ["✘ That: old", "    → do this"]
