"""The workshop in the person's own folder, over a real Jupyter server, and for `s4s demo`."""

from __future__ import annotations

import http.client
import json

import pytest

from s4s_notebook.cli import demo
from s4s_notebook.jupyter import launcher
from tests.browser.jupyterserver import BASE_URL, REPO, TOKEN, JupyterServer
from tests.notebooks import links, prose


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = JupyterServer(tmp_path_factory.mktemp("server")).start()
    yield running
    running.stop()


def post(server, **asked):
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=90)
    headers = {"Authorization": f"token {TOKEN}"}
    try:
        link.request("POST", f"{BASE_URL}s4s/notebooks", json.dumps(asked), headers)
        reply = link.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        link.close()


def below(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    names = (path.relative_to(folder).as_posix() for path in files)
    return {name for name in names if ".ipynb_checkpoints" not in name}  # Jupyter's own


def test_the_workshop_comes_whole_and_opens_at_its_list(server):
    (server.work / "mine").mkdir()
    assert post(server, which="workshop", folder="mine") == (
        201,
        {"path": "mine/s4s-workshop/README.md"},
    )
    came = below(server.work / "mine" / "s4s-workshop")
    assert {"00-first-image.ipynb", "glossary.md", "how-to/tokens.md"} <= came
    assert "conftest.py" not in came
    for name in came:
        copy = server.work / "mine" / "s4s-workshop" / name
        source = REPO / "notebooks" / name
        if copy.suffix == ".ipynb":
            assert json.loads(copy.read_text())["cells"] == json.loads(source.read_text())["cells"]
        else:
            assert copy.read_bytes() == source.read_bytes()


def test_what_comes_along_is_all_that_its_own_links_lead_to():
    source, files = launcher.shipped()
    for path in (file for file in files if file.suffix != ".png"):
        for link in prose.links(links.markdown(path)):
            place = link.target.partition("#")[0]
            target = (path.parent / place).resolve()
            if place and "://" not in place and target.is_relative_to(source):
                assert target in files, f"{path.name}: {place}"


def test_the_first_notebook_opens_where_the_others_are(server):
    opened = {"path": "s4s-workshop/00-first-image.ipynb"}
    assert post(server, which="first") == (201, opened)
    assert (server.work / "s4s-workshop" / "glossary.md").is_file()
    source, _ = launcher.shipped()
    sheet = "images/sandbox.png"
    assert (server.work / "s4s-workshop" / sheet).read_bytes() == (source / sheet).read_bytes()
    assert post(server, which="first", folder="s4s-workshop") == (201, opened), "no nesting"


def test_somebodys_work_is_not_overwritten(server):
    (server.work / "kept").mkdir()
    post(server, which="first", folder="kept")
    mine = server.work / "kept" / "s4s-workshop" / "00-first-image.ipynb"
    text = mine.read_text().replace('"nbformat": 4', '"nbformat":  4')
    mine.write_text(text)
    assert post(server, which="workshop", folder="kept")[0] == 201
    assert mine.read_text() == text


def test_an_installation_without_notebooks_says_so(tmp_path, monkeypatch):
    file = tmp_path / "a" / "jupyter" / "notebooks.py"
    monkeypatch.setattr(launcher, "__file__", str(file))
    assert launcher.shipped()[1] == []


def test_the_demo_works_on_a_copy_that_keeps_what_one_did(tmp_path, monkeypatch):
    installed = tmp_path / "site-packages" / "s4s_notebook"
    for name in ("00-first.ipynb", "01-more.ipynb", "how-to/a.md", "conftest.py", ".x/b.txt"):
        (installed / "notebooks" / name).parent.mkdir(parents=True, exist_ok=True)
        (installed / "notebooks" / name).write_text("as shipped")
    monkeypatch.setattr(launcher, "__file__", str(installed / "jupyter" / "launcher.py"))
    copy = demo.own_copy(tmp_path / "s4s-notebooks")
    shown = {"00-first.ipynb", "01-more.ipynb", "how-to/a.md"}
    assert below(copy) - {".s4s-copied.json"} == shown
    (copy / "00-first.ipynb").write_text("my work")
    for name in ("00-first.ipynb", "01-more.ipynb"):
        (installed / "notebooks" / name).write_text("a new version")
    demo.own_copy(copy)
    assert (copy / "00-first.ipynb").read_text() == "my work"
    assert (copy / "01-more.ipynb").read_text() == "a new version"
