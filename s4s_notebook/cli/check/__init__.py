"""``s4s check URL`` and ``s4s.check(url)``: does a holder do what Sync for Science requires?"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from ... import errors
from ...http.client import Transport
from ...http.origins import Origins
from ...sandbox.approve import approve as approve_in_sandbox
from ...smart import registration as smart
from ...smart.authorization import Login
from ...smart.discovery import Holder, discover
from ...smart.tokens import FixedToken
from ...tracebacks import without_variables
from .holder import HolderCheck, json_of
from .report import MET, NOT_MET, NOT_OFFERED, NOT_TRIED, Report, frame, markdown

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["check", "check_command"]

REDIRECT_URI = "http://127.0.0.1:1/s4s/callback"
Approve = Callable[[str], str]


@without_variables
def check(
    url: str,
    *,
    patient: str | None = None,
    access_token: str | None = None,
    approve: Approve | None = None,
) -> DataFrame:
    """Check a holder against the Sync for Science imaging use case.

    It never raises for what the holder does wrong: that is what it reports.

    Args:
        url: FHIR base address.
        patient: whose record; needed with ``access_token`` and for a base without sign-in.
        access_token: a token that one already has.
        approve: signs in: gets the authorise address, returns the one it led to.

    Returns:
        One row per requirement, with columns ``requirement``, ``verdict`` ("met", "not met",
        "not offered", "not tried"), ``asked``, ``came`` and ``sentence``: what the
        requirement rests on. ``attrs["holder"]`` is the address.
    """
    return frame(run_check(url, patient=patient, access_token=access_token, approve=approve), url)


def run_check(
    url: str,
    *,
    patient: str | None = None,
    access_token: str | None = None,
    approve: Approve | None = None,
) -> Report:
    """Return the outcomes of :func:`check` as a list."""
    base = url.rstrip("/")
    report = Report()
    try:
        origins = Origins(base)
        with _transport(origins) as transport:
            holder = _discover(transport, base, report)
            if access_token is None and approve is not None and holder is not None:
                access_token, patient = _sign_in(transport, holder, approve, report)
        tokens = None if access_token is None else FixedToken(access_token)
        if patient is None:
            problem = "no patient: give one, or a way to sign in"
            report.record("approval", NOT_TRIED, "", problem)
            return report
        for origin in holder.imaging_origins if holder is not None else ():
            origins.allow(origin)
        with _transport(origins, tokens) as transport:
            HolderCheck(transport, base, patient, tokens is not None, report).run()
    except errors.S4SError as error:
        report.record("CapabilityStatement", NOT_MET, str(error.request or base), error.problem)
    return report


@contextmanager
def _transport(origins: Origins, tokens: FixedToken | None = None) -> Iterator[Transport]:
    transport = Transport(origins=origins, tokens=tokens)
    try:
        yield transport
    finally:
        transport.close()


def _discover(transport: Transport, base: str, report: Report) -> Holder | None:
    """Judge what the holder says about itself."""
    reply = transport.request(
        "GET", f"{base}/metadata", accept="application/fhir+json, application/json", wait=False
    )
    kind = json_of(reply).get("resourceType")
    good = reply.status == 200 and kind == "CapabilityStatement"
    answer = f"{reply.status} {kind or 'no FHIR resource'}"
    report.judge("CapabilityStatement", good, "GET metadata", answer)
    try:
        holder = discover(transport, base, required=False)
    except errors.S4SError as error:
        report.record("SMART sign-in", NOT_MET, str(error.request or base), error.problem)
        return None
    well_known = MET if "well-known" in holder.source else NOT_OFFERED
    report.record(".well-known", well_known, "GET .well-known", holder.source)
    endpoints = {
        "SMART sign-in": holder.authorize and holder.token,
        "PKCE S256": "S256" in (holder.pkce_methods or ()),
        "registration": holder.register,
        "revocation": holder.revoke or holder.manage,
    }
    for name, offer in endpoints.items():
        answer = offer if isinstance(offer, str) else ("yes" if offer else "no")
        report.record(name, MET if offer else NOT_OFFERED, holder.source, answer)
    return holder


def _sign_in(
    transport: Transport, holder: Holder, approve: Approve, report: Report
) -> tuple[str | None, str | None]:
    """Register, sign in and exchange the code; return the token and its patient."""
    try:
        client = smart.register(transport, holder, REDIRECT_URI)
        login = Login(holder, client)
        code = login.code_from(approve(login.url))
        grant = smart.exchange(transport, holder, client, login, code)
    except errors.S4SError as error:
        report.record("approval", NOT_MET, str(error.request or holder.base), error.problem)
        return None, None
    answer = f"scope {grant.scope}, patient {'given' if grant.patient else 'not given'}"
    report.judge("approval", grant.patient, "authorise, token", answer)
    return grant.access_token.reveal(), grant.patient


def check_command(argv: Sequence[str] | None = None) -> int:
    """Print the report of ``s4s check``.

    Args:
        argv: the options, by default those of the command line.

    Returns:
        The exit status: 0 when nothing is "not met", else 1.
    """
    options = _parser().parse_args(argv)
    approve: Approve | None = None
    if options.approve_as:
        approve = partial(approve_in_sandbox, patient=options.approve_as)
    elif options.sign_in:
        approve = _approve_in_browser
    token = os.environ.get(options.token_from) if options.token_from else None
    report = run_check(options.url, patient=options.patient, access_token=token, approve=approve)
    text = markdown(report, options.url)
    if options.report:
        with open(options.report, "w", encoding="utf-8") as file:
            file.write(text)
    print(text)
    return 1 if any(outcome.verdict == NOT_MET for outcome in report) else 0


def _approve_in_browser(url: str) -> str:
    print(f"Open this page and approve:\n\n    {url}\n")
    return input("Paste the address that your browser lands on: ").strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="s4s check", description="Report how a data holder meets the imaging use case."
    )
    add = parser.add_argument
    add("url", help="FHIR base address")
    add("--patient", help="whose record, on a base without sign-in or with a token")
    add("--token-from", metavar="NAME", help="environment variable that holds an access token")
    add("--sign-in", action="store_true", help="sign in with your browser")
    add("--approve-as", metavar="PATIENT", help="on a sandbox: sign in by itself as this patient")
    add("--report", metavar="FILE", help="write the Markdown report there too")
    return parser
