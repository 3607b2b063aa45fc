"""``python -m tests.soak day``: a day at a holder at which everything happens, on a fake clock.

New studies and claims appear all day. Searches, images and the token endpoint answer 503, 429 or a
refusal with times from seconds to hours, transfers are cut, tokens live an hour, the person
withdraws the approval and approves again, and the client is killed and started anew. What the
holder does follows from the seed and the path alone, so that a day can be repeated.

The judge is the log of the server: nothing was requested before the time that it had named, no
instance was sent twice, and in the end the store has every study and claim. The states that the
client shows are compared with what the holder did.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from s4s_notebook.connection import Connection
from s4s_notebook.connection.loading import Loading
from s4s_notebook.errors import AuthorizationRequired, ReauthorizationRequired, S4SError
from s4s_notebook.http.retry import WaitPolicy
from s4s_notebook.store import Store
from tests.connection.holder import Holder, Reply, claim, state_of
from tests.store import dicom

ROOT = Path(__file__).resolve().parents[2]
MORNING = 1_700_000_000.0
HOUR = 3600.0
ROUND = 600.0  # seconds that the client pauses between two rounds
KINDS = ("Patient", "ImagingStudy", "Coverage", "ExplanationOfBenefit")


class SharedClock:
    """A clock of several processes that moves only when one of them sleeps."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(struct.pack("d", 0.0))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)
        self._guard = threading.Lock()

    def monotonic(self) -> float:
        return float(struct.unpack("d", self._memory[:])[0])

    def time(self) -> float:
        return MORNING + self.monotonic()

    def sleep(self, seconds: float) -> None:
        with self._guard:
            self._memory[:] = struct.pack("d", self.monotonic() + seconds)


class Logged(NamedTuple):
    """A request as the server answered it; ``later`` are the seconds of its Retry-After."""

    at: float
    what: str
    status: int
    later: float | None


