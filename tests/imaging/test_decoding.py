"""Compressed pixels: within a budget, in a child process that may die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from s4s_notebook.errors import DecodeFailed, InvalidDICOM, MalformedDICOM, PixelBudget
from s4s_notebook.imaging import decode_worker, pixels, read, render
from s4s_notebook.imaging.decode_worker import DecodePool, DecodeWorker
from s4s_notebook.imaging.instance import Instance

from .make import data, image, save


def compressed(frame: bytes, syntax: str, **elements) -> Instance:
    made = image(**elements)
    made.file_meta.TransferSyntaxUID = syntax
    made.PixelData = encapsulate([frame])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    return Instance.from_dataset(made)


@pytest.fixture
def no_codec(monkeypatch) -> list[int]:
    """Counts frames that reach a codec: none may."""
    asked: list[int] = []
    monkeypatch.setattr(decode_worker.worker, "decode", lambda *args: asked.append(1))
    return asked


@pytest.mark.fault("E04")
@pytest.mark.parametrize(
    "elements",
    [
        {"Rows": 65535, "Columns": 65535},
        {"Rows": 0},
        {"Columns": 0},
        {"BitsAllocated": 12, "BitsStored": 12},
        {"BitsStored": 17},
        {"BitsStored": 0},
        {"SamplesPerPixel": 7},
        {"Rows": 60000, "Columns": 600, "NumberOfFrames": 900000},
    ],
)
@pytest.mark.parametrize("syntax", [RLELossless, JPEGBaseline8Bit, JPEG2000Lossless])
def test_sizes_are_refused_before_decoding(elements, syntax, no_codec) -> None:
    with pytest.raises(PixelBudget):
        compressed(b"\0" * 64, syntax, **elements).frames[0].stored()
    assert no_codec == []


@pytest.mark.fault("E04")
@pytest.mark.parametrize("many", [2**31 - 1, 10**6 + 1, 500])
def test_more_frames_than_the_data_hold_are_not_made(many, tmp_path) -> None:
    path = save(image(NumberOfFrames=many), tmp_path / "a.dcm")
    study = read(path)
    assert len(study.series[0].frames) == 1
    assert any(problem.path == "NumberOfFrames" for problem in study.problems)
    many_frames = compressed(b"\0" * 64, RLELossless, NumberOfFrames=many)
    assert len(many_frames.frames) <= 8
    if many * 48 > pixels.FRAME_BUDGET * pixels.OBJECT_FRAMES:
        with pytest.raises(PixelBudget):
            study.series[0].frames[0].stored()


def jpeg(rows: int, columns: int) -> bytes:
    size = rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
    return b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x0b\x08" + size + b"\x01\x01\x11\0" + b"\xff\xd9"


def j2k(rows: int, columns: int) -> bytes:
    size = [columns, rows, 0, 0, columns, rows, 0, 0]
    siz = b"\0\0" + b"".join(one.to_bytes(4, "big") for one in size) + b"\0\x01\x0f\x01\x01"
    return b"\xff\x4f\xff\x51" + (len(siz) + 2).to_bytes(2, "big") + siz + b"\xff\xd9"


@pytest.mark.fault("E04")
@pytest.mark.parametrize(
    ("frame", "syntax"),
    [
        (jpeg(65500, 65500), JPEGBaseline8Bit),
        (j2k(2**31 - 1, 2**31 - 1), JPEG2000Lossless),
        (b"\0" * 90 + j2k(60000, 60000), JPEG2000Lossless),
        (b"\x01" + b"\0" * 10**6, RLELossless),
    ],
)
def test_a_bomb_inside_the_codestream_is_refused(frame, syntax, no_codec) -> None:
    with pytest.raises(PixelBudget) as caught:
        compressed(frame, syntax).frames[0].stored()
    assert "contradicts itself" in caught.value.hint
    assert no_codec == []


@pytest.mark.fault("E04")
def test_an_rle_bomb_costs_one_image(monkeypatch) -> None:
    runs = b"\x81\xaa" * 4 * 10**6  # 128 bytes out for each 2 in: 1 GiB for a picture of 8 MB
    head = (2).to_bytes(4, "little") + (64).to_bytes(4, "little")
    head += (64 + len(runs)).to_bytes(4, "little")
    frame = head.ljust(64, b"\0") + runs + runs[:1000]
    mine, started = DecodeWorker(), time.monotonic()
    monkeypatch.setattr(decode_worker, "worker", mine)
    try:
        assert render(dcmread(get_testdata_file("MR_small_RLE.dcm"))).shape == (64, 64)
        usual = psutil.Process(mine._process.pid).memory_info().rss
        with pytest.raises(DecodeFailed):
            compressed(frame, RLELossless, Rows=2000, Columns=2000).frames[0].stored()
        assert render(dcmread(get_testdata_file("MR_small_RLE.dcm"))).shape == (64, 64)
        peak = Path(f"/proc/{mine._process.pid}/status").read_text()
        peak_bytes = int(peak.split("VmHWM:")[1].split()[0]) * 1024
    finally:
        mine.close()
    assert peak_bytes - usual < 256 * 2**20
    assert time.monotonic() - started < 60


@pytest.mark.fault("E04")
def test_the_budget_is_told_in_full() -> None:
    with pytest.raises(PixelBudget, match="the limit is 512 MiB") as caught:
        compressed(b"\0" * 64, RLELossless, Rows=40000, Columns=40000).frames[0].stored()
    assert "FRAME_BUDGET" in caught.value.hint


def test_the_budget_can_be_raised(monkeypatch) -> None:
    frame = Instance.from_dataset(image(np.zeros((100, 100), np.uint8))).frames[0]
    monkeypatch.setattr(pixels, "FRAME_BUDGET", 9999)
    with pytest.raises(PixelBudget):
        frame.stored()
    monkeypatch.setattr(pixels, "FRAME_BUDGET", 10000)
    assert frame.stored().size == 10000


DIES = """
import ctypes, os, sys
from pydicom.pixels.decoders.base import Decoder
from s4s_notebook.imaging import decode_child
whole = Decoder.as_array
def decode(self, src, **options):
    if options["rows"] == {rows}:
        {how}
    return whole(self, src, **options)
