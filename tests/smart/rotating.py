"""A holder that rotates refresh tokens, and a program that uses it, for tests with processes.

``python -m tests.smart.rotating BASE FILE THREADS [together]`` connects with the tokens kept in
FILE, asks for a resource from THREADS threads at once, and prints one line for each: ok or the
error. With ``together`` it says "ready", and waits for a line.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from s4s_notebook import errors
from s4s_notebook.http.retry import WaitPolicy
from s4s_notebook.http.waits import Waits
from s4s_notebook.smart.discovery import read_configuration
from s4s_notebook.smart.tokens import Tokens, from_record
from tests.faultserver.holder import Answer, Asked, Holder, configuration, transport_to


class FileTokenStore:
    """A token store on a file, for tests: written beside and renamed, locked beside."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.saves = 0

    @contextmanager
    def lock(self) -> Iterator[None]:
        with open(f"{self.path}.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def load(self) -> dict[str, Any] | None:
        try:
            record = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def saved(self) -> bool:
        return self.path.exists()

    def save(self, record: dict[str, Any]) -> None:
        self.saves += 1
        beside = self.path.with_suffix(".new")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(record, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)


class Rotating:
    """OAuth rules for a scripted holder: a refresh token works once, the last token is good."""

    def __init__(self, server: Holder, canary: str, lifetime: float | None = 3600) -> None:
        self.server, self.canary, self.lifetime = server, canary, lifetime
        self.number = 0
        self.before: Callable[[Asked], Answer | None] = lambda asked: None
        self.after: Callable[[Asked], Answer | None] = lambda asked: None
        self._lock = threading.Lock()
        server.on("/token", self.renew)
        server.on("/fhir/Patient/p", self.resource)

    @property
    def access(self) -> str:
        return f"{self.canary}-access-{self.number}"

    @property
    def refresh(self) -> str:
        return f"{self.canary}-refresh-{self.number}"

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"access_token": self.access, "token_type": "Bearer"}
        body |= {"refresh_token": self.refresh, "scope": "s", "patient": "p"}
        return body if self.lifetime is None else body | {"expires_in": self.lifetime}

    def renew(self, asked: Asked) -> Answer:
        with self._lock:
            early = self.before(asked)
            if early is not None:
                return early
            if asked.form.get("refresh_token") != self.refresh:
                return Answer({"error": "invalid_grant", "description": "used"}, 400)
            self.number += 1
            return self.after(asked) or Answer(self.body())

    def resource(self, asked: Asked) -> Answer:
        good = asked.headers.get("authorization") == f"Bearer {self.access}"
        return Answer({"resourceType": "Patient", "id": "p"}) if good else Answer({}, 401)


def main(base: str, file: str, threads: str, together: str = "") -> None:
    at = read_configuration(configuration(base.removesuffix("/fhir")), base)
    token_store = FileTokenStore(Path(file))
    waits = WaitPolicy(budget=60.0, floor=0.0, first=0.0)
    with (
        transport_to(base, waits=waits, stored_waits=Waits.of_user()) as transport,
        ThreadPoolExecutor(int(threads)) as pool,
    ):
        kept = from_record(at, token_store.load())
        if kept is None:
            print("nothing kept")
            return
        transport.tokens = Tokens(transport, at, *kept, token_store=token_store)
        if together:
            print("ready", flush=True)
            sys.stdin.readline()
        start = threading.Barrier(int(threads))

        def ask(_: int) -> str:
            start.wait()
            try:
                transport.request("GET", f"{base}/Patient/p", accept="*/*").checked()
            except errors.S4SError as error:
                return type(error).__name__
            return "ok"

        for line in pool.map(ask, range(int(threads))):
            print(line, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
