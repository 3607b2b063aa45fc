"""The `s4s` command: demo, sandbox, sync, check, doctor, new."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from .._version import __version__
from ..errors import S4SError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        try:
            return _main(argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader has enough: `s4s doctor | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's own flush
        return 128 + signal.SIGPIPE


def _main(argv: Sequence[str] | None) -> int:
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and arguments.command not in ("sandbox", "check"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return _run(arguments, rest)
    except S4SError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    if arguments.command == "sandbox":
        from .sandbox import serve

        return serve(rest)
    if arguments.command == "check":
        from .check import check_command

        return check_command(rest)
    if arguments.command == "sync":
        from .sync import sync

        return 1 if sync(arguments.store, images=arguments.images, full=arguments.full) else 0
    if arguments.command == "new":
        from .new import new

        return new(arguments.name)
    if arguments.command == "doctor":
        from .doctor import doctor

        findings = doctor()
        print(findings)
        return 0 if findings.good else 1
    if arguments.check:
        from .demo import demo_check

        return demo_check()
    from .demo import demo

    return demo(browser=not arguments.no_browser)


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
    sync = commands.add_parser(
        "sync", help="bring everybody in a store up to date, from a timer or by hand"
    )
    sync.add_argument("store", help="the folder that connect(store=...) was given")
    sync.add_argument(
        "--images", action="store_true", help="fetch the studies that are not here yet, too"
    )
    sync.add_argument(
        "--full",
        action="store_true",
        help="ask for everything again, and note what is no longer served",
    )
    commands.add_parser(
        "check", help="report whether a holder does what Sync for Science asks", add_help=False
    )
    project = commands.add_parser("new", help="make a folder for a project of your own")
    project.add_argument("name", help="of the folder, which must not exist")
    commands.add_parser("doctor", help="look at this machine; say what mends it")
    return parser
