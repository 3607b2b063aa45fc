"""The picture in a notebook: once, with its text, without a name."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest
from nbconvert import HTMLExporter
from PIL import Image
from pydicom.data import get_testdata_file

from s4s_notebook.errors import NotAnImage
from s4s_notebook.imaging import read, render

from .make import CORONAL, image, save, stack

HU = np.arange(-1000, 1000, dtype=np.int16).reshape(40, 50)


@pytest.fixture
def study(tmp_path):
    stack(tmp_path, [(0, 0, 2.0 * z) for z in range(20)])
    return read(tmp_path)


def texts(figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def test_the_middle_slice_by_default(study) -> None:
    figure = study.plot()
    assert len(figure.axes[0].images) == 1
    assert "slice 11 of 20" in figure.get_suptitle()
    assert "slice 11 of 20" in figure.alt
    shown = figure.axes[0].images[0].get_array()
    series = study.series[0]
    assert np.array_equal(shown, render(series.frames[10], series.grey_range))


def test_one_slice_several_and_a_montage(study) -> None:
    assert "slice 1 of 20" in study.plot(frame=0).alt
    assert "slice 20 of 20" in study.plot(frame=-1).alt
    several = study.plot(frame=[0, 5, 19])
    assert [axis.get_title() for axis in several.axes[:3]] == ["1", "6", "20"]
    assert "3 of 20 slices" in several.alt
    montage = study.plot(frame="montage")
    assert sum(len(axis.images) for axis in montage.axes[:12]) == 12
    with pytest.raises(IndexError, match="20 slices"):
        study.plot(frame=20)
    with pytest.raises(ValueError, match="No window is called 'mosaic'"):
        study.plot(frame="mosaic")
    with pytest.raises(ValueError, match="montage"):
        study.plot(frame=1.5)
    with pytest.raises(ValueError, match="No slice"):
        study.plot(frame=[])
    with pytest.raises(IndexError, match="no series 7: the study has 1 series"):
        study.plot(7)
    with pytest.raises(IndexError, match="no series -2"):
        study.tags(-2)


def test_window_unit_letters_scale(tmp_path) -> None:
    made = image(np.repeat(np.repeat(HU, 4, 0), 4, 1), PixelSpacing=[1, 1])
    figure = read(save(made, tmp_path / "a.dcm")).plot(window="lung")
    bar = figure.axes[1]
    assert bar.get_ylabel() == "HU"
    assert bar.get_ylim() == (-1350, 150)
    assert {"R", "L", "A", "P", "5 cm"} <= set(texts(figure))
    assert figure.alt == (
        "Medical image: CT, Chest, axial, slice 1 of 1. Window lung, center -600, width 1500 HU. "
        "200 x 160 pixels of 1 x 1 mm."
    )
    bare = read(tmp_path).plot(colorbar=False, letters=False, scale=False)
    assert len(bare.axes) == 1
    assert texts(bare) == []


def places(figure) -> list[list[float]]:
    """Where each slice and the colour bar lie, and how much each shows."""
    figure.png()
    return [[*axis.get_position().bounds, *axis.get_xlim()] for axis in figure.axes]


def test_what_lies_on_a_slice_does_not_move_it(tmp_path) -> None:
    """The bar of one ends at its edge, the words of the other reach over it."""
    stack(tmp_path, [(0, 0, z) for z in range(12)], PixelSpacing=[1.3, 1.3])
    for study, columns in ((read(get_testdata_file("rtdose.dcm")), 4), (read(tmp_path), 12)):
        bare = study.plot(frame="montage", columns=columns, letters=False, scale=False)
        assert places(study.plot(frame="montage", columns=columns)) == places(bare)


def test_the_scale_bar_is_seen_on_white(tmp_path) -> None:
    white = image(np.full((100, 100), 1000, np.int16), PixelSpacing=[1, 1])
    figure = read(save(white, tmp_path / "a.dcm")).plot(window=(0, 10), letters=False)
    line = np.array(figure.axes[0].lines[0].get_xydata())
    shown = np.asarray(Image.open(io.BytesIO(figure.png())).convert("L"))
    x, y = figure.axes[0].transData.transform(line).mean(axis=0)
    around = shown[round(shown.shape[0] - y) + np.arange(-4, 5), round(x)]
    assert around.max() == 255
    assert around.min() < 160


def test_letters_of_a_coronal_slice(tmp_path) -> None:
    stack(tmp_path, [(0, 0, 0)], CORONAL)
    axis = read(tmp_path).plot().axes[0]
    placed = {text.get_text(): text.get_position() for text in axis.texts}
    assert placed["R"][0] < 0.1
    assert placed["L"][0] > 0.9
    assert placed["H"][1] > 0.9
    assert placed["F"][1] < 0.1


def test_letters_of_a_projection(tmp_path) -> None:
    none = {"ImageOrientationPatient": None, "ImagePositionPatient": None}
    made = image(HU, Modality="DX", PatientOrientation=["P", "F"], **none)
    axis = read(save(made, tmp_path / "a.dcm")).plot().axes[0]
    placed = {text.get_text(): text.get_position() for text in axis.texts}
    assert placed["P"][0] > 0.9
    assert placed["A"][0] < 0.1
    assert placed["H"][1] > 0.9
    made.PatientOrientation = ["XQ", "F"]
    axis = read(save(made, tmp_path / "a.dcm")).plot(scale=False).axes[0]
    assert len(axis.texts) == 0


def test_pixels_that_are_not_square(tmp_path) -> None:
    made = image(np.zeros((40, 50), np.int16), PixelSpacing=[2, 0.5])
    axis = read(save(made, tmp_path / "a.dcm")).plot().axes[0]
    assert axis.get_aspect() == 4


def test_a_montage_is_comparable(tmp_path) -> None:
    """Without a window of their own, all slices get one; the colour bar belongs to all."""
    stack(tmp_path, [(0, 0, z) for z in range(5)])
    figure = read(tmp_path).plot(frame="montage")
    means = [axis.images[0].get_array().mean() for axis in figure.axes[:5]]
    assert means == sorted(set(means))
    assert figure.axes[-1].get_ylabel() == "HU"


def test_windows_that_differ_are_not_given_one_colour_bar(tmp_path) -> None:
    for at in range(2):
        made = image(HU, WindowCenter=at * 100, WindowWidth=400, ImagePositionPatient=[0, 0, at])
        save(made, tmp_path / f"{at}.dcm")
    figure = read(tmp_path).plot(frame="montage")
    assert len(figure.axes) == 2
    assert "Each with its own window" in figure.alt


def test_the_name_only_when_asked(study) -> None:
    assert "Canary" not in study.plot().get_suptitle() + study.plot().alt
    assert "Canary^Person" in study.plot(name=True).get_suptitle()
    assert "Canary" not in study.plot(name=True).alt


@pytest.mark.fault("E10")
@pytest.mark.parametrize("text", ["$\\frac{1}{$", "100 % ^_{}", "\u80ba\u202e\u0627", "\U0001f600"])
def test_any_description_can_be_drawn(text, tmp_path) -> None:
    made = image(SeriesDescription=text, SpecificCharacterSet="ISO_IR 192", PatientName=text)
    figure = read(save(made, tmp_path / "a.dcm")).plot(name=True)
    figure.savefig(io.BytesIO(), format="png")
    assert "\u202e" not in figure.get_suptitle()


def test_monochrome1_is_shown_inverted(tmp_path) -> None:
    for name in ("MONOCHROME1", "MONOCHROME2"):
        save(image(HU, PhotometricInterpretation=name), tmp_path / f"{name}.dcm")
    one = read(tmp_path / "MONOCHROME1.dcm").plot().axes
    two = read(tmp_path / "MONOCHROME2.dcm").plot().axes
    assert (one[0].images[0].get_array()[0, 0], two[0].images[0].get_array()[0, 0]) == (255, 0)
    bars = [axes[1].collections[-1].cmap(0.0)[0] for axes in (one, two)]
    assert bars == [1.0, 0.0]


def test_nothing_to_draw(tmp_path) -> None:
    with pytest.raises(NotAnImage, match="Comprehensive SR"):
        read(get_testdata_file("test-SR.dcm")).plot()


def test_the_picture_is_small_and_upright(tmp_path) -> None:
    made = image(np.pad(np.full((100, 300), 1000, np.int16), ((0, 200), (0, 0))))
    made.PixelSpacing = [1, 1]
    data, metadata = read(save(made, tmp_path / "a.dcm")).plot()._repr_mimebundle_()
    png = base64.b64decode(data["image/png"])
    assert len(png) < 300_000
    picture = np.array(Image.open(io.BytesIO(png)).convert("L"))
    height, width = picture.shape
    middle = picture[int(height * 0.2) : int(height * 0.9), width // 2]
    assert middle[0] > 250  # the bright third is above
    assert middle[-1] < 5
    assert metadata["image/png"]["alt"] == data["text/plain"]


NOTEBOOK = """
{first}
from s4s_notebook.imaging import read
study = read({path!r})
"""


@pytest.mark.parametrize("first", ["", "%matplotlib inline", "import matplotlib.pyplot as plt"])
def test_a_notebook_shows_it_once_with_its_text(study, tmp_path, first) -> None:
    """A real kernel: the output, its alt text, and what nbconvert makes of both."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        nbformat.v4.new_code_cell(NOTEBOOK.format(first=first, path=str(tmp_path))),
        nbformat.v4.new_code_cell("study.plot()"),
        nbformat.v4.new_code_cell("figure = study.plot()"),
        nbformat.v4.new_code_cell("study"),
    ]
    client = nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3")
    client.execute()
    shown, silent, table = (cell.outputs for cell in notebook.cells[1:])
    assert [output.output_type for output in shown] == ["execute_result"]
    assert "image/png" in shown[0].data
    assert shown[0].metadata["image/png"]["alt"].startswith("Medical image: CT, Chest, axial")
    assert silent == []
    assert "text/html" in table[0].data
    assert "Canary" not in nbformat.writes(notebook)
    page, _ = HTMLExporter().from_notebook_node(notebook)
    pictures = re.findall(r"<img[^>]*data:image/png[^>]*>", page, re.DOTALL)
    assert len(pictures) == 2  # the plot, and the thumbnail on the study's card
    assert all(re.search(r'alt="[^"]', picture) for picture in pictures)
    assert 'alt="Medical image: CT, Chest' in page


def test_no_pyplot_is_loaded(tmp_path) -> None:
    path = save(image(), tmp_path / "a.dcm")
    code = (
        "import sys\nfrom s4s_notebook.imaging import read\n"
        "read(sys.argv[1]).plot().savefig(sys.argv[2])\n"
        "print('matplotlib.pyplot' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(path), str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert Path(tmp_path / "a.png").stat().st_size > 5000
