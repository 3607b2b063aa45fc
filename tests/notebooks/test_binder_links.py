"""The Binder badge and links, made from a repository's address."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys

import pytest

from tests.notebooks.books import REPO, workshop

SCRIPT = REPO / "binder" / "links.py"
_spec = importlib.util.spec_from_file_location("binder_links", SCRIPT)
links = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(links)
GH = "https://mybinder.org/v2/gh/owner/name/HEAD"


@pytest.fixture
def clone(tmp_path):
    """The files that links are made of and written to, as a git repository of their own."""
    for name in ("README.md", "binder/links.py", "notebooks"):
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        (shutil.copytree if (REPO / name).is_dir() else shutil.copy)(REPO / name, target)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


def run(clone, *arguments):
    command = [sys.executable, str(clone / "binder" / "links.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://github.com/owner/name", GH),
        ("https://github.com/owner/name.git", GH),
        ("https://user:s3cret@github.com/owner/name.git", GH),
        ("git@github.com:owner/name.git", GH),
        ("ssh://git@github.com:22/owner/name", GH),
        ("https://gitlab.com/a/b/name.git", "https://mybinder.org/v2/gl/a%2Fb%2Fname/HEAD"),
        (
            "https://git.example.org/owner/name.git",
            "https://mybinder.org/v2/git/https%3A%2F%2Fgit.example.org%2Fowner%2Fname/HEAD",
        ),
    ],
)
def test_an_address_of_every_form_leads_to_the_image(remote, address):
    assert links.image(remote) == address
    assert links.link(remote, "notebooks/00-a.ipynb") == (
        f"{address}?urlpath=lab/tree/notebooks/00-a.ipynb"
    )


@pytest.mark.parametrize("remote", ["/srv/git/name.git", "file:///srv/name", "name", "../name"])
def test_a_folder_is_no_address(remote):
    with pytest.raises(ValueError, match="cannot reach"):
        links.image(remote)


def test_they_are_printed_for_the_origin_of_the_clone(clone):
    lacking = run(clone)
    assert lacking.returncode == 1
    assert "no git remote `origin`" in lacking.stderr
    where = ["remote", "add", "origin", "git@github.com:owner/name.git"]
    subprocess.run(["git", "-C", clone, *where], check=True)
    said = run(clone).stdout
    assert said.startswith("[![Launch on Binder](https://mybinder.org/badge_logo.svg)](" + GH)
    assert f"- 00 [Your first image]({GH}?urlpath=lab/tree/notebooks/00-first-image.ipynb)\n" in said
    found = re.findall(rf"\({GH}\?urlpath=lab/tree/notebooks/([\w.-]+)\)\n", said)
    assert found == ["00-first-image.ipynb", *(book.name for book in workshop())]


def test_they_are_written_between_the_marks_and_again(clone):
    for owner in ("first", "second"):
        assert run(clone, "--write", "--remote", f"https://github.com/{owner}/x").returncode == 0
    for name in ("README.md", "notebooks/README.md"):
        before, after = ((place / name).read_text("utf-8") for place in (REPO, clone))
        assert "/gh/second/x/HEAD?urlpath=lab/tree/notebooks/00-first" in after
        assert "/gh/first/" not in after
        assert links.MARKS.sub("", after) == links.MARKS.sub("", before), "nothing else changed"
    (clone / "README.md").write_text("# No marks\n")
    lacking = run(clone, "--write", "--remote", "https://github.com/owner/x")
    assert lacking.returncode == 1
    assert "README.md lacks the marks" in lacking.stderr
