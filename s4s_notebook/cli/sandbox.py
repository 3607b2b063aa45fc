"""``s4s sandbox``: run the data holder on its own."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Sequence

from ..sandbox import SandboxServer
from ..sandbox.settings import PERSONALITIES, Pacs


def serve(argv: Sequence[str] | None = None) -> int:
    """Parse ``argv``, serve until Ctrl-C or SIGTERM, return the exit status."""
    parser = _parser()
    given = parser.parse_args(argv)
    try:
        pacs = (
            None
            if given.pacs is None
            else Pacs.parse(
                given.pacs,
                our_aet=given.aet,
                store_port=given.store_port,
                mrns=dict(pair.split("=", 1) for pair in given.mrn),
            )
        )
    except ValueError as error:
        parser.error(str(error))
    sandbox = SandboxServer(
        wado=given.wado,
        retry_after=given.retry_after,
        search_retry_after=given.search_retry_after,
        slow=given.slow,
        seed=given.seed,
        port=given.port,
        imaging_port=given.imaging_port,
        public_url=given.public_url,
        personality=given.personality,
        pacs=pacs,
        expose=given.expose,
    )
    try:
        sandbox.start()
    except OSError as error:
        parser.exit(1, f"s4s sandbox: {error}\n")
    try:
        _say(sandbox)
        _wait()
    finally:
        sandbox.stop()
    return 0


def _say(sandbox: SandboxServer) -> None:
    print(
        f"A practice data holder with made-up people: {', '.join(sandbox.patients)}\n"
        f"  FHIR, with sign-in   {sandbox.fhir_url}\n"
        f"  FHIR, open           {sandbox.open_fhir_url}\n"
        f"  images (WADO-RS)     {sandbox.wado_url}\n"
        "Ctrl-C stops it.",
        flush=True,
    )


def _wait() -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    while not stop.wait(0.5):
        pass


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="s4s sandbox",
        description="Run a Sync for Science data holder with made-up people on this machine.",
    )
    add = parser.add_argument
    add("--port", type=int, default=8123, help="of FHIR and sign-in (default %(default)s; 0: any)")
    add("--imaging-port", type=int, default=8124, help="of WADO-RS (default %(default)s; 0: any)")
    add("--retry-after", type=float, default=2.0, help="seconds until a study's images are ready")
    add("--search-retry-after", type=float, default=0.0, help="the same for first searches")
    add("--slow", action="store_true", help="be as slow as a real PACS: five minutes")
    add("--seed", type=int, default=1288992, help="of the claims")
    add("--wado", metavar="URL", help="hand out this WADO-RS base instead of our own")
    add("--public-url", metavar="URL", help="how browsers reach --port through a proxy")
    add("--personality", choices=sorted(PERSONALITIES), help="quirks of a real holder")
    add("--pacs", metavar="AET@HOST:PORT", help="serve the studies of this DICOM archive")
    add("--aet", default="S4S", help="our own AE title for it")
    add("--store-port", type=int, default=11112, help="where it may send images to")
    add(
        "--mrn",
        action="append",
        default=[],
        metavar="PATIENT=ID",
        help="a patient's id in that archive; may be repeated",
    )
    add("--expose", action="store_true", help="listen on all interfaces, not only on loopback")
    return parser
