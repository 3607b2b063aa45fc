"""`python -m tests.benchmarks tables`: claims from bytes to both benefit frames.

The measure is `json.loads` over the same pages in the same process, one page at a time, results
dropped, the garbage collector as it is by default on both sides. Ways are taken in turn, `--rounds`
times; the ratio is that of the processor times, round by round, and its median counts.

The pages are made of CMS's own STU3 claims where `../shared/data` is beside the checkout, else
of the sandbox's; each claim gets an id and a time of its own.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from s4s_notebook import tables
from s4s_notebook.http import response as strict
from s4s_notebook.sandbox.data.archive import SampleArchive
from s4s_notebook.sandbox.resources import ResourceStore

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "fhir"
SOURCES = (
    "cms-ab2d-v1-stu3",
    "cms-bb2-web-v1-stu3",
    "cms-bcda-v1-stu3",
    "cms-bfd-v1-stu3",
    "cms-dpc-v1-stu3",
)
A_PAGE = 50
TAG = b"-pass-000000"  # written over to make further claims of the same pages
BOTH = ("benefits", "benefit_lines")


def claims() -> list[dict[str, Any]]:
    """The claims that are multiplied."""
    if SHARED.is_dir():
        from tests.tables.sources import read

        found = {
            (name, one["id"]): one
            for name in SOURCES
            for one in read(SHARED / name)
            if one["resourceType"] == "ExplanationOfBenefit" and "id" in one
        }
        return list(found.values())
    people = ("smart-1288992", "smart-1137192", "smart-1551992")
    return ResourceStore(people, SampleArchive(people), 1).of_type("ExplanationOfBenefit")


def pages(count: int) -> list[bytes]:
    """Search pages of `count` claims in all."""
    pool = claims()
    made = []
    for start in range(0, count, A_PAGE):
        entries = []
        for number in range(start, min(start + A_PAGE, count)):
            at = f"2020-06-{number % 28 + 1:02d}T03:{number // 60 % 60:02d}:{number % 60:02d}.5Z"
            one = {**pool[number % len(pool)], "meta": {"lastUpdated": at}}
            one["id"] = f"{one['id']}-{number}{TAG.decode()}"
            entries.append({"resource": one})
        bundle = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
        made.append(json.dumps(bundle).encode())
    return made


def drop(many: Iterable[bytes], loads: Callable[[bytes], Any] = json.loads) -> None:
    """The limit: parse each page and drop it."""
    for page in many:
        loads(page)


def build(many: Iterable[bytes], loads: Callable[[bytes], Any] = json.loads) -> Any:
    """Ours: parse each page into the frames and drop it."""
    builder = tables.builder(*BOTH, problems=[])
    for page in many:
        builder.add((loads(page),))
    return builder.frames()


def timed(way: Callable[..., Any], *arguments: Any) -> tuple[float, float]:
    """Wall and processor seconds."""
    gc.collect()
    wall, processor = time.perf_counter(), time.process_time()
    way(*arguments)
    return time.perf_counter() - wall, time.process_time() - processor


def speed(many: list[bytes], rounds: int) -> float:
    """Print the ratios; return the one that counts."""
    ways = {
        "json.loads alone": (drop, json.loads),
        "ours, on json.loads": (build, json.loads),
        "ours, on orjson": (build, orjson.loads),
        "ours, on the library's strict reader": (build, strict.parse_json),
    }
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (way, loads) in ways.items():
            runs[name].append(timed(way, many, loads))
    base = [processor for _, processor in runs["json.loads alone"]]
    ratio = 0.0
    for name, times in runs.items():
        ratios = [own / limit for (_, own), limit in zip(times, base, strict=True)]
        middle = statistics.median(ratios)
        wall = statistics.median(wall for wall, _ in times)
        print(f"  {name:38}{wall:7.2f} s{middle:7.2f} x  ({min(ratios):.2f}-{max(ratios):.2f})")
        if name == "ours, on json.loads":
            ratio = middle
    return ratio


def again(folder: Path, passes: int) -> Iterator[bytes]:
    """The pages of a folder `passes` times, each time with ids of their own."""
    for number in range(passes):
        tag = b"-pass-%06d" % number
        for path in sorted(folder.iterdir()):
            yield path.read_bytes().replace(TAG, tag)


def peak() -> float:
    """The most memory that this process has held, in MB; getrusage counts its parent's too."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def child(folder: Path, passes: int) -> None:
    """In a process of its own: seconds, peak memory and the size of the frames."""
    build(again(folder, 0))  # whatever is loaded late
    _, limit = timed(drop, again(folder, 1))
    started = peak()
    start = time.process_time()
    frames = build(again(folder, passes))
    seconds = time.process_time() - start
    limit += timed(drop, again(folder, 1))[1]
    size = sum(int(frame.memory_usage(deep=True).sum()) for frame in frames.values()) / 2**20
    grew = peak() - started
    rows = {name: len(frame) for name, frame in frames.items()}
    ratio = seconds / (limit / 2 * passes)  # other work on the machine slows both
    found = {"seconds": seconds, "ratio": ratio, "grew": grew, "frames": size, "rows": rows}
    print(json.dumps(found))