Decoder.as_array = decode
decode_child.main()
"""


HALF = b'{"bytes": 8192, "dtype": "<i2", "shape": [64, 64]}\n12'
OBJECTS = b'{"bytes": 8, "dtype": "|O8", "shape": [1]}\n12345678'


def worker_that(how: str, seconds: float = 20.0) -> DecodeWorker:
    """A real child whose codec does something bad to pictures of 64 rows."""
    return DecodeWorker([sys.executable, "-c", DIES.format(rows=64, how=how)], seconds)


@pytest.mark.fault("E07")
@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("ctypes.string_at(0)", "died"),
        ("sys.exit(3)", "died"),
        ("import os; os.abort()", "died"),
        ("while True: pass", "did not finish"),
        ("bytearray(2**34)", "MemoryError"),
        ("sys.__stdout__.buffer.write(b'nonsense' * 9); sys.__stdout__.flush()", "died"),
        (f"os.write(1, {HALF!r}); os._exit(0)", "died"),
        (f"os.write(1, {OBJECTS!r})", "died"),
    ],
)
def test_a_codec_that_dies_costs_one_image(how, why, monkeypatch) -> None:
    small = dcmread(get_testdata_file("MR_small_RLE.dcm"))
    other = dcmread(get_testdata_file("SC_rgb_rle.dcm"))
    mine = worker_that(how, 3.0 if "while" in how else 20.0)
    monkeypatch.setattr(decode_worker, "worker", mine)
    try:
        assert render(other).shape == (100, 100, 3)
        with pytest.raises(DecodeFailed, match=why) as caught:
            render(small)
        assert "other images" in caught.value.hint or why == "MemoryError"
        assert render(other).shape == (100, 100, 3)
    finally:
        mine.close()


@pytest.mark.fault("E07")
def test_in_a_montage_the_other_slices_are_drawn(monkeypatch, tmp_path) -> None:
    for at, name in enumerate(("MR_small_RLE.dcm", "MR_small.dcm")):
        made = dcmread(get_testdata_file(name))
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"1.2.{at}"
        made.ImagePositionPatient = [0, 0, at]
        made.save_as(tmp_path / name)
    mine = worker_that("ctypes.string_at(0)")
    monkeypatch.setattr(decode_worker, "worker", mine)
    try:
        axes = read(tmp_path).plot(frame="montage", window=(600, 1600)).axes
    finally:
        mine.close()
    assert [len(axis.images) for axis in axes[:2]] == [0, 1]
    assert any("DecodeFailed" in text.get_text() for text in axes[0].texts)


@pytest.mark.fault("E07")
def test_the_child_has_limits_and_no_secrets(monkeypatch) -> None:
    monkeypatch.setenv("CANARY_TOKEN", "canary-in-the-environment")
    mine = DecodeWorker()
    monkeypatch.setattr(decode_worker, "worker", mine)
    try:
        render(dcmread(get_testdata_file("MR_small_RLE.dcm")))
        child = psutil.Process(mine._process.pid)
        assert "CANARY_TOKEN" not in child.environ()
        soft, _ = child.rlimit(psutil.RLIMIT_AS)
        assert 0 < soft < 2**31
        assert child.rlimit(psutil.RLIMIT_CORE)[0] == 0
    finally:
        mine.close()
    assert not psutil.pid_exists(child.pid)


def test_the_child_ends_with_its_parent() -> None:
    code = (
        "from pydicom.data import get_testdata_file as file\n"
        "from s4s_notebook.imaging import decode_worker, render\n"
        "render(file('MR_small_RLE.dcm'))\n"
        "print(decode_worker.worker.workers[0]._process.pid, flush=True)\n"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    pid = int(done.stdout)
    for _ in range(100):
        if not psutil.pid_exists(pid):
            break
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)


def test_many_threads_share_the_child() -> None:
    frames = read(get_testdata_file("examples_ybr_color.dcm")).series[0].frames
    seen: list[tuple[int, np.ndarray]] = []
    threads = [
        threading.Thread(target=lambda at=at: seen.append((at, frames[at].stored())))
        for at in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert all(np.array_equal(array, frames[at].stored()) for at, array in seen)
    assert len({array.tobytes() for _, array in seen}) == 8


@pytest.mark.fault("E07")
def test_an_interrupt_leaves_no_stale_answer(monkeypatch) -> None:
    """■ while a codec works: the next picture must not be the one that was given up."""
    mine = worker_that("import time; time.sleep(1)")
    monkeypatch.setattr(decode_worker, "worker", mine)
    slow = dcmread(get_testdata_file("MR_small_RLE.dcm"))
    other = dcmread(get_testdata_file("SC_rgb_rle.dcm"))
    render(other)
    timer = threading.Timer(0.3, signal.raise_signal, (signal.SIGINT,))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            render(slow)
        time.sleep(1)
        assert render(other).shape == (100, 100, 3)
    finally:
        mine.close()


@pytest.mark.fault("E07")
def test_a_hung_codec_ends_without_its_parent(monkeypatch) -> None:
    """The parent is gone while a codec spins: the processor time limit ends it."""
    mine = worker_that("while True: pass", seconds=0.5)
    timers: list[threading.Timer] = []
    monkeypatch.setattr(decode_worker, "_kill", lambda *args: timers.append(1))
    monkeypatch.setattr(decode_worker, "worker", mine)
    try:
        started = time.monotonic()
        with pytest.raises(DecodeFailed, match="died"):
            render(dcmread(get_testdata_file("MR_small_RLE.dcm")))
        assert timers
        assert time.monotonic() - started < 60
    finally:
        mine.close()


def decode_at_once(pool: DecodePool, slow: Dataset, others: int) -> tuple[list[str], float]:
    """Decode one slow picture and others on a thread each; return what failed, and the seconds."""
    small = get_testdata_file("SC_rgb_rle.dcm")
    failed: list[str] = []
    started = time.monotonic()

    def work(dataset: Dataset) -> None:
        try:
            render(dataset)
        except DecodeFailed as error:
            failed.append(error.problem)

    hung = threading.Thread(target=work, args=(slow,))
    hung.start()
    while not pool.workers:
        time.sleep(0.01)
    threads = [threading.Thread(target=work, args=(dcmread(small),)) for _ in range(others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - started
    assert failed == []
    assert hung.is_alive()
    hung.join()
    return failed, seconds


@pytest.mark.fault("M10")
def test_nineteen_images_come_while_the_twentieth_hangs(monkeypatch) -> None:
    command = [sys.executable, "-c", DIES.format(rows=64, how="import time; time.sleep(600)")]
    pool = DecodePool(command=command, seconds=6.0)
    monkeypatch.setattr(decode_worker, "worker", pool)
    try:
        failed, seconds = decode_at_once(pool, dcmread(get_testdata_file("MR_small_RLE.dcm")), 19)
        assert seconds < 5.0
        assert ["did not finish" in problem for problem in failed] == [True]
        assert 2 <= len(pool.workers) <= decode_worker.CHILDREN
        for _ in range(3):  # the place of the one that hung is free again
            assert render(get_testdata_file("SC_rgb_rle.dcm")).shape == (100, 100, 3)
    finally:
        pool.close()


def test_one_image_after_the_other_needs_one_child(monkeypatch) -> None:
    pool = DecodePool()
    monkeypatch.setattr(decode_worker, "worker", pool)
    try:
        for _ in range(5):
            render(get_testdata_file("SC_rgb_rle.dcm"))
        assert len(pool.workers) == 1
    finally:
        pool.close()


UNLIMITED = """
import resource, sys
from s4s_notebook.imaging import decode_child
whole = resource.setrlimit
def refuse(limit, values):  # as macOS does
    if limit == resource.RLIMIT_AS:
        raise ValueError("current limit exceeds maximum limit")
    whole(limit, values)
