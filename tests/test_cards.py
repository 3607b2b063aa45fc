"""Cards: what each object shows of itself, without a name, an id of a patient, or a request."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

import s4s_notebook as s4s

PATIENT = "smart-1288992"


class Reader(HTMLParser):
    """Collects the text and the images, and checks that every element is closed."""

    def __init__(self, page):
        super().__init__()
        self.text, self.images, self.open = [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs))
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def shown(thing):
    reader = Reader(thing._repr_html_())
    assert all(
        image["alt"] and image["src"].startswith("data:image/png") for image in reader.images
    )
    assert repr(thing)
    return " ".join(reader.text), reader.images


@pytest.fixture(scope="module")
def sandbox():
    with s4s.Sandbox(retry_after=0) as running:
        yield running


def test_connection_store_and_sandbox(sandbox, tmp_path):
    with sandbox.connect(store=tmp_path / "store") as me:
        before = len(sandbox.requests)
        text, _ = shown(me)
        assert re.search(r"Approval approved until \d\d:\d\d \(.+\), renewed then", text)
        assert "Studies not requested yet" in text
        assert len(sandbox.requests) == before
        studies = me.studies()
        me.download(studies.iloc[0]).result()
        text, _ = shown(me)
        assert f"Studies {len(studies)}" in text
        assert "Downloaded 1 study" in text
        assert str(tmp_path / "store") in text
        assert PATIENT not in text
        text, _ = shown(me.store)
        assert "People 1, 0 of them complete" in text
        assert re.search(r"Downloaded \d+ files?, [\d.]+ [kM]B", text)
        assert PATIENT not in text
    text, _ = shown(sandbox)
    assert sandbox.fhir_url in text
    assert "Sandbox, stopped" in shown(s4s.Sandbox())[0]


def test_a_study_and_its_series(tmp_path):
    dataset = dcmread(get_testdata_file("CT_small.dcm"))
    dataset.StudyDescription, dataset.StudyDate = "Chest <b>low dose</b>", "20180503"
    dataset.PatientName = "Zebrowska"
    dataset.save_as(tmp_path / "a.dcm")
    study = s4s.read(tmp_path)
    text, [image] = shown(study)
    assert text.startswith("Chest <b>low dose</b>, 2018-05-03 ")
    assert "Zebrowska" not in text
    assert "CT" in image["alt"]
    assert study.uid in text
    text, [_] = shown(study.series[0])
    assert "128 x 128 pixels" in text


def test_a_study_without_a_picture(tmp_path):
    dataset = dcmread(get_testdata_file("CT_small.dcm"))
    del dataset.PixelData, dataset.StudyDate
    dataset.save_as(tmp_path / "a.dcm")
    text, images = shown(s4s.read(tmp_path))
    assert "Files 1" in text
    assert not images
