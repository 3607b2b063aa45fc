"""The sandbox's lists of a study's series and instances (QIDO-RS), and a client that reads them."""

from __future__ import annotations

import json

import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset

from s4s_notebook import Sandbox
from s4s_notebook.dicomweb.qido import list_instances
from tests.faultserver.holder import transport_to

from .conftest import get
from .test_wado_routes import CT, uid


def instances(answer) -> list[str]:
    return [item["00080018"]["Value"][0] for item in json.loads(answer.body)]


def test_a_list_comes_at_once_while_the_images_wait() -> None:
    with Sandbox(retry_after=300) as sandbox:
        study, token = uid(sandbox, CT), sandbox.token("smart-1288992")
        answer = get(f"{sandbox.wado_url}/studies/{study}/instances", token=token)
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/dicom+json"
        assert len(set(instances(answer))) == 60
        assert "warning" not in answer.headers
        assert get(f"{sandbox.wado_url}/studies/{study}", token=token).status == 503


def test_pages_and_the_warning_that_there_is_more() -> None:
    with Sandbox(list_limit=25) as sandbox:
        url = f"{sandbox.wado_url}/studies/{uid(sandbox, CT)}/instances"
        token = sandbox.token("smart-1288992")
        pages = [get(f"{url}?limit=40&offset={at}", token=token) for at in (0, 25, 50, 60)]
        assert [page.status for page in pages] == [200, 200, 200, 204]
        assert [len(instances(page)) for page in pages[:3]] == [25, 25, 10]
        assert ["warning" in page.headers for page in pages] == [True, True, False, False]
        assert pages[0].headers["warning"].startswith("299 ")
        with transport_to(sandbox.wado_url) as transport:
            base = f"{sandbox.wado_base('smart-1288992', open_=True)}/studies/{uid(sandbox, CT)}"
            listed = list_instances(transport, base)
    assert listed.exhausted
    assert len(listed.instances) == 60


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=-1", 400),
        ("offset=x", 400),
        ("PatientFoot=1", 400),
        ("limit=0", 204),
        ("includefield=all&InstanceNumber=7", 200),
        ("Modality=C?", 200),
        ("00080060=MR", 204),
    ],
)
def test_keys_and_bounds(shop: Sandbox, query: str, status: int) -> None:
    url = f"{shop.wado_url}/studies/{uid(shop, CT)}/instances?{query}"
    answer = get(url, token=shop.token("smart-1288992"))
    assert answer.status == status
    if "InstanceNumber" in query:
        assert len(instances(answer)) == 1


def test_what_may_not_be_read_is_not_listed(shop: Sandbox) -> None:
    url = f"{shop.wado_url}/studies/{uid(shop, CT)}/series"
    assert get(url).status == 401
    assert get(url, token=shop.token("smart-1551992")).status == 403
    assert (
        get(f"{shop.wado_url}/studies/1.2.3/series", token=shop.token("smart-1288992")).status
        == 404
    )
    with Sandbox(personality="broker-2018") as broker:
        url = f"{broker.wado_base('smart-1288992')}/studies/{uid(broker, CT)}/instances"
        assert get(url, token=broker.token("smart-1288992")).status == 404


def test_another_client_reads_the_lists(shop: Sandbox) -> None:
    base = shop.wado_base("smart-1288992", open_=True)
    client = DICOMwebClient(base)
    study = uid(shop, CT)
    (series,) = [Dataset.from_json(item) for item in client.search_for_series(study)]
    assert series.NumberOfSeriesRelatedInstances == 60
    found = client.search_for_instances(study, series.SeriesInstanceUID, limit=10, offset=55)
    assert [Dataset.from_json(item).InstanceNumber for item in found] == [56, 57, 58, 59, 60]


@pytest.mark.fault("J01")
@pytest.mark.parametrize("limit", [None, 7])
def test_a_cut_study_is_completed_from_the_list(limit: int | None, tmp_path) -> None:
    with Sandbox(retry_after=0, list_limit=limit) as sandbox:
        me = sandbox.connect("smart-1288992", store=tmp_path)
        ct = me.studies().query("description == @CT").iloc[0]
        sandbox.clear_requests()
        sandbox.script("*/studies/*", edit=lambda *answer: answer, cut=10_000_000)
        study = me.download(ct).result(60)
        assert len(study.paths) == 60
        paths = [request.path for request in sandbox.requests]
        pieces = [path for path in paths if "/instances/" in path]
        assert len(pieces) == len(set(pieces))
        assert 0 < len(pieces) < 60
        assert sum(path.endswith(study.uid) for path in paths) == 1
        me.close()
