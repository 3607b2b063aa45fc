"""The parent's end of the codec process: one child, restarted when it dies or hangs."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np

from s4s_notebook.errors import DecodeFailed

from .windows import Array

SECONDS = 60.0
_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "TMPDIR", "TEMP")


class Worker:
    """Decodes frames in a child process with limits on memory and time. Thread-safe.

    ``command`` is what to start, for tests; ``seconds`` is the time that one frame may take.
    """

    def __init__(self, command: list[str] | None = None, seconds: float = SECONDS) -> None:
        self.command = command or [sys.executable, "-m", "s4s_notebook.imaging.child"]
        self.seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    def decode(self, syntax: str, options: dict[str, Any], frame: bytes, size: int) -> Array:
        """Decode one compressed frame of ``size`` bytes when decoded. Raises DecodeFailed."""
        request = {"syntax": syntax, "options": options, "size": size, "bytes": len(frame)}
        with self._lock:
            process = self._running()
            late = threading.Event()
            timer = threading.Timer(self.seconds, _kill, (process, late))
            timer.daemon = True
            timer.start()
            try:
                answer, data = _exchange(process, request, frame, size)
            except (OSError, ValueError) as error:
                self._stop()
                raise DecodeFailed(self._why(process, late.is_set())) from error
            finally:
                timer.cancel()
        if "error" in answer:
            raise DecodeFailed(
                f"The codec refused the image: {answer['error']}",
                hint="pip install 's4s-notebook[codecs]' adds decoders that may read it.",
            )
        return np.frombuffer(data, answer["dtype"]).reshape(answer["shape"])

    def close(self) -> None:
        """End the child; the next frame starts a new one."""
        with self._lock:
            self._stop()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            # Only what a codec needs: no token of anybody's stands in the child's environment.
            env = {name: os.environ[name] for name in _KEPT if name in os.environ}
            home = str(Path(__file__).parents[2])
            env["PYTHONPATH"] = os.pathsep.join([home, *(p for p in sys.path if p)])
            env |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
            self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=env,
            )
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # what was left to send is of no use to a dead child

    def _why(self, process: subprocess.Popen[bytes], late: bool) -> str:
        if late:
            return f"The codec did not finish within {self.seconds:g} seconds."
        return f"The codec process died (exit {process.returncode})."


def _kill(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    process.kill()


def _exchange(
    process: subprocess.Popen[bytes], request: dict[str, Any], frame: bytes, size: int
) -> tuple[dict[str, Any], bytes]:
    sink, source = _pipes(process)
    sink.write(json.dumps(request).encode() + b"\n" + frame)
    sink.flush()
    answer = json.loads(source.readline(65536))
    if not isinstance(answer, dict) or not 0 <= answer.get("bytes", 0) <= 4 * size + 64:
        raise ValueError("The codec process answered nonsense.")
    data = source.read(answer.get("bytes", 0))
    if len(data) != answer.get("bytes", 0):
        raise EOFError("The codec process died while answering.")
    return answer, data


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None:
        raise ValueError("The codec process has no pipes.")
    return process.stdin, process.stdout


decoder = Worker()
