"""Images over HTTP: waits, multipart, refusals, metadata, memory."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import time
from io import BytesIO
from urllib.parse import urlsplit

import numpy as np
import pydicom
import pytest

from s4s_notebook import Sandbox
from s4s_notebook.sandbox.data.archive import package_folder
from tests.memory import measure

from .conftest import call, get

CT = "CT chest without contrast"
ACCEPT = {"Accept": "multipart/related; type=application/dicom"}


def uid(sandbox: Sandbox, description: str) -> str:
    (study,) = [s for s in sandbox.resources("ImagingStudy") if s["description"] == description]
    return study["uid"].removeprefix("urn:oid:")


def parts(answer) -> list[bytes]:
    """The files of a multipart answer; its closing boundary must be there."""
    boundary = re.search(r"boundary=(\w+)", answer.headers["content-type"])[1].encode()
    *pieces, tail = answer.body.split(b"\r\n--" + boundary)
    assert tail == b"--\r\n"
    return [piece.partition(b"\r\n\r\n")[2] for piece in pieces[1:]]


def test_a_study_comes_as_stored(shop: Sandbox) -> None:
    token = shop.token("smart-1288992")
    base = shop.wado_base("smart-1288992")
    answer = get(f"{base}/studies/{uid(shop, 'Whole body bone scan')}", token=token, headers=ACCEPT)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith('multipart/related; type="application/dicom"')
    want = [(package_folder() / n).read_bytes() for n in ("JPEG-lossy.dcm", "JPEG2000.dcm")]
    assert parts(answer) == want
    assert f"Content-Length: {len(want[0])}\r\n".encode() in answer.body


def test_the_first_request_waits_then_all_is_there() -> None:
    with Sandbox(retry_after=1) as sandbox:
        url = f"{sandbox.wado_url}/studies/{uid(sandbox, CT)}"
        token = sandbox.token("smart-1288992")
        started = time.monotonic()
        first = get(url, token=token, headers=ACCEPT)
        assert (first.status, first.headers["retry-after"]) == (503, "1")
        time.sleep(max(0.0, started + 1.05 - time.monotonic()))
        second = get(url, token=token, headers=ACCEPT)
        assert second.status == 200
        assert second.body.count(b"DICM") == 60
        sandbox.forget_waits()
        assert get(url, token=token).status == 503


def test_slow_is_as_slow_as_the_seeds_example() -> None:
    with Sandbox(slow=True) as sandbox:
        url = f"{sandbox.wado_url}/studies/{uid(sandbox, CT)}"
        answer = get(url, token=sandbox.token("smart-1288992"))
        assert (answer.status, answer.headers["retry-after"]) == (503, "300")


def test_series_instance_and_metadata(shop: Sandbox) -> None:
    token = shop.token("smart-1137192")
    study = next(s for s in shop.resources("ImagingStudy") if s["description"] == "MR brain")
    base = f"{shop.wado_url}/studies/{study['uid'][8:]}"
    series = study["series"][0]
    url = f"{base}/series/{series['uid'][8:]}"
    assert get(url, token=token).body.count(b"DICM") == series["numberOfInstances"]
    instance = series["instance"][0]["uid"][8:]
    single = get(
        f"{url}/instances/{instance}", token=token, headers={"Accept": "application/dicom"}
    )
    assert pydicom.dcmread(BytesIO(single.body)).SOPInstanceUID == instance
    listed = get(f"{base}/metadata", token=token)
    assert listed.headers["content-type"] == "application/dicom+json"
    assert len(listed.json()) == 4
    assert {i["0020000D"]["Value"][0] for i in listed.json()} == {study["uid"][8:]}


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ('multipart/related; type="application/dicom"; transfer-syntax=*', 200),
        ("multipart/related; type=application/dicom", 200),
        ("multipart/related", 200),
        ("*/*", 200),
        ("application/dicom", 406),  # two images do not fit into one part
        ('multipart/related; type="image/jpeg"', 406),
        ("application/json", 406),
    ],
)
def test_negotiation(shop: Sandbox, accept: str, status: int) -> None:
    url = f"{shop.wado_url}/studies/{uid(shop, 'Whole body bone scan')}"
    answer = get(url, token=shop.token("smart-1288992"), headers={"Accept": accept})
    assert answer.status == status


def test_who_may_see_what(shop: Sandbox) -> None:
    ct = uid(shop, CT)
    own, other = shop.token("smart-1288992"), shop.token("smart-1137192")
    claims_only = shop.token("smart-1288992", scope="patient/ExplanationOfBenefit.read")
    base, open_ = shop.wado_base("smart-1288992"), shop.wado_base("smart-1288992", open_=True)
    strange = shop.wado_base("smart-1137192", open_=True)
    cases = [
        (f"{base}/studies/{ct}", None, 401),
        (f"{base}/studies/{ct}", "nonsense", 401),
        (f"{base}/studies/{ct}", other, 403),
        (f"{base}/studies/{ct}", claims_only, 403),
        (f"{shop.wado_url}/studies/{ct}", other, 403),
        (f"{shop.wado_base('smart-1137192')}/studies/{ct}", other, 403),
        (f"{shop.wado_base('smart-1137192')}/studies/{ct}", own, 403),
        (f"{strange}/studies/{ct}", None, 404),
        (f"{open_}/studies/{uid(shop, 'MR brain')}", None, 404),
        (f"{open_}/studies/1.2.3", None, 404),
        (f"{open_}/studies/{uid(shop, 'MR knee without contrast')}", None, 200),
        (f"{base}/studies/{uid(shop, 'MR knee without contrast')}", own, 200),
        (f"{shop.wado_base('smart-1551992', open_=True)}"
         f"/studies/{uid(shop, 'XR chest, films not scanned')}", None, 404),
    ]  # fmt: skip
    for url, token, status in cases:
        assert get(url, token=token).status == status, url


@pytest.mark.fault("I03")
@pytest.mark.parametrize(
    "path",
    [
        "/studies/../../../etc/passwd",
        "/studies/..%2f..%2fetc%2fpasswd",
        "/studies/%2e%2e/%2e%2e/etc/passwd",
        "/studies/....//....//etc/passwd",
        "/studies/%00",
        "/studies/1.2.3%0a",
        "/studies/" + "1" * 65,
        "/studies/" + "1." * 5000 + "1",
        "/studies/1.2.3/series/../instances/x",
        "/Patient/..%2f../$wado-rs/studies/1.2.3",
        "/open/Patient/../../etc/$wado-rs/studies/1",
        "/%ff%fe",
        "//studies//1.2.3",
    ],
)
def test_paths_lead_nowhere_else(shop: Sandbox, path: str) -> None:
    for token in (None, shop.token("smart-1288992")):
        answer = get(shop.wado_url + path, token=token)
        assert answer.status in (400, 401, 403, 404), path
        assert b"root:" not in answer.body


def test_double_slashes_and_hosts_without_port_do_no_harm(shop: Sandbox) -> None:
    url = f"{shop.wado_url}//studies/{uid(shop, 'MR knee without contrast')}"
    answer = get(url, token=shop.token("smart-1288992"), headers={"Host": "127.0.0.1"})
    assert answer.status == 200
    bundle = get(f"{shop.open_fhir_url}/ImagingStudy", headers={"Host": "localhost"}).json()
    assert all(link["url"].startswith(shop.open_fhir_url) for link in bundle["link"])
    assert "localhost" not in str(bundle)


def test_a_foreign_wado_server_is_handed_out() -> None:
    with Sandbox(wado="http://127.0.0.1:9/dicom-web/") as sandbox:
        study = get(f"{sandbox.open_fhir_url}/ImagingStudy").json()["entry"][0]["resource"]
        assert study["contained"][0]["address"] == "http://127.0.0.1:9/dicom-web"
        smart = get(f"{sandbox.fhir_url}/.well-known/smart-configuration").json()
        assert smart["associated_endpoints"][0]["url"] == "http://127.0.0.1:9/dicom-web"


def test_the_chest_is_a_chest(shop: Sandbox) -> None:
    """Hounsfield units where anatomy wants them, the same bytes in every run, one second."""
    token = shop.token("smart-1288992")
    answer = get(f"{shop.wado_url}/studies/{uid(shop, CT)}", token=token, headers=ACCEPT)
    files = [pydicom.dcmread(BytesIO(part)) for part in parts(answer)]
    assert len(files) == 60
    files.sort(key=lambda d: -float(d.ImagePositionPatient[2]))
    gaps = np.diff([float(d.ImagePositionPatient[2]) for d in files])
    assert set(gaps) == {-5.0}
    volume = np.stack(
        [d.pixel_array.astype(int) * d.RescaleSlope + d.RescaleIntercept for d in files]
    )
    assert volume.shape == (60, 512, 512)
    middle = volume[30]
    lung = np.mean((middle > -950) & (middle < -700))
    soft = np.mean((middle > 0) & (middle < 100))
    fat = np.mean((middle > -150) & (middle < -60))
    bone = np.mean(middle > 300)
    assert 0.08 < lung < 0.25
    assert 0.03 < soft < 0.3
    assert 0.02 < fat < 0.2
    assert 0.005 < bone < 0.05
    assert np.mean(middle[:8] < -900) > 0.99  # air around the person
    first = files[0]
    assert list(first.WindowCenter) == [40, -600]
    assert len({str(d.FrameOfReferenceUID) for d in files}) == 1
    with Sandbox(retry_after=0) as other:
        again = get(
            f"{other.wado_url}/studies/{uid(other, CT)}",
            token=other.token("smart-1288992"),
            headers=ACCEPT,
        )
        assert parts(again) == parts(answer)


def test_film_and_mammogram_are_monochrome1(shop: Sandbox) -> None:
    """Low values are white there: dense tissue and bone are low, air is high."""
    film, left, right = (
        pydicom.dcmread(BytesIO(part))
        for description, patient in (
            ("XR chest, frontal", "smart-1288992"),
            ("Screening mammogram, both sides", "smart-1137192"),
        )
        for part in parts(
            get(
                f"{shop.wado_url}/studies/{uid(shop, description)}",
                token=shop.token(patient),
                headers=ACCEPT,
            )
        )
    )
    for image in (film, left, right):
        assert image.PhotometricInterpretation == "MONOCHROME1"
        assert image.pixel_array.max() <= 4095
    chest = film.pixel_array
    middle = chest[chest.shape[0] // 2]
    assert max(chest.shape) >= 1024
    assert min(max(left.pixel_array.shape), max(right.pixel_array.shape)) >= 1024
    assert np.mean(middle[500:524]) < np.mean(middle[290:310])  # the spine is denser than the lung
    assert np.mean(middle[290:310]) < np.mean(middle[2:12])  # and the lung than the air outside
    assert (left.ImageLaterality, right.ImageLaterality) == ("L", "R")
    breast, air = left.pixel_array[655, 250], left.pixel_array[655, 950]
    assert breast < air - 1000
    assert right.pixel_array[655, 709] < right.pixel_array[655, 9] - 1000


def test_stopping_removes_files_and_ends_streams(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    sandbox = Sandbox(retry_after=0).start()
    address = urlsplit(f"{sandbox.wado_url}/studies/{uid(sandbox, CT)}")
    token = sandbox.token("smart-1288992")
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    connection.request("GET", address.path, headers={"Authorization": f"Bearer {token}"})
    stream = connection.getresponse()
    stream.read(1000)
    (folder,) = tmp_path.iterdir()
    assert os.stat(folder).st_mode & 0o777 == 0o700
    started = time.monotonic()
    sandbox.stop()
    stopped_in = time.monotonic() - started
    connection.close()
    assert stopped_in < 5
    assert list(tmp_path.iterdir()) == []
    assert repr(sandbox) == "<Sandbox stopped>"
    with pytest.raises(RuntimeError, match="not running"):
        _ = sandbox.fhir_url


def test_a_process_that_never_stops_it_leaves_nothing(tmp_path) -> None:
    program = (
        "from s4s_notebook import Sandbox\n"
        "import urllib.request\n"
        "s = Sandbox(retry_after=0).start()\n"
        "studies = s.resources('ImagingStudy', 'smart-1288992')\n"
        "ct = next(x for x in studies if 'CT chest' in x['description'])\n"
        "url = s.wado_base('smart-1288992', open_=True) + '/studies/' + ct['uid'][8:]\n"
        "print(len(urllib.request.urlopen(url).read()))\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, timeout=60
    )
    assert done.returncode == 0
    assert int(done.stdout) > 31_000_000
    assert list(tmp_path.iterdir()) == []


def serve_readers(count: int) -> int:
    """Serve that many readers of 31 MB at once, and return the bytes that came."""
    with Sandbox(retry_after=0) as sandbox:
        address = urlsplit(f"{sandbox.wado_url}/studies/{uid(sandbox, CT)}")
        token = sandbox.token("smart-1288992")
        get(address.geturl(), token=token)
        readers = []
        for _ in range(count):
            connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
            connection.request("GET", address.path, headers={"Authorization": f"Bearer {token}"})
            readers.append((connection, connection.getresponse()))
        total = 0
        for connection, stream in readers:
            size = 0
            while piece := stream.read(1 << 20):
                size += len(piece)
            assert size == int(stream.headers["content-length"])
            total += size
            connection.close()
        return total


def test_memory_stays_small_with_many_readers() -> None:
    """Twenty streams at once: files go out in pieces."""
    one, size = measure(serve_readers, 1)
    twenty, total = measure(serve_readers, 20)
    assert total == 20 * size
    assert twenty < one + 100, (one, twenty)


def test_other_methods_are_refused(shop: Sandbox) -> None:
    url = f"{shop.wado_url}/studies/1.2.3"
    for method in ("POST", "PUT", "DELETE"):
        assert call(method, url).status == 405