resource.setrlimit = refuse
decode_child.main()
"""


@pytest.mark.fault("M09")
def test_without_a_limit_on_memory_images_are_decoded_and_it_is_said_once(monkeypatch) -> None:
    monkeypatch.setattr(decode_worker, "_warned", False)
    pool = DecodePool(command=[sys.executable, "-c", UNLIMITED])
    monkeypatch.setattr(decode_worker, "worker", pool)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                assert render(get_testdata_file("SC_rgb_rle.dcm")).shape == (100, 100, 3)
        assert [item.category for item in caught] == [RuntimeWarning]
        assert "no limit on the memory" in str(caught[0].message)
        [worker] = pool.workers
        child = psutil.Process(worker._process.pid)
        assert child.rlimit(psutil.RLIMIT_AS)[0] == psutil.RLIM_INFINITY
        assert child.rlimit(psutil.RLIMIT_CPU)[0] != psutil.RLIM_INFINITY  # the others hold
        assert child.rlimit(psutil.RLIMIT_CORE)[0] == 0
    finally:
        pool.close()


@pytest.mark.fault("M09")
def test_a_limit_that_a_cluster_set_lower_stays(monkeypatch) -> None:
    """`ulimit -v`: the system itself refuses what is higher than the hard limit."""
    limit = 2**30
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))\n"
        "from s4s_notebook.imaging import decode_child; decode_child.ROOM = 2**32\n"
        "decode_child.main()"
    )
    pool = DecodePool(command=[sys.executable, "-c", code])
    monkeypatch.setattr(decode_worker, "worker", pool)
    try:
        assert render(get_testdata_file("SC_rgb_rle.dcm")).shape == (100, 100, 3)
        child = psutil.Process(pool.workers[0]._process.pid)
        assert child.rlimit(psutil.RLIMIT_AS) == (limit, limit)
    finally:
        pool.close()


def test_a_forked_process_has_a_child_of_its_own() -> None:
    code = (
        "import os\n"
        "from pydicom.data import get_testdata_file as file\n"
        "from s4s_notebook.imaging import decode_worker, render\n"
        "render(file('MR_small_RLE.dcm'))\nmine = decode_worker.worker.workers[0]._process.pid\n"
        "if (pid := os.fork()) == 0:\n"
        "    same = render(file('SC_rgb_rle.dcm')).shape == (100, 100, 3)\n"
        "    decode_worker.worker.close()\n"
        "    os._exit(0 if same else 1)\n"
        "print(os.waitpid(pid, 0)[1], render(file('SC_rgb_rle.dcm')).shape)\n"
        "print(decode_worker.worker.workers[0]._process.pid == mine)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0 (100, 100, 3)\nTrue\n"


def test_uncompressed_pixels_need_no_child(tmp_path) -> None:
    code = (
        "import sys\nfrom s4s_notebook.imaging import decode_worker, render\n"
        "render(sys.argv[1])\nprint(decode_worker.worker.workers)\n"
    )
    path = save(image(), tmp_path / "a.dcm")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


@pytest.mark.fault("E08")
@pytest.mark.parametrize(
    ("name", "needs"),
    [("MR_small_jpeg_ls_lossless.dcm", "JPEG-LS"), ("SC_rgb_jpeg_gdcm.dcm", "JPEG Lossless")],
)
def test_a_missing_codec_says_what_to_install(name, needs) -> None:
    code = (
        "import sys\n"
        "for name in ('gdcm', 'jpeg_ls', 'openjpeg', 'pylibjpeg'):\n"
        "    sys.modules[name] = None\n"
        "from s4s_notebook.errors import MissingCodec\n"
        "from s4s_notebook.imaging import read, render\n"
        "study = read(sys.argv[1])\n"
        "print(study.series[0].frames[0].rows, len(study.tags()) > 20)\n"
        "try:\n    render(sys.argv[1])\nexcept MissingCodec as error:\n    print(error)\n"
    )
    path = get_testdata_file(name)
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    assert needs in done.stdout
    assert "pip install 's4s-notebook[codecs]'" in done.stdout
    assert "True" in done.stdout.splitlines()[0]


def test_compressed_frames_are_cut_from_the_file_one_by_one(tmp_path) -> None:
    """Frame n of 30, without the others being decoded or the file being read whole."""
    frames = read(get_testdata_file("examples_ybr_color.dcm")).series[0].frames
    whole = dcmread(get_testdata_file("examples_ybr_color.dcm")).pixel_array
    for at in (0, 17, 29):
        assert np.array_equal(frames[at].stored(), whole[at])


def test_an_extended_offset_table_is_used() -> None:
    made = dcmread(get_testdata_file("SC_rgb_rle_2frame.dcm"))
    whole = made.pixel_array
    from pydicom.encaps import encapsulate_extended, generate_frames

    frames = list(generate_frames(made.PixelData, number_of_frames=2))
    made.PixelData, offsets, lengths = encapsulate_extended(frames)
    made.ExtendedOffsetTable, made.ExtendedOffsetTableLengths = offsets, lengths
    for frame in Instance.from_dataset(made).frames:
        assert np.array_equal(frame.stored(), whole[frame.index])


def test_the_extra_codecs_read_every_syntax_that_is_promised() -> None:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import (
        HTJ2K,
        JPEG2000,
        HTJ2KLossless,
        JPEG2000Lossless,
        JPEGBaseline8Bit,
        JPEGExtended12Bit,
        JPEGLossless,
        JPEGLosslessSV1,
        JPEGLSLossless,
        JPEGLSNearLossless,
        RLELossless,
    )  # fmt: skip

    promised = (
        HTJ2K, HTJ2KLossless, JPEG2000, JPEG2000Lossless, JPEGBaseline8Bit, JPEGExtended12Bit,
        JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEGLSNearLossless, RLELossless,
    )  # fmt: skip
    assert [uid.name for uid in promised if not get_decoder(uid).is_available] == []


def test_truncated_pixels_are_refused(tmp_path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(data(image())[:-1])
    with pytest.raises(MalformedDICOM):
        render(path)
    made = image()
    made.PixelData = made.PixelData[:-2]
    with pytest.raises(MalformedDICOM, match="46 bytes of 48"):
        render(made)


def test_the_child_is_found_from_any_folder(tmp_path) -> None:
    code = (
        "from pydicom.data import get_testdata_file as file\n"
        "from s4s_notebook.imaging import render\n"
        "print(render(file('MR_small_RLE.dcm')).shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.stdout.strip() == "(64, 64)"


def test_what_render_takes() -> None:
    path = get_testdata_file("CT_small.dcm")
    [instance] = read(path).instances
    picture = render(instance.frames[0])
    assert (picture.dtype, picture.shape) == (np.uint8, (128, 128))
    for one in (path, Path(path), dcmread(path), instance):
        assert np.array_equal(render(one), picture)
    assert render(get_testdata_file("examples_rgb_color.dcm")).shape == (240, 320, 3)


def test_what_is_no_image_for_render(tmp_path) -> None:
    study = read(get_testdata_file("CT_small.dcm"))
    for one in (study, study.series[0], [], None, 3, b"DICM", np.zeros((4, 4))):
        with pytest.raises(TypeError, match=f"not {type(one).__name__}"):
            render(one)
    with pytest.raises(InvalidDICOM, match="no file"):
        render(tmp_path / "nowhere.dcm")
    with pytest.raises(InvalidDICOM, match="directory"):
        render(tmp_path)
