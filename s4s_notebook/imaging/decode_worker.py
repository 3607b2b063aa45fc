"""The parent's end of the codec processes: a few children, restarted when they die or hang."""

from __future__ import annotations

import atexit
import json
import os
import re
import subprocess
import sys
import threading
import warnings
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DecodeFailed
from .windows import Array

SECONDS = 60.0
CHILDREN = max(2, min(4, os.cpu_count() or 2))
_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "TMPDIR", "TEMP")


class DecodeWorker:
    """Decodes frames in a child process with limits on memory and time. Thread-safe.

    Args:
        command: what to start in place of the codec process.
        seconds: the time that one frame may take.
    """

    def __init__(self, command: list[str] | None = None, seconds: float = SECONDS) -> None:
        self.command = command or [sys.executable, "-m", "s4s_notebook.imaging.decode_child"]
        self.seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):  # two processes must not speak to one child
            os.register_at_fork(after_in_child=self._forget)

    def decode(self, syntax: str, options: dict[str, Any], frame: bytes, size: int) -> Array:
        """Decode one compressed frame of ``size`` bytes when decoded. Raises DecodeFailed."""
        request = {"syntax": syntax, "options": options, "size": size, "bytes": len(frame)}
        request["seconds"] = self.seconds
        with self._lock:
            process = self._running()
            late = threading.Event()
            timer = threading.Timer(self.seconds, _kill, (process, late))
            timer.daemon = True
            timer.start()
            try:
                answer, limited = _exchange(process, request, frame, size)
            except (OSError, ValueError) as error:
                self._stop()
                raise DecodeFailed(self._why(process, late.is_set())) from error
            except BaseException:  # ■ between question and answer: the next one needs a new child
                self._stop()
                raise
            finally:
                timer.cancel()
        if not limited:
            _warn_unlimited()
        if isinstance(answer, str):
            raise DecodeFailed(
                f"The codec refused the image: {answer}",
                hint="pip install 's4s-notebook[codecs]' adds decoders that may read it.",
            )
        return answer

    def close(self) -> None:
        """End the child; the next frame starts a new one."""
        with self._lock:
            self._stop()

    def _forget(self) -> None:
        self._lock, self._process = threading.Lock(), None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            # Only what a codec needs: no token of anybody's stands in the child's environment.
            env = {name: os.environ[name] for name in _KEPT if name in os.environ}
            home = str(Path(__file__).parents[2])
            env["PYTHONPATH"] = os.pathsep.join([home, *(p for p in sys.path if p)])
            env |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
            self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=env,
                start_new_session=True,  # ■ is for the kernel, not for the codec
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
) -> tuple[Array | str, bool]:
    """Return the decoded frame or the codec's error, and whether its memory was limited.

    Raises:
        ValueError: a broken answer.
    """
    if process.stdin is None or process.stdout is None:
        raise ValueError("The codec process has no pipes.")
    process.stdin.write(json.dumps(request).encode() + b"\n" + frame)
    process.stdin.flush()
    answer = json.loads(process.stdout.readline(65536))
    if not isinstance(answer, dict):
        raise ValueError(  # noqa: TRY004 - all nonsense is one error
            "The codec process sent an unreadable reply."
        )
    limited = bool(answer.get("limited"))
    if "error" in answer:
        return str(answer["error"]), limited
    length, kind = int(answer.get("bytes", -1)), str(answer.get("dtype"))
    if not 0 <= length <= 4 * size + 64 or not re.fullmatch(r"[<>|][iuf][1248]", kind):
        raise ValueError("The codec process sent an unreadable reply.")
    data = process.stdout.read(length)
    array = np.frombuffer(data, kind).reshape([int(entry) for entry in answer["shape"]])
    return array, limited


class DecodePool:
    """Decodes frames in a few children, so that a codec that hangs holds up no other image.

    Thread-safe. A child is started only when all others are busy.

    Args:
        children: the most that run at a time.
        command: what to start in place of the codec process.
        seconds: the time that one frame may take.
    """

    def __init__(
        self, children: int = CHILDREN, command: list[str] | None = None, seconds: float = SECONDS
    ) -> None:
        self._children, self._command, self._seconds = children, command, seconds
        self.workers: list[DecodeWorker] = []
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        """Start with all workers free: in a forked process no thread uses one."""
        self._free = deque(self.workers)
        self._places = threading.BoundedSemaphore(self._children)

    def decode(self, syntax: str, options: dict[str, Any], frame: bytes, size: int) -> Array:
        """Decode one compressed frame of ``size`` bytes when decoded. Raises DecodeFailed."""
        with self._places:
            worker = self._worker()
            try:
                return worker.decode(syntax, options, frame, size)
            finally:
                self._free.append(worker)

    def _worker(self) -> DecodeWorker:
        try:
            return self._free.pop()  # the one used last has its codec loaded
        except IndexError:
            worker = DecodeWorker(self._command, self._seconds)
            self.workers.append(worker)
            return worker

    def close(self) -> None:
        """End the children; the next frame starts a new one."""
        for worker in self.workers:
            worker.close()


def _warn_unlimited() -> None:
    """Say once that a codec may take all memory here."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            "This system sets no limit on the memory of an image codec (RLIMIT_AS). Compressed "
            "images are decoded all the same; open those of strangers with care.",
            RuntimeWarning,
            stacklevel=2,
        )


_warned = False

#: The children that all decoding in this process shares.
worker = DecodePool()
