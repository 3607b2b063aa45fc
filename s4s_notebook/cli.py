"""The `s4s` command: demo and sandbox."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ._version import __version__
from .errors import S4SError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and arguments.command != "sandbox":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        if arguments.command == "sandbox":
            from .sandbox import serve

            return serve(rest)
        from .demo import check, demo

        return check() if arguments.check else demo(browser=not arguments.no_browser)
    except S4SError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="s4s", description="Sync for Science imaging and benefit data in JupyterLab."
    )
    parser.add_argument("--version", action="version", version=f"s4s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo", help="start the sandbox and open the first notebook in JupyterLab"
    )
    demo.add_argument(
        "--check",
        action="store_true",
        help="run the notebook without a browser, print what happened, fail if anything is off",
    )
    demo.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    commands.add_parser("sandbox", help="run the built-in data holder on its own", add_help=False)
    return parser