def growth(steps: list[int], many: list[bytes]) -> None:
    """Time and memory as the pages grow in number."""
    print("\n   claims    lines   seconds   json.loads   frames  peak growth  beyond the frames")
    with tempfile.TemporaryDirectory(prefix="s4s-tables-") as name:
        for number, page in enumerate(many):
            (Path(name) / f"{number:06d}.json").write_bytes(page)
        for passes in steps:
            command = [sys.executable, "-m", "tests.benchmarks", "tables", "--child", name]
            out = subprocess.run(
                [*command, str(passes)], check=True, capture_output=True, text=True
            )
            found = json.loads(out.stdout)
            count = found["rows"]["benefits"]
            print(
                f"{count:9,}{found['rows']['benefit_lines']:9,}{found['seconds']:9.1f} s"
                f"{found['ratio']:11.2f} x{found['frames']:6.0f} MB"
                f"{found['grew']:9.0f} MB{found['grew'] - found['frames']:13.0f} MB"
            )


PYRATE = """
import json, sys, time
from fhir_pyrate.util import FHIRObj
from fhir_pyrate import Pirate
bundles = [FHIRObj(**json.load(open(path))) for path in sys.argv[1:]]
pirate = Pirate(auth=None, base_url="http://localhost/", print_request_url=False)
paths = [("id", "id"), ("patient", "patient.reference"), ("start", "billablePeriod.start"),
         ("paid", "payment.amount.value")]
start = time.process_time()
frame = pirate.bundles_to_dataframe(bundles, fhir_paths=paths)
print(time.process_time() - start, len(frame))
"""


def pyrate(python: str, many: list[bytes], folder: Path) -> None:
    """FHIR-PYrate in an environment of its own and ours, from parsed pages on both sides."""
    few = many[: max(1, len(many) // 10)]
    paths = [folder / f"{number}.json" for number in range(len(few))]
    for path, page in zip(paths, few, strict=True):
        path.write_bytes(page)
    command = [python, "-c", PYRATE, *map(str, paths)]
    out = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, count = out.stdout.split()[-2:]
    theirs = float(seconds) / int(count)
    parsed = [json.loads(page) for page in few]
    builder = tables.builder(*BOTH, problems=[])
    start = time.process_time()
    frames = builder.add(parsed).frames().values()
    rows, columns = sum(map(len, frames)), sum(len(frame.columns) for frame in frames)
    own = (time.process_time() - start) / rows
    print(f"\nFHIR-PYrate, one frame of 4 columns: {theirs * 1e6:.0f} us a row ({count} rows)")
    print(f"ours, two frames of {columns} columns: {own * 1e6:.0f} us a row ({rows} rows)")
    print(f"{theirs / own:.0f} times faster a row; the aim is at least 15")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tables", description=__doc__)
    parser.add_argument("--claims", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--growth", action="store_true", help="time and memory to 100,000 claims")
    parser.add_argument("--pyrate", metavar="PYTHON", help="an interpreter with fhir-pyrate")
    parser.add_argument("--folder", type=Path, default=Path("/tmp"), help="for fhir-pyrate's pages")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        child(Path(options.child[0]), int(options.child[1]))
        return 0
    many = pages(options.claims)
    size = sum(map(len, many)) / 1e6
    origin = "CMS's STU3 claims" if SHARED.is_dir() else "the sandbox's claims"
    print(f"{options.claims:,} claims on {len(many)} pages, {size:.0f} MB, of {origin}")
    ratio = speed(many, options.rounds)
    print(f"  {ratio:.2f} times json.loads; the aim is at most 2.0")
    if options.growth:
        growth([1, 2, 5, 10], many)
    if options.pyrate:
        pyrate(options.pyrate, many, options.folder)
    return 0
