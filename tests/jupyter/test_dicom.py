"""The viewer's questions about a file, over a real Jupyter server."""

from __future__ import annotations

import http.client
import json
import shutil
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from tests.browser.jupyterserver import BASE_URL, TOKEN, JupyterServer


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = JupyterServer(tmp_path_factory.mktemp("server")).start()
    yield running
    running.stop()


def ask(server, what, token=TOKEN, **values):
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=90)
    headers = {"Authorization": f"token {token}"} if token else {}
    try:
        link.request("GET", f"{BASE_URL}s4s/dicom/{what}?{urlencode(values)}", headers=headers)
        reply = link.getresponse()
        return reply.status, reply.headers, reply.read()
    finally:
        link.close()


def unpack(body):
    end = 4 + int.from_bytes(body[:4], "big")
    message = json.loads(body[4:end])
    buffers = []
    for size in message["sizes"]:
        buffers.append(body[end : end + size])
        end += size
    assert end == len(body)
    return message, buffers


def test_a_file_is_served_as_the_viewer_wants_it(server):
    name = get_testdata_file("CT_small.dcm")
    shutil.copy(name, server.work / "ct.dcm")
    status, headers, body = ask(server, "study", path="ct.dcm")
    assert status == 200
    assert headers["Cache-Control"] == "no-store"
    study, _ = unpack(body)
    series = study["series"][0]
    plane = series["planes"][0]
    _, _, body = ask(
        server,
        "slice",
        path="ct.dcm",
        series=series["key"],
        plane=plane["key"],
        key=plane["ids"][0],
    )
    message, buffers = unpack(body)
    pixels = np.frombuffer(buffers[0], message["type"]).reshape(message["rows"], message["columns"])
    assert np.array_equal(pixels, dcmread(name).pixel_array)
    status, _, body = ask(server, "thumbnail", path="ct.dcm", series=series["key"])
    assert status == 200
    assert unpack(body)[1]


@pytest.mark.parametrize(
    "path", ["missing.dcm", "../server.log", "..%2fserver.log", "/etc/passwd", ""]
)
def test_no_other_file_is_served(server, path):
    status, _, body = ask(server, "study", path=path)
    assert status in {400, 404}
    assert b"root:" not in body


def test_nobody_else_is_served(server):
    assert ask(server, "study", token="", path="ct.dcm")[0] == 403
    assert ask(server, "study", token="wrong", path="ct.dcm")[0] == 403


def test_a_file_that_is_not_dicom_says_so(server):
    (server.work / "text.dcm").write_text("not DICOM at all")
    status, _, body = ask(server, "study", path="text.dcm")
    assert status == 200
    message, _ = unpack(body)
    assert message.get("error") or message.get("note")


def test_a_question_without_its_keys_is_refused(server):
    shutil.copy(get_testdata_file("CT_small.dcm"), server.work / "b.dcm")
    assert ask(server, "slice", path="b.dcm")[0] == 400
    status, _, body = ask(server, "slice", path="b.dcm", series="9", plane="stack", key="9")
    assert status == 200
    assert "no longer part" in unpack(body)[0]["error"]


@pytest.mark.fault("E07")
def test_a_process_that_dies_is_replaced(server):
    psutil = pytest.importorskip("psutil")
    shutil.copy(get_testdata_file("MR_small.dcm"), server.work / "mr.dcm")
    assert ask(server, "study", path="mr.dcm")[0] == 200
    parent = psutil.Process(server.pid)
    makers = [
        child for child in parent.children(recursive=True) if "spawn_main" in str(child.cmdline())
    ]
    assert makers
    for maker in makers:
        maker.kill()
    assert ask(server, "study", path="mr.dcm")[0] == 502
    assert ask(server, "study", path="mr.dcm")[0] == 200


def post(server, place, **asked):
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=90)
    headers = {"Authorization": f"token {TOKEN}"}
    try:
        link.request("POST", f"{BASE_URL}s4s/{place}", json.dumps(asked), headers)
        reply = link.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        link.close()


def test_the_sandbox_starts_and_stops(server):
    status, first = post(server, "sandbox", run=True)
    assert status == 200
    assert first["running"]
    with urlopen(f"{first['url']}/metadata", timeout=10) as reply:
        assert json.loads(reply.read())["resourceType"] == "CapabilityStatement"
    assert post(server, "sandbox", run=True) == (200, first), "one is enough"
    assert post(server, "sandbox", run=False) == (200, {"running": False, "url": ""})
    with pytest.raises(URLError):
        urlopen(f"{first['url']}/metadata", timeout=10)
