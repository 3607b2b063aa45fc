"""``python -m tests.crash --kills N``: kill -9 a download N times, and count what it cost.

A holder in this process serves one study, slowly. A client process downloads it into a store and
is killed at a random moment after it began (imports do not count), again and again; when a
download ends whole, the next one begins with an empty store. After each kill the store is looked
at from outside, with nothing but the index and the files: *lost* counts instances that were filed
before and are no longer there or differ, or files that stand there without a record; *refetched*
counts instances that the holder sent again although the store had them; *short* counts looks at a
study that was called complete although instances were missing. ``--holder limited`` announces no
number of instances and lists seven at a time, without a word that there are more.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from s4s_notebook.store import Store
from tests.connection.holder import Holder
from tests.store import dicom

ROOT = Path(__file__).resolve().parents[2]
CLIENT = """
import sys
from s4s_notebook.connection import Connection
print("begun", flush=True)
with Connection(sys.argv[2], patient="p1", store=sys.argv[1]) as me:
    download = me.download(sys.argv[3])
    while not download.done():
        download._ended.wait(1)
    if download.state.error is not None:
        raise download.state.error
"""


class Crash:
    """One store, one holder, and the count of what the kills cost."""

    def __init__(self, root: Path, holder: Holder, seed: int) -> None:
        self.root, self.holder, self.chance = root, holder, random.Random(seed)
        self.lost = self.refetched = self.kills = self.whole = self.amid = self.short = 0
        self.have: dict[str, str] = {}
        self.longest = 2.0

    def run(self) -> None:
        """Start a client and kill it, or see it end."""
        self.holder.sent.clear()
        command = [sys.executable, "-c", CLIENT, str(self.root), self.holder.fhir, dicom.STUDY]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        client = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
        assert client.stdout is not None
        client.stdout.readline()
        began, before = time.monotonic(), len(self.have)
        try:
            _, said = client.communicate(timeout=self.chance.uniform(0.0, self.longest))
        except subprocess.TimeoutExpired:
            client.kill()
            client.communicate()
            self.kills += 1
        else:
            if client.returncode:
                raise SystemExit(f"the client failed by itself: {said[-2000:]}")
            self.longest = (time.monotonic() - began) * 1.1
            self.whole += 1
        self.look()
        if client.returncode:
            grown = len(self.have) > before
            self.amid += grown
            # On a slow machine nothing may come in that time: the next ones get a little more.
            self.longest *= 1.0 if grown else 1.02
        if client.returncode == 0:
            assert len(self.have) == len(self.holder.studies[dicom.STUDY]), "it ended early"
            shutil.rmtree(self.root)
            self.have = {}

    def look(self) -> None:
        """Compare the store with what it had before, and with what the holder sent since."""
        self.refetched += sum(self.holder.sent[sop] > 0 for sop in self.have)
        with Store(self.root) as store:
            study = store.study(store.participant(self.holder.fhir, "p1"), dicom.STUDY)
            filed = study.instances()
            self.short += study.complete() and len(filed) < len(self.holder.studies[dicom.STUDY])
            named = set(study.path.rglob("*.dcm"))
            self.lost += len(named - {study.file(each) for each in filed.values()})
            now = {}
            for sop, each in filed.items():
                digest = hashlib.sha256(study.file(each).read_bytes()).hexdigest()
                original = hashlib.sha256(self.holder.studies[dicom.STUDY][sop]).hexdigest()
                self.lost += not digest == each.sha256 == original
                now[sop] = digest
        self.lost += len(self.have.keys() - now.keys())
        self.have = now


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--instances", type=int, default=40)
    parser.add_argument("--size", type=int, default=200_000, help="bytes of an instance")
    parser.add_argument("--holder", choices=["full", "limited"], default="full")
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory(prefix="s4s-crash-") as name, Holder() as holder:
        holder.studies[dicom.STUDY] = dicom.study_of(options.instances, size=options.size)
        holder.delay = 0.02
        if options.holder == "limited":
            holder.announces, holder.list_limit, holder.list_warns = False, 7, False
        crash = Crash(Path(name) / "store", holder, seed)
        while crash.kills < options.kills:
            crash.run()
    print(
        f"{crash.kills} kills (seed {seed}), {crash.amid} after something new had been filed, "
        f"{crash.whole} downloads ended whole: "
        f"lost {crash.lost}, refetched {crash.refetched}, short {crash.short}"
    )
    return 1 if crash.lost or crash.refetched or crash.short else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
