"""``python -m tests.soak wait | busy | day``: long and crowded downloads, judged by the server.

``wait``: each study says "in 3 seconds" once; one call for all of them takes little longer.
``busy``: 30 % of the requests for images are answered 503 and 10 % of the instances are cut; one
call brings every instance, none twice. ``day``: see :mod:`tests.soak.day`.

The client is a process of its own with the limits that it ships with. The server asserts that no
more requests are under way than the limit of an origin.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from s4s_notebook.http.retry import WaitPolicy
from tests.connection.holder import Holder, Reply
from tests.store import dicom

from . import day

ROOT = Path(__file__).resolve().parents[2]
LIMIT = WaitPolicy().per_origin
CLIENT = """
import sys, time
from s4s_notebook.connection import Connection
with Connection(sys.argv[1], patient="p1", store=sys.argv[2]) as me:
    studies = me.studies()
    began = time.monotonic()
    result = me.download(studies).result()
    print(len(result), sum(len(study.paths) for study in result), time.monotonic() - began)
"""


class Crowded(Holder):
    """A holder that counts the requests under way."""

    def __init__(self) -> None:
        super().__init__()
        self.active = self.most = 0
        self.server.on("*", self.serve)

    def serve(self, talk: Any) -> None:
        with self.lock:
            self.active += 1
            self.most = max(self.most, self.active)
        try:
            Reply(self, talk).send()
        finally:
            with self.lock:
                self.active -= 1


def crowd(studies: int, instances: int, size: int = 2000) -> dict[str, dict[str, bytes]]:
    """``{Study Instance UID: {SOP Instance UID: file}}``, each study of one series."""
    made = {}
    for number in range(studies):
        study = f"1.2.3.{1000 + number}"
        made[study] = {
            f"{study}.1.{k}": dicom.make(
                f"{study}.1.{k}", study=study, series=f"{study}.1", size=size
            )
            for k in range(1, instances + 1)
        }
    return made


def download_all(holder: Crowded) -> float:
    """Download every study in a process of its own; return the seconds that the call took.

    Raises:
        SystemExit: something is missing or differs, or too many requests were under way.
    """
    with tempfile.TemporaryDirectory(prefix="s4s-soak-") as folder:
        command = [sys.executable, "-c", CLIENT, holder.fhir, folder]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"the client failed: {done.stderr[-2000:]}")
        files = {path.stem: path.read_bytes() for path in Path(folder).rglob("*.dcm")}
    studies, _, seconds = done.stdout.split()
    expected = {sop: data for study in holder.studies.values() for sop, data in study.items()}
    twice = sum(count > 1 for count in holder.sent.values())
    asked = holder.asked("/wado/")
    later = sum(status == 503 for _, path, status in holder.requests if "/wado/" in path)
    print(
        f"{studies} studies, {len(files)} of {len(expected)} instances in {float(seconds):.1f} s; "
        f"{len(asked)} requests for images, {later} put off, {twice} instances sent twice, "
        f"at most {holder.most} requests under way"
    )
    if files != expected or twice or holder.most > LIMIT:
        raise SystemExit("that is wrong")
    return float(seconds)


def wait(studies: int) -> float:
    """Download studies each of which is ready three seconds after the first request for it."""
    with Crowded() as holder:
        holder.studies, holder.page_size = crowd(studies, 1), studies
        holder.busy = {f"/studies/{uid}": ["3"] for uid in holder.studies}
        return download_all(holder)


def busy(studies: int, seed: int) -> float:
    """Download ten instances of each study from a holder that is busy and loses connections."""
    with Crowded() as holder:
        holder.studies, holder.page_size = crowd(studies, 10), studies
        holder.chance.seed(seed)
        holder.busy_share, holder.reset_share = 0.3, 0.1
        return download_all(holder)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.soak", description=__doc__)
    parser.add_argument("what", choices=["wait", "busy", "day"])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    if options.what == "day":
        return day.run(options.hours, options.seed)
    if options.what == "wait":
        wait(options.studies)
    else:
        busy(options.studies, options.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
