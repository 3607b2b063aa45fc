"""A volume of a 600-slice CT, and the header of 4,000 frames: ours and others', side by side.

`python -m tests.benchmarks imaging [slices]`. Each reads the same files in a process of its own,
so that its peak memory is its own; the fastest of three runs counts.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.imaging.make import enhanced, image, save

ROUNDS = 3
_MEMORY = "\nimport resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
PROGRAMS = {
    "s4s-notebook": """
import sys, s4s_notebook.imaging, s4s_notebook.imaging.volume, numpy as np
values = np.asarray(s4s_notebook.imaging.read(sys.argv[1]).series[0].volume())""",
    "pydicom + numpy": """
import sys, numpy as np, pydicom, pathlib
files = [pydicom.dcmread(path) for path in pathlib.Path(sys.argv[1]).iterdir()]
files.sort(key=lambda file: file.ImagePositionPatient[2])
values = np.stack([
    (f.pixel_array * f.RescaleSlope + f.RescaleIntercept).astype(np.int16) for f in files])""",
    "SimpleITK": """
import sys, SimpleITK
reader = SimpleITK.ImageSeriesReader()
reader.SetFileNames(reader.GetGDCMSeriesFileNames(sys.argv[1]))
values = SimpleITK.GetArrayViewFromImage(reader.Execute())""",
}
HEADERS = """
import sys, time, pydicom, pandas
from s4s_notebook.imaging import read
def clock(work):
    begin = time.perf_counter()
    return work(), time.perf_counter() - begin
work = lambda: sum(1 for _ in pydicom.dcmread(sys.argv[1], stop_before_pixels=True).iterall())
plain = min(clock(work)[1] for _ in range(3))
study, reading = min((clock(lambda: read(sys.argv[1])) for _ in range(3)), key=lambda run: run[1])
print(plain, reading, clock(study.tags)[1])"""
CUT = """
import sys, time
from s4s_notebook.imaging import read
from s4s_notebook.widgets.viewer.planes import Cuts
[series] = read(sys.argv[1]).series
begin = time.perf_counter()
cuts = Cuts()
cuts.cut(series, "1", cuts.planes(series)[0]["ids"][0])
print(time.perf_counter() - begin)"""


def _run(code: str, target: Path) -> tuple[float, float, float]:
    """Return seconds, seconds of processor time, and MiB of a process, without its imports."""
    imports, _, work = code.strip().partition("\n")
    clocks = "(time.perf_counter(), time.process_time())"
    timed = f"{imports}, time\nbegin = {clocks}\n{work}\nend = {clocks}"
    shown = "print(end[0] - begin[0], end[1] - begin[1])"
    command = [sys.executable, "-c", f"{timed}{_MEMORY}\n{shown}", str(target)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    memory, seconds, processor = map(float, done.stdout.split())
    return seconds, processor, memory


def _dcm2niix(target: Path, out: Path) -> float:
    program = Path(sys.executable).parent / "dcm2niix"
    begin = time.perf_counter()
    command = [str(program), "-z", "n", "-b", "n", "-o", str(out), str(target)]
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - begin


def _table(programs: dict[str, str], target: Path) -> dict[str, float]:
    result = {}
    for name, code in programs.items():
        runs = [_run(code, target) for _ in range(ROUNDS)]
        seconds, processor, memory = min(runs)
        processor = min(run[1] for run in runs)
        print(f"{name:24} {seconds:7.2f} s  {processor:7.2f} s of processor  {memory:7.0f} MiB")
        result[name] = seconds
    return result


def main(argv: list[str]) -> int:
    """Print times and memory; fail where ours takes longer than allowed."""
    slices = int(argv[0]) if argv else 600
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "ct"
        folder.mkdir()
        generator = np.random.default_rng(1)
        pixels = generator.integers(-1000, 2000, (512, 512)).astype(np.int16)
        for at in range(slices):
            place = [0, 0, at]
            made = image(np.roll(pixels, at), ImagePositionPatient=place, InstanceNumber=at + 1)
            save(made, folder / f"{at:04}.dcm")
        print(f"A volume of {slices} slices of 512 x 512:")
        seconds = _table(PROGRAMS, folder)
        (Path(root) / "out").mkdir()
        seconds["dcm2niix"] = min(_dcm2niix(folder, Path(root) / "out") for _ in range(ROUNDS))
        print(f"{'dcm2niix':24} {seconds['dcm2niix']:7.2f} s  (writes a file)")
        done = subprocess.run(
            [sys.executable, "-c", CUT, str(folder)], capture_output=True, check=True, text=True
        )
        print(f"{'the first cut':24} {float(done.stdout):7.2f} s  after the headers")
        large = save(enhanced([float(z) for z in range(4000)]), Path(root) / "large.dcm")
        done = subprocess.run(
            [sys.executable, "-c", HEADERS + _MEMORY, str(large)],
            capture_output=True, check=True, text=True,
        )  # fmt: skip
        plain, reading, tags, memory = map(float, done.stdout.split())
    ours = seconds.pop("s4s-notebook")
    print(f"volume: {ours / min(seconds.values()):.2f} x the fastest other (allowed: 1)")
    print(f"A file of 4,000 frames, {memory:.0f} MiB at most: pydicom's pass {plain:.2f} s,")
    print(f"reading {reading / plain:.2f} x that (allowed: 2), tags() {tags / plain:.2f} x")
    return int(ours > min(seconds.values()) or reading > 2 * plain)
