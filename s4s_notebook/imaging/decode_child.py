"""The child process that runs the codecs: frames in, arrays out, nothing else.

A line of JSON, then bytes, both ways; no pickle, so that a codec that was taken over cannot
reach the parent. Run by :mod:`s4s_notebook.imaging.decode_worker`.
"""

from __future__ import annotations

import json
import mmap
import sys
import time
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

#: Memory that a codec may take beside eight times the decoded frame.
ROOM = 192 * 2**20


def main() -> None:
    """Serve decode requests from standard input until it is closed."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a codec that prints must not break the protocol
    warnings.simplefilter("ignore")
    base = _address_space()
    while line := source.readline():
        request = json.loads(line)
        limited = _limit(base + ROOM + 8 * request["size"], request["seconds"])
        frame = source.read(request["bytes"])
        answer, data = _answer(request, frame)
        _write(sink, {**answer, "limited": limited}, data)


def _answer(request: dict[str, Any], frame: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        decoder = get_decoder(UID(request["syntax"]))
        array, _ = decoder.as_array(encapsulate([frame]), index=0, **request["options"])
    except Exception as error:  # noqa: BLE001 - a codec may raise anything; it is reported to the parent
        return {"error": f"{type(error).__name__}: {error}"[:2000]}, b""
    array = np.ascontiguousarray(array)
    return {"dtype": array.dtype.str, "shape": array.shape, "bytes": array.nbytes}, array.tobytes()


def _write(sink: BinaryIO, answer: dict[str, Any], data: bytes) -> None:
    sink.write(json.dumps(answer).encode() + b"\n")
    sink.write(data)
    sink.flush()


def _address_space() -> int:
    """Bytes that Python, numpy and the codecs have mapped before any frame comes."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    except OSError:
        return 2**30  # no Linux: a generous guess


def _limit(size: int, seconds: float) -> bool:
    """Bound memory, processor time (the parent may be gone while a codec hangs) and cores.

    Returns:
        Whether the memory is bounded: macOS refuses RLIMIT_AS, and Windows has no such limits.
    """
    if sys.platform == "win32":
        return False
    import resource

    def lower(limit: int, value: int) -> bool:
        _, hard = resource.getrlimit(limit)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)  # a cluster may have set one that is lower
        try:
            resource.setrlimit(limit, (value, hard))
        except (OSError, ValueError):
            return False
        return True

    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_CPU, int(time.process_time() + 2 * seconds) + 1)
    return lower(resource.RLIMIT_AS, size)


if __name__ == "__main__":
    main()