class Day(Holder):
    """A holder whose studies and claims appear over the day, with a fault for most requests."""

    def __init__(self, clock: SharedClock, seed: int, hours: float) -> None:
        super().__init__()
        self.clock, self.seed, self.end = clock, seed, hours * HOUR
        self.token, self.page_size = f"day-{seed}", 20
        self.log: list[Logged] = []
        self.number: Counter[str] = Counter()  # requests by path
        self.good_until: dict[str, float] = {}  # access tokens
        self.refresh = ""
        self.refused = self.expired = 0
        self.put_off = 0  # codes that were not exchanged
        self.withdrawals = [self.end * part for part in (0.35, 0.7)]
        self.kills = [self.end * part for part in (0.1, 0.3, 0.5, 0.6, 0.8)]
        self.kill: Callable[[], None] = lambda: None
        self.studies, self.appears = {}, {}
        for number in range(round(hours * 4)):
            uid = f"1.2.3.{1000 + number}"
            self.studies[uid] = {
                f"{uid}.1.{k}": dicom.make(f"{uid}.1.{k}", study=uid, series=f"{uid}.1", size=3000)
                for k in range(1, 6)
            }
            self.appears[uid] = number * HOUR / 4
        self.claims = [claim(number) for number in range(round(hours * 4))]
        for number, each in enumerate(self.claims):
            self.appears[each["id"]] = number * HOUR / 4
            self.updated[each["id"]] = MORNING + self.appears[each["id"]]
        self.chance.seed(seed)
        self.reset_share = 0.1
        self.server.on("*", lambda talk: DayReply(self, talk).send())

    def now(self) -> float:
        return self.clock.time()

    def resources(self, kind: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        now = self.clock.monotonic()
        named = {"ImagingStudy": "uid", "ExplanationOfBenefit": "id"}.get(kind, "")
        return [
            each
            for each in super().resources(kind, query)
            if not named or self.appears[each[named].removeprefix("urn:oid:")] <= now
        ]

    def fault(self, path: str) -> tuple[int, str | None] | None:
        """Return status and Retry-After of a request that is not served, else None."""
        self.number[path] += 1
        chance = random.Random(f"{self.seed} {path} {self.number[path]}")
        if self.clock.monotonic() >= self.end or chance.random() > 0.5:
            return None
        status = chance.choice([503, 503, 503, 429, 500, 403, 502])
        if path == "/token" or "well-known" in path:
            status = chance.choice([503, 429])
        seconds = chance.choice([5, 30, 60, 300, 900, 1800, 3 * HOUR])
        if status == 502:
            return status, None
        date = formatdate(self.now() + seconds, usegmt=True)
        return status, chance.choice([f"{seconds:.0f}", f"{seconds:.0f}", date])


def scope(path: str) -> str:
    """Return what waits together: a study with all below it, else a path."""
    study = re.match(r"/wado/studies/[0-9.]+", path)
    return study[0] if study else path


class DayReply(Reply):
    """The answer to one request, which is logged by the fake clock."""

    holder: Day

    def head(self, status: int, headers: dict[str, Any]) -> None:
        later, day = headers.get("Retry_After"), self.holder
        if later is not None and not later.isdigit():
            moment = datetime.strptime(later, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
            later = moment.timestamp() - int(day.now())
        path = self.path.partition("?")[0]
        seconds = None if later is None else float(later)
        with day.lock:
            day.log.append(Logged(day.clock.monotonic(), scope(path), status, seconds))
        super().head(status, headers)

    def send(self) -> None:
        day, path = self.holder, self.path.partition("?")[0]
        now = day.clock.monotonic()
        if day.kills and now >= day.kills[0] and path.startswith("/wado/"):
            day.kills.pop(0)
            day.kill()
            return
        public = "well-known" in path or path in ("/register", "/fhir/metadata")
        if self.method == "GET" and not public and now >= day.good_until.get(self.bearer, 0.0):
            day.expired += 1
            self.answer(401)
        elif path != "/register" and (fault := day.fault(path)) is not None:
            status, later = fault
            day.put_off += b"authorization_code" in self.body
            self.answer(status, **({} if later is None else {"Retry_After": later}))
        else:
            day.tokens.add(self.bearer)
            super().send()

    def post(self) -> None:
        day = self.holder
        now = day.clock.monotonic()
        refresh = b"grant_type=refresh_token" in self.body
        if self.path != "/token":
            super().post()
            return
        if refresh and day.withdrawals and now >= day.withdrawals[0]:
            day.withdrawals.pop(0)
            day.good_until.clear()
            day.refresh = ""
        sent = parse_qs(self.body.decode()).get("refresh_token", [""])[0]
        if refresh and sent != (day.refresh or None):
            day.refused += 1
            self.json({"error": "invalid_grant"}, 400)
        else:
            number = day.number["/token"]
            token, day.refresh = f"{day.token}-a{number}", f"{day.token}-r{number}"
            day.good_until = {token: now + HOUR}
            self.json(
                {"access_token": token, "refresh_token": day.refresh, "token_type": "Bearer"}
                | {"expires_in": 3600, "scope": "patient/*.read", "patient": "p1"}
            )


# ------------------------------------------------------------------ the client's process


def client(base: str, folder: str, until: float) -> None:
    """Load, update and download until the day is over; print one line for each round."""
    clock = SharedClock(Path(folder) / "clock")
    options: dict[str, Any] = {"store": f"{folder}/store", "remember": "file", "clock": clock}
    options["waits"] = WaitPolicy(random=lambda: 0.5)
    while True:
        try:
            connection = Connection(base, **options)
            break
        except S4SError as error:
            print(json.dumps({"connect": type(error).__name__}), flush=True)
            clock.sleep(ROUND)
    with connection as me:
        while not rounds(me, clock, until):
            clock.sleep(ROUND)


def rounds(me: Connection, clock: SharedClock, until: float) -> bool:
    """Do what is due; return whether the day is over and all was received."""
    last, ends, loaded = clock.monotonic() >= until, Counter[str](), False
    try:
        if me.status != "approved":
            url = me.authorize_url()
            me.finish(f"http://127.0.0.1/s4s/callback?state={state_of(url)}&code=code-1")
        for kind in KINDS:  # one after the other, so that the day can be repeated
            Loading(me.session, [kind], result=me, update=True).result()
        loaded = True
        for uid in me.studies()["study_uid"]:
            try:
                me.download(uid).result()
                ends["complete"] += 1
            except (AuthorizationRequired, ReauthorizationRequired):
                raise
            except S4SError as error:
                ends[type(error).__name__] += 1
    except S4SError as error:
        ends[type(error).__name__] += 1
    complete = me.patient_id is not None and all(map(me.participant.is_complete, KINDS))
    line = {"status": me.status, "ends": ends, "loaded": loaded, "complete": complete}
    print(json.dumps({"at": clock.monotonic(), **line}), flush=True)
    return last and loaded and set(ends) <= {"complete"}


# ------------------------------------------------------------------ the judge


def run(hours: float, seed: int) -> int:
    """Run a day; print its figures and return whether something was wrong."""
    with tempfile.TemporaryDirectory(prefix="s4s-day-") as folder:
        clock = SharedClock(Path(folder) / "clock")
        day = Day(clock, seed, hours)
        with day:
            lines, kills = run_clients(day, folder)
            wrong = judge(day, Path(folder) / "store", lines)
    statuses = Counter(logged.status for logged in day.log)
    slept = clock.monotonic() / HOUR
    print(
        f"seed {seed}: {slept:.1f} hours, {len(lines)} rounds, {kills} kills, {day.expired} "
        f"expired tokens, {day.refused} refusals after a withdrawal, {day.put_off} codes put off, "
        f"{len(day.log)} answers "
        f"({', '.join(f'{n} x {status}' for status, n in sorted(statuses.items()))}), "
        f"{sum(day.sent.values())} instances sent"
    )
    print("\n".join(wrong) or "nothing early, nothing lost, nothing sent twice, states right")
    return 1 if wrong else 0


def run_clients(day: Day, folder: str) -> tuple[list[dict[str, Any]], int]:
    """Start the client again after each kill; return what it printed, and the kills."""
    command = [sys.executable, "-m", "tests.soak.day", day.fhir, folder, str(day.end)]
    environment = {**os.environ, "XDG_STATE_HOME": f"{folder}/state"}
    lines: list[dict[str, Any]] = []
    kills = 0
    while True:
        child = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        day.kill = child.kill
        output, _ = child.communicate()
        lines += [json.loads(line) for line in output.splitlines()]
        if child.returncode == 0:
            return lines, kills
        if child.returncode != -9:
            raise SystemExit("the client failed by itself")
        kills += 1


def judge(day: Day, store: Path, lines: list[dict[str, Any]]) -> list[str]:
    """Return a sentence for each thing that was wrong."""
    wrong = []
    until: dict[str, float] = {}
    for logged in day.log:
        end = until.get(logged.what, 0.0)
        if logged.at < end - 1e-6:
            wrong.append(f"{logged.what} at {logged.at:.1f}: {end - logged.at:.1f} s early")
        if logged.later is not None:
            until[logged.what] = max(end, logged.at + logged.later)
    wrong += [f"{sop} was sent {count} times" for sop, count in day.sent.items() if count > 1]
    with Store(store) as opened:
        participant = opened.participant(day.fhir, "p1")
        for uid, files in day.studies.items():
            study = opened.study(participant, uid)
            stored = {sop: study.file(each).read_bytes() for sop, each in study.instances().items()}
            if stored != files or not study.complete():
                wrong.append(f"study {uid}: {len(stored)} of {len(files)} instances")
        claims = {each["id"] for each in participant.resources("ExplanationOfBenefit")}
        wrong += [f"{each['id']} is missing" for each in day.claims if each["id"] not in claims]
        if opened.verify():
            wrong.append("the store does not verify")
    wrong += judge_states(day, lines)
    return wrong


def judge_states(day: Day, lines: list[dict[str, Any]]) -> list[str]:
    """Compare the states that the client showed with what the holder did."""
    shown = Counter(line["status"] for line in lines if "status" in line)
    right = {"approved", "withdrawn", "not authorised"}
    wrong = [f"status {status!r}" for status in shown.keys() - right]
    for line in lines:
        if line.get("status") == "not authorised" and "RetryAfterTooLong" not in line["ends"]:
            wrong.append(f"at {line['at']:.0f} s: not authorised, but nothing was put off")
    if shown["not authorised"] and not day.put_off:  # a short wait is waited out
        wrong.append("not authorised, but no code was put off")
    if shown["withdrawn"] != day.refused:
        wrong.append(f"{day.refused} refusals, but {shown['withdrawn']} times withdrawn")
    wrong += [
        f"at {line['at']:.0f} s: loaded, but not complete"
        for line in lines
        if line.get("loaded") and not line["complete"]
    ]
    if day.kills or day.withdrawals:
        wrong.append("not all that was planned took place")
    return wrong


if __name__ == "__main__":
    client(sys.argv[1], sys.argv[2], float(sys.argv[3]))
