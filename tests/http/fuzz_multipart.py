"""Coverage-guided fuzzing of the multipart reader: no exception but ours, and no way to split.

Not a test: it runs for as long as it is told to, under atheris, which is no dependency::

    pip install atheris
    python -m tests.http.fuzz_multipart -max_total_time=3600

It stops at the first input that raises anything but a ContentError, or that reads differently
when it arrives in other pieces.
"""

from __future__ import annotations

import sys
from importlib import import_module, reload
from pathlib import Path
from tempfile import mkdtemp

from s4s_notebook.errors import ContentError
from s4s_notebook.http import multipart

KIND = "multipart/related; boundary=b0"
LIMITS = multipart.Limits(preamble=500, epilogue=500, header_bytes=300, headers=8, parts=40)


def read(chunks: list[bytes]) -> tuple[list[bytes], str]:
    """What came of it: the finished parts, and the name of the error that ended it."""
    parts: list[bytes] = []
    try:
        for part in multipart.Parts(KIND, chunks, LIMITS):
            parts.append(b"".join(part.chunks()))
    except ContentError as error:
        return parts, type(error).__name__
    return parts, ""


def one(data: bytes) -> None:
    """One input: its first byte says how it is cut, the rest is the body."""
    step, body = data[0] % 17 + 1 if data else 1, data[1:]
    whole = read([body])
    assert read([body[i : i + step] for i in range(0, len(body), step)]) == whole
    assert sum(map(len, whole[0])) <= len(body)
    for content_type in (body[:200].decode("latin-1"), f"multipart/related; {body[:80]!r}"):
        try:
            multipart.Parts(content_type, [])
        except ContentError:
            continue


SEEDS = (
    b"\x03--b0\r\nContent-Type: application/dicom\r\nContent-Length: 2\r\n\r\nab\r\n--b0--\r\n",
    b"\x01preamble\r\n--b0 \t\r\n\r\n\r\n--b0x\r\n--b0--  \r\nepilogue",
    b"\x02--b0\r\nA: b\r\n\r\n\r\n--b\r\n--b0\r\nC: d\r\n\r\nx\r\n--b0--",
)


def main(argv: list[str]) -> None:
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=["s4s_notebook.http.multipart"]):
        reload(multipart)  # once more, now with its branches counted
    corpus = Path(mkdtemp(prefix="s4s-fuzz-"))
    for number, seed in enumerate(SEEDS):
        (corpus / str(number)).write_bytes(seed)
    atheris.Setup([sys.argv[0], str(corpus), "-max_len=600", *argv], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
