"""Lists of instances over QIDO-RS, on real sockets: their pages, their end, and what has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from s4s_notebook import errors
from s4s_notebook.dicomweb.qido import InstanceList, list_instances
from s4s_notebook.dicomweb.wado import Instance, instance_url
from tests.faultserver import Conversation, FaultServer
from tests.faultserver import scripts as send
from tests.faultserver.fixtures import FakeTokens, Make

STUDY = "/dicom-web/studies/1.2.3"
MORE = '299 holder "There are 5 additional results that can be requested"'
ALL = tuple(Instance(f"1.{n % 3}", f"1.{n % 3}.{n}") for n in range(20))


def listed(*pairs: tuple[object, object]) -> list[dict[str, Any]]:
    return [
        {"0020000E": {"vr": "UI", "Value": [series]}, "00080018": {"vr": "UI", "Value": [uid]}}
        for series, uid in pairs
    ]


def pages(size: int, *, offset: bool = True, warn: str = "", end: int = 200) -> Callable[..., None]:
    """Send at most ``size`` instances at a time; after the last one an empty 200, or 204."""

    def script(talk: Conversation) -> None:
        query = parse_qs(urlsplit(talk.seen.target).query)
        start = int(query.get("offset", ["0"])[0]) if offset else 0
        page = ALL[start : start + size]
        headers = {"Warning": warn} if warn and start + size < len(ALL) else {}
        if not page and end != 200:
            send.reply(end)(talk)
        else:
            send.json(listed(*page), **headers)(talk)

    return script


def test_instances_are_listed_and_addressed(server: FaultServer, make: Make) -> None:
    server.on(f"{STUDY}/instances", pages(1000))
    url = server.url(STUDY)
    assert list_instances(make(tokens=FakeTokens("abc")), url) == InstanceList(ALL, True)
    assert server.requests[0].header("Accept") == "application/dicom+json"
    assert server.requests[0].bearer == "abc"
    assert [r.query for r in server.requests] == [
        {"limit": ["1000"], "offset": ["0"]}, {"limit": ["1000"], "offset": ["20"]}
    ]  # fmt: skip
    assert instance_url(url + "?k=v", ALL[1]) == f"{url}/series/1.1/instances/1.1.1?k=v"
    with pytest.raises(errors.InvalidUID):
        instance_url(url, Instance("1.2", "../1"))


@pytest.mark.fault("J01")
@pytest.mark.parametrize("size", [1, 7, 10, 19, 20])
@pytest.mark.parametrize("warn", ["", MORE])
@pytest.mark.parametrize("end", [200, 204, 404])
def test_pages_are_read_to_the_end(server, make: Make, size: int, warn: str, end: int) -> None:
    server.on(f"{STUDY}/instances", pages(size, warn=warn, end=end))
    found = list_instances(make(), server.url(STUDY) + "?k=v")
    assert found == InstanceList(ALL, end != 404)
    assert all(r.query["k"] == ["v"] for r in server.requests)


@pytest.mark.fault("J01")
def test_a_holder_that_ignores_the_offset_has_no_known_end(server, make: Make) -> None:
    server.on(f"{STUDY}/instances", pages(7, offset=False))
    assert list_instances(make(), server.url(STUDY)) == InstanceList(ALL[:7], False)
    assert len(server.requests) == 2


@pytest.mark.fault("J01")
@pytest.mark.parametrize(
    ("first", "last", "exhausted"),
    [
        (MORE, "", False), ("", MORE, False), ("", "", True),
        ('299 holder "The fuzzymatching parameter is not supported"', "", True),
        ('199 holder "slow today"', "", True),
    ],
)  # fmt: skip
def test_a_warning_of_more_is_no_end(server, make: Make, first, last, exhausted) -> None:
    server.on(
        f"{STUDY}/instances",
        send.json(listed(*ALL), **({"Warning": first} if first else {})),
        send.json([], **({"Warning": last} if last else {})),
    )
    assert list_instances(make(), server.url(STUDY)) == InstanceList(ALL, exhausted)


@pytest.mark.fault("J01")
@pytest.mark.parametrize("page", [send.reply(500), send.reply(200, b"<html>"), send.json({})])
def test_a_page_that_cannot_be_read_is_no_end(server, make: Make, page) -> None:
    server.on(f"{STUDY}/instances", send.json(listed(*ALL)), page)
    assert list_instances(make(), server.url(STUDY)) == InstanceList(ALL, False)


@pytest.mark.fault("J01")
def test_a_holder_that_refuses_the_parameters_has_no_known_end(server, make: Make) -> None:
    server.on(f"{STUDY}/instances", send.reply(400), send.json(listed(*ALL)))
    assert list_instances(make(), server.url(STUDY)) == InstanceList(ALL, False)
    assert server.requests[1].query == {}


def test_a_holder_that_is_out_of_service_is_waited_for(server, make: Make) -> None:
    server.on(f"{STUDY}/instances", send.reply(503, Retry_After="1"), pages(50))
    assert list_instances(make(), server.url(STUDY)) == InstanceList(ALL, True)


@pytest.mark.parametrize(
    "script",
    [
        send.reply(404), send.reply(204), send.json([]), send.json({}), send.json([1]),
        send.reply(200, b"<html>"), send.json(listed(("1.1", "../2"))), send.json(listed(("", ""))),
        send.json([{"0020000E": "1.2", "00080018": {"Value": []}}]),
        send.json([*listed(*ALL), 1]),
    ],
)  # fmt: skip
def test_a_holder_that_lists_nothing_usable(server: FaultServer, make: Make, script) -> None:
    server.on(f"{STUDY}/instances", script)
    assert list_instances(make(), server.url(STUDY)) is None
    assert len(server.requests) == 1
