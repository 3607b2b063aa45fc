"""A plotted slice in the real applications: there once, with its text for a screen reader."""

from __future__ import annotations


def test_a_plot_stands_there_once_with_its_text(open_notebook, app) -> None:
    one = open_notebook(
        "from pydicom.data import get_testdata_file\n"
        "from s4s_notebook.imaging import read\n"
        "read(get_testdata_file('CT_small.dcm')).plot(window='lung')",
        app=app,
    )
    one.run_all()
    picture = one.cell(0).locator(".jp-OutputArea-output img")
    picture.wait_for(timeout=60_000)
    assert picture.count() == 1
    assert picture.get_attribute("alt").startswith("Medical image: CT, axial, slice 1 of 1.")
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 300
    assert one.page.get_by_role("img", name="Window lung, center -600, width 1500 HU").count() == 1
