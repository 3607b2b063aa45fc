"""The check of the links: dead, odd and unreadable ones are seen."""

from __future__ import annotations

import json

import pytest

from tests.notebooks import links, prose


@pytest.fixture
def repo(tmp_path):
    for name in links.TEXTS:
        (tmp_path / name).write_text("# A `Title`, here\n\n## What *we* promise_now\n")
    (tmp_path / "notebooks" / "how-to").mkdir(parents=True)
    (tmp_path / "notebooks" / "a b.png").write_bytes(b"")
    return tmp_path


def told(repo, markdown, place="notebooks/page.md"):
    (repo / place).write_text(markdown)
    return [line.removeprefix(f"{place}: ") for line in links.complaints(repo)]


@pytest.mark.parametrize(
    ("markdown", "complaint"),
    [
        ("[x](gone.md)", "gone.md leads to nothing"),
        ("[x](../readme.md)", "../readme.md leads to nothing"),
        ("[x](../README.md#nothing)", "../README.md#nothing: no heading has that anchor"),
        ("[x](a%20b.png#part)", "a%20b.png#part: no heading has that anchor"),
        ("[x](#nothing)", "#nothing: no heading has that anchor"),
        ("[x](../../out.md)", "../../out.md leads out of the repository"),
        ("[x](/etc/hosts)", "/etc/hosts leads out of the repository"),
        ("![](a%20b.png)", "the picture a%20b.png has no alt text"),
        ("[x](http://a.example/)", "http://a.example/ is no well-formed https address"),
        ("<http://a.example/>", "http://a.example/ is no well-formed https address"),
        ("[x](https://localhost/a)", "https://localhost/a is no well-formed https address"),
        ("[x](https://me:pw@a.example)", "https://me:pw@a.example is no well-formed https address"),
        ("[x](https://a..example/)", "https://a..example/ is no well-formed https address"),
        ("[x](https://a.example/b.)", "https://a.example/b. is no well-formed https address"),
        ("[x](mailto:a@b.example)", "mailto:a@b.example is no well-formed https address"),
        ('<a href="gone.md">x</a>', "gone.md leads to nothing"),
        ("[![b](https://a.example/b.svg)](gone.md)", "gone.md leads to nothing"),
        ("[![b](http://a.example/b.svg)](https://a.example)", "http://a.example/b.svg is no"),
    ],
)
def test_a_link_that_leads_nowhere_is_seen(repo, markdown, complaint):
    found = told(repo, markdown)
    assert len(found) == 1
    assert found[0].startswith(complaint)


@pytest.mark.parametrize(
    "markdown",
    [
        "[x](../README.md) [y](how-to) [z](../README.md#a-title-here)",
        "[x](../README.md#what-we-promise_now) ![A picture](<a%20b.png>)",
        "# Here\n\n[x](#here) <https://a.example/b?c=d#e>",
        "`[x](gone.md)`\n\n```md\n[y](gone.md)\n```\n",
        'see [this](https://a.example/a "A title")',
    ],
)
def test_a_good_link_is_let_pass(repo, markdown):
    assert told(repo, markdown) == []


def test_notebooks_and_texts_in_folders_are_read_too(repo):
    cells = [{"cell_type": "markdown", "source": ["[x](go", "ne.md)"]}]
    notebook = json.dumps({"cells": [*cells, {"cell_type": "code", "source": "[x](no.md)"}]})
    assert told(repo, notebook, "notebooks/01-a.ipynb") == ["gone.md leads to nothing"]
    (repo / "notebooks" / "01-a.ipynb").unlink()
    assert told(repo, "[x](gone.md)", "notebooks/how-to/a.md") == ["gone.md leads to nothing"]


def test_anchors_are_those_of_code_hosts():
    assert prose.anchor("1 · Approve") == "1--approve"
    assert prose.anchor("What [we](x.md) `promise`?") == "what-we-promise"
