"""`s4s new`: three files, whose notebook runs from the first cell to the last."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient

from s4s_notebook import Sandbox
from s4s_notebook.cli import main


def test_a_project_has_three_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "my-project"]) == 0
    folder = tmp_path / "my-project"
    names = {file.name for file in folder.iterdir()}
    assert names == {"my-project.ipynb", "README.md", ".gitignore"}
    assert "s4s-notebook" in (folder / "README.md").read_text()
    assert "/data/" in (folder / ".gitignore").read_text().splitlines()
    nbformat.validate(nbformat.read(folder / "my-project.ipynb", as_version=4))
    assert main(["new", "my-project"]) == 1
    assert "exists already; nothing was written" in capsys.readouterr().err


@pytest.mark.slow
def test_its_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["new", "mine"])
    book = nbformat.read(tmp_path / "mine" / "mine.ipynb", as_version=4)
    with Sandbox(retry_after=0) as sandbox:
        monkeypatch.setenv("S4S_SANDBOX_URL", sandbox.fhir_url)
        monkeypatch.setenv("S4S_SANDBOX_APPROVE", "smart-1288992")
        place = {"metadata": {"path": str(tmp_path / "mine")}}
        NotebookClient(book, timeout=120, kernel_name="python3", resources=place).execute()
    assert (tmp_path / "mine" / "data").is_dir()


@pytest.mark.parametrize("name", ["", ".", "..", "a*b", ".hidden"])
def test_what_is_no_name_makes_nothing(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    assert main(["new", name]) == 1
    assert "is no name for a project" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
