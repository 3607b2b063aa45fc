"""The canaries themselves: a guard that never barks guards nothing."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

LEAKS = {
    "log": "import logging\ndef test_it(canary):\n    logging.getLogger('x').debug(canary.token)\n",
    "output": "def test_it(canary):\n    print(canary.code)\n",
    "file": "def test_it(canary, tmp_path):\n    (tmp_path / 'a').write_text(canary.secret)\n",
    "made": "import secrets\ndef test_it():\n    print(secrets.token_urlsafe(16))\n",
    "traceback": "def test_it(canary):\n    raise ValueError(canary.token)\n",
}


@pytest.mark.parametrize("way", LEAKS)
def test_a_leak_fails_the_test(way, pytester, request):
    source = request.config.rootpath / "tests" / "conftest.py"
    pytester.makeconftest(source.read_text())
    pytester.makepyfile(LEAKS[way])
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    assert result.ret == 1
    assert "cAnArY" not in result.stdout.str()


def test_a_state_may_stand_in_an_authorise_url(pytester, request):
    source = request.config.rootpath / "tests" / "conftest.py"
    pytester.makeconftest(source.read_text())
    pytester.makepyfile(
        "import secrets\n"
        "def test_it():\n"
        "    print('http://a/authorize?state=' + secrets.token_urlsafe())\n"
    )
    assert pytester.runpytest_subprocess("-p", "no:cacheprovider").ret == 0
