"""The viewer's JavaScript, run by Node: its core, and its grey levels against ``render``."""

from __future__ import annotations

import base64
import io
import json
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from s4s_notebook.errors import S4SError
from s4s_notebook.imaging import Instance, Window, read, render
from s4s_notebook.widgets.viewer import Viewer, png
from s4s_notebook.widgets.viewer.pictures import described, packed, window

HERE = Path(__file__).parent
pytestmark = pytest.mark.needs("node")


def node(*arguments: str, given: bytes = b"") -> bytes:
    command = [shutil.which("node") or "node", *arguments]
    done = subprocess.run(command, input=given, capture_output=True, timeout=120)
    assert done.returncode == 0, (done.stdout[-4000:] + done.stderr[-4000:]).decode()
    return done.stdout


def test_the_core():
    assert b"# fail 0" in node("--test", "--test-reporter=tap", str(HERE / "viewer.test.mjs"))


def test_what_travels_is_one_module_under_150_kb(tmp_path):
    bundle = tmp_path / "viewer.mjs"
    bundle.write_text(Viewer._esm)
    assert len(bundle.read_bytes()) + len(Viewer._css.encode()) < 150_000
    node("--check", str(bundle))
    names = node("-e", f"import({str(bundle)!r}).then((m) => console.log(Object.keys(m).join()))")
    assert "default" in names.decode().strip().split(",")
    assert "innerHTML" not in Viewer._esm


def paint(pictures) -> list[np.ndarray]:
    """What the browser's painter makes of (frame, window or None)."""
    parts, shapes = [], []
    for frame, choice in pictures:
        message, buffers = packed(*described(frame, ""))
        about = {
            "slice": message,
            "window": None if choice is None else window(choice, []),
            "sizes": [view.nbytes for view in buffers],
        }
        head = json.dumps(about).encode()
        parts += [struct.pack("<I", len(head)), head, *map(bytes, buffers)]
        shapes.append((frame.rows, frame.columns, 3))
    made, at, found = node(str(HERE / "paint.mjs"), given=b"".join(parts)), 0, []
    for shape in shapes:
        size = int(np.prod(shape))
        found.append(np.frombuffer(made[at : at + size], np.uint8).reshape(shape))
        at += size
    assert at == len(made)
    return found


def frames():
    """First, middle and last frame of every picture that ships in pydicom and can be decoded."""
    own = Path(get_testdata_file("CT_small.dcm")).parent
    for path in sorted(one for one in own.rglob("*") if one.is_file()):
        try:
            many = read(path, force=True).series[0].frames
            for at in sorted({0, len(many) // 2, len(many) - 1} if many else ()):
                render(many[at])
                yield many[at]
        except (S4SError, IndexError):
            continue  # tests/imaging says what becomes of these


def windows(frame):
    yield None
    if frame.color:
        return
    values = frame.values()
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    middle, width = (low + high) / 2, max(high - low, 1.0)
    yield Window(middle, max(width / 37, 1.0))
    yield Window(middle + 0.3, width * 3)
    yield Window(low + 0.5, 1.0)
    yield Window(middle, width / 7, "LINEAR_EXACT")
    yield Window(middle, width / 3, "SIGMOID")


def test_grey_levels_equal_render_to_the_level():
    pictures = [(frame, choice) for frame in frames() for choice in windows(frame)]
    differing = []
    for (frame, choice), made in zip(pictures, paint(pictures), strict=True):
        wanted = render(frame, choice)
        wanted = wanted if wanted.ndim == 3 else np.repeat(wanted[..., None], 3, axis=2)
        if not np.array_equal(made, wanted):
            differing.append(f"{frame.instance.path} {frame.index} {choice}")
    assert not differing, "\n".join(differing)
    assert len(pictures) > 300
    kinds = {frame.photometric for frame, _ in pictures}
    assert {"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB"} <= kinds
    assert {frame.instance.signed for frame, _ in pictures} == {True, False}
    assert any(frame.padding for frame, _ in pictures)


def floats() -> pydicom.Dataset:
    dataset = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    del dataset.PixelData
    dataset.BitsAllocated = dataset.BitsStored = 32
    dataset.HighBit = 31
    dataset.RescaleSlope, dataset.RescaleIntercept = "0.1", "0.3"
    values = np.linspace(-2.5, 7.25, 64 * 64, dtype="<f4")
    values[0] = np.nan
    dataset.FloatPixelData = values.tobytes()
    return dataset


def test_floats_are_painted_as_render_does(tmp_path):
    floats().save_as(tmp_path / "a.dcm")
    frame = read(tmp_path / "a.dcm").series[0].frames[0]
    message, _ = packed(*described(frame, ""))
    assert message["type"] == "float32"
    choices = [None, Window(0.3, 0.4, "LINEAR_EXACT"), Window(0, 1.5)]
    for choice, made in zip(choices, paint([(frame, one) for one in choices]), strict=True):
        assert np.array_equal(made[..., 0], render(frame, choice)), choice


@pytest.mark.parametrize("shape", [(700, 900, 3), (512, 512), (16, 4000)])
def test_the_still_picture_leaves_a_notebook_below_a_megabyte(shape):
    """Noise, which no PNG can squeeze: each byte stands twice in the notebook, in base64."""
    values = np.random.default_rng(3).integers(0, 255, shape).astype(np.uint8)
    dataset = pydicom.dcmread(get_testdata_file("SC_rgb_small_odd.dcm"))
    dataset.Rows, dataset.Columns, dataset.PixelData = *shape[:2], values.tobytes()
    dataset.SamplesPerPixel = 3 if len(shape) == 3 else 1
    if dataset.SamplesPerPixel == 1:
        dataset.PhotometricInterpretation = "MONOCHROME2"
        del dataset.PlanarConfiguration
    frame = Instance.from_dataset(dataset).frames[0]
    picture = png(frame)
    code = len(Viewer._esm) + len(Viewer._css)
    assert 2 * len(base64.b64encode(picture)) + code < 900_000
    width, height = Image.open(io.BytesIO(picture)).size
    assert width / height == pytest.approx(shape[1] / shape[0], rel=0.05)
    assert max(width, height) > 250


def test_32_bit_values_travel_as_they_are():
    frame = read(get_testdata_file("rtdose.dcm")).series[0].frames[0]
    message, buffers = packed(*described(frame, ""))
    assert message["type"] == "uint32"
    sent = np.frombuffer(buffers[0], "<u4").reshape(frame.stored().shape)
    assert np.array_equal(sent, frame.stored())
