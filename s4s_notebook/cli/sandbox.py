"""``s4s sandbox``: run the data holder on its own."""

from __future__ import annotations

import argparse
import json
import signal
import threading
from collections.abc import Sequence

from ..sandbox import SandboxServer
from ..sandbox.settings import PERSONALITIES, Pacs


def serve(argv: Sequence[str] | None = None) -> int:
    """Run the sandbox until Ctrl-C or SIGTERM.

    Args:
        argv: the options, by default those of the command line.

    Returns:
        The exit status.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        pacs = (
            None
            if options.pacs is None
            else Pacs.parse(
                options.pacs,
                our_aet=options.aet,
                store_port=options.store_port,
                mrns=dict(pair.split("=", 1) for pair in options.mrn),
            )
        )
    except ValueError as error:
        parser.error(str(error))
    sandbox = SandboxServer(
        wado=options.wado,
        retry_after=options.retry_after,
        search_retry_after=options.search_retry_after,
        slow=options.slow,
        seed=options.seed,
        port=options.port,
        imaging_port=options.imaging_port,
        public_url=options.public_url,
        personality=options.personality,
        pacs=pacs,
        open_access=options.open_access,
        host_names=options.host_name,
        expose=options.expose,
    )
    try:
        sandbox.start()
    except OSError as error:
        parser.exit(1, f"s4s sandbox: {error}\n")
    try:
        print(_json(sandbox) if options.json else _text(sandbox), flush=True)
        _wait()
    finally:
        sandbox.stop()
    return 0


def _text(sandbox: SandboxServer) -> str:
    return (
        f"A practice data holder with made-up people: {', '.join(sandbox.patients)}\n"
        f"  FHIR, with sign-in   {sandbox.fhir_url}\n"
        f"  FHIR, open           {_open_url(sandbox) or 'off (--open-access)'}\n"
        f"  images (WADO-RS)     {sandbox.wado_url}\n"
        "Ctrl-C stops it."
    )


def _json(sandbox: SandboxServer) -> str:
    return json.dumps(
        {
            "fhir_url": sandbox.fhir_url,
            "open_fhir_url": _open_url(sandbox),
            "wado_url": sandbox.wado_url,
            "patients": list(sandbox.patients),
        }
    )


def _open_url(sandbox: SandboxServer) -> str | None:
    return sandbox.open_fhir_url if sandbox.settings.open_access else None


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
    add(
        "--personality",
        choices=sorted(PERSONALITIES),
        help="quirks of a real holder; carin: a health plan",
    )
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
    add(
        "--open-access",
        action=argparse.BooleanOptionalAction,
        help="serve data without sign-in too (default: unless --pacs is given)",
    )
    add(
        "--host-name",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name under which the servers may be reached; may be repeated",
    )
    add("--json", action="store_true", help="print the addresses as one line of JSON")
    add("--expose", action="store_true", help="listen on all interfaces, not only on loopback")
    return parser
