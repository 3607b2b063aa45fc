"""The canaries themselves: a guard that never barks guards nothing."""

from __future__ import annotations

import socket
import time

import pytest

from tests.faultserver import Sink

pytest_plugins = ["pytester"]

LEAKS = {
    "log": "import logging\ndef test_it(canary):\n    logging.getLogger('x').debug(canary.token)\n",
    "output": "def test_it(canary):\n    print(canary.code)\n",
    "file": "def test_it(canary, tmp_path):\n    (tmp_path / 'a').write_text(canary.secret)\n",
    "made": "import secrets\ndef test_it():\n    print(secrets.token_urlsafe(16))\n",
    "temporary": (
        "import tempfile\ndef test_it(canary):\n"
        "    with tempfile.NamedTemporaryFile('w', delete=False) as file:\n"
        "        file.write(canary.refresh)\n"
    ),
    "store": (
        "from s4s_notebook.store import Store\ndef test_it(canary):\n"
        "    global kept\n    kept = Store()\n"
        "    kept.participant('https://h.example/fhir', 'p').consent(canary.token)\n"
    ),
    "notebook": (
        "import nbformat\ndef test_it(canary, tmp_path):\n"
        "    cell = nbformat.v4.new_markdown_cell(canary.name)\n"
        "    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / 'a.ipynb')\n"
    ),
    "child": (
        "import subprocess, sys\n"
        "CODE = 'import secrets, sys; open(sys.argv[1], \"w\").write(secrets.token_urlsafe())'\n"
        "def test_it(tmp_path):\n"
        "    subprocess.run([sys.executable, '-c', CODE, str(tmp_path / 'a')], check=True)\n"
    ),
    "child_output": (
        "import subprocess, sys\n"
        "def test_it():\n"
        "    code = 'import secrets; print(secrets.token_urlsafe())'\n"
        "    subprocess.run([sys.executable, '-c', code], check=True)\n"
    ),
    "traceback": "def test_it(canary):\n    raise ValueError(canary.token)\n",
}


#: A state may stand in an authorise URL, which is made to be shown.
SHOWN = (
    "import secrets\n"
    "def test_it():\n"
    "    print('http://a/authorize?state=' + secrets.token_urlsafe())\n"
)


def test_each_leak_fails_its_test_and_nothing_else_does(pytester, request):
    source = request.config.rootpath / "tests"
    pytester.makeconftest((source / "conftest.py").read_text())
    marker = (source / "canary" / "sitecustomize.py").read_text()
    pytester.mkdir("canary").joinpath("sitecustomize.py").write_text(marker)
    pytester.makepyfile(**{f"test_{way}": code for way, code in LEAKS.items()}, test_shown=SHOWN)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    bad = [line for line in result.outlines if line.startswith(("FAILED", "ERROR"))]
    for way in LEAKS:
        assert any(f"test_{way}.py::" in line for line in bad), way
    assert not any("test_shown" in line for line in bad)
    assert "cAnArY" not in result.stdout.str()


def test_a_foreign_sink_that_hears_anything_fails_the_test():
    with Sink() as sink:
        sink.assert_untouched()
        socket.create_connection(("127.0.0.1", sink.port)).close()
        deadline = time.monotonic() + 10
        while not sink.server.connections and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(AssertionError, match="foreign host"):
            sink.assert_untouched()
