"""``s4s check URL`` and ``s4s.check(url)``: does a holder do what the seed says?"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ... import errors
from ...http.client import Transport
from ...http.origins import Origins
from ...sandbox.approve import approve as robot
from ...smart import registration as smart
from ...smart.authorization import Login
from ...smart.discovery import Holder, discover
from ...smart.tokens import FixedToken
from .finding import MET, NOT_MET, NOT_OFFERED, NOT_TRIED, Finding, frame, markdown
from .requests import Walk
from .sentences import SENTENCES

if TYPE_CHECKING:
    from pandas import DataFrame

REDIRECT_URI = "http://127.0.0.1:1/s4s/callback"
Approve = Callable[[str], str]


def check(
    url: str,
    *,
    patient: str | None = None,
    access_token: str | None = None,
    approve: Approve | None = None,
) -> DataFrame:
    """Walk a holder as the Sync for Science imaging use case describes.

    Args:
        url: FHIR base address.
        patient: whose record; needed with ``access_token`` and for a base without sign-in.
        access_token: a token that one already has.
        approve: signs in: gets the authorise address, returns the one it led to.

    Returns:
        One row per requirement, with columns ``requirement``, ``verdict`` ("met", "not met",
        "not offered", "not tried"), ``asked``, ``came`` and ``sentence``: what the
        requirement rests on. ``attrs["holder"]`` is the address.

    Never raises for what the holder does wrong: that is what it reports.
    """
    return frame(findings(url, patient=patient, access_token=access_token, approve=approve), url)


def findings(
    url: str,
    *,
    patient: str | None = None,
    access_token: str | None = None,
    approve: Approve | None = None,
) -> list[Finding]:
    """As :func:`check`, as a list."""
    base = url.rstrip("/")
    told: list[Finding] = []
    try:
        origins = Origins(base)
        with _transport(origins) as transport:
            holder = _discovered(transport, base, told)
            if access_token is None and approve is not None and holder is not None:
                access_token, patient = _signed_in(transport, holder, approve, told)
        tokens = None if access_token is None else FixedToken(access_token)
        if patient is None:
            _tell(told, "approval", NOT_TRIED, "", "no patient: give one, or a way to sign in")
            return told
        for origin in holder.imaging_origins if holder is not None else ():
            origins.allow(origin)
        with _transport(origins, tokens) as transport:
            told += _walked(transport, base, patient, signed_in=tokens is not None)
    except errors.S4SError as error:
        _tell(told, "CapabilityStatement", NOT_MET, str(error.request or base), error.problem)
    return told


class _transport:  # noqa: N801 - used as a function
    """A transport that is closed at the end of a with statement."""

    def __init__(self, origins: Origins, tokens: FixedToken | None = None) -> None:
        self._transport = Transport(origins=origins, tokens=tokens)

    def __enter__(self) -> Transport:
        return self._transport

    def __exit__(self, *exc: object) -> None:
        self._transport.close()


def _tell(told: list[Finding], requirement: str, verdict: str, asked: str, came: str) -> None:
    told.append(Finding(requirement, verdict, asked, came, SENTENCES[requirement]))


def _discovered(transport: Transport, base: str, told: list[Finding]) -> Holder | None:
    reply = transport.request(
        "GET", f"{base}/metadata", accept="application/fhir+json, application/json", wait=False
    )
    try:
        body = reply.json()
    except errors.MalformedResponse:
        body = {}
    kind = body.get("resourceType") if isinstance(body, dict) else None
    good = reply.status == 200 and kind == "CapabilityStatement"
    came = f"{reply.status} {kind or 'no FHIR resource'}"
    _tell(told, "CapabilityStatement", MET if good else NOT_MET, "GET metadata", came)
    try:
        holder = discover(transport, base, required=False)
    except errors.S4SError as error:
        _tell(told, "SMART sign-in", NOT_MET, str(error.request or base), error.problem)
        return None
    known = "well-known" in holder.source
    _tell(told, ".well-known", MET if known else NOT_OFFERED, "GET .well-known", holder.source)
    doors = {
        "SMART sign-in": holder.authorize and holder.token,
        "PKCE S256": "S256" in (holder.pkce_methods or ()),
        "registration": holder.register,
        "revocation": holder.revoke or holder.manage,
    }
    for name, offered in doors.items():
        came = offered if isinstance(offered, str) else ("yes" if offered else "no")
        _tell(told, name, MET if offered else NOT_OFFERED, holder.source, came)
    return holder


def _signed_in(
    transport: Transport, holder: Holder, approve: Approve, told: list[Finding]
) -> tuple[str | None, str | None]:
    """Register, sign in, redeem: the token and the patient it is for."""
    try:
        client = smart.register(transport, holder, REDIRECT_URI)
        login = Login(holder, client)
        code = login.code_from(approve(login.url))
        grant = smart.exchange(transport, holder, client, login, code)
    except errors.S4SError as error:
        _tell(told, "approval", NOT_MET, str(error.request or holder.base), error.problem)
        return None, None
    came = f"scope {grant.scope}, patient {'given' if grant.patient else 'not given'}"
    _tell(told, "approval", MET if grant.patient else NOT_MET, "authorise, token", came)
    return grant.access_token.reveal(), grant.patient


def _walked(transport: Transport, base: str, patient: str, *, signed_in: bool) -> list[Finding]:
    walk = Walk(transport, base, patient, signed_in)
    try:
        walk.record()
        fetchable = list(walk.studies())
        smallest = min(
            fetchable, key=lambda found: found[0].get("numberOfInstances") or 1, default=None
        )
        if smallest is not None:
            study, uid, address, token = smallest
            walk.transport.origins.allow(address)
            walk.images(study, uid, address, token=token and signed_in)
        else:
            walk.tell("images", NOT_TRIED, "", "no study can be fetched")
        walk.refusals()
    except errors.S4SError as error:
        walk.tell("images", NOT_TRIED, str(error.request or base), error.problem)
    walk.patience()
    return walk.findings


def check_command(argv: Sequence[str] | None = None) -> int:
    """``s4s check``: prints the report; 0 when nothing is "not met", else 1."""
    given = _parser().parse_args(argv)
    approver: Approve | None = None
    if given.approve_as:
        approver = _robot(given.approve_as)
    elif given.sign_in:
        approver = _person
    token = os.environ.get(given.token_from) if given.token_from else None
    told = findings(given.url, patient=given.patient, access_token=token, approve=approver)
    report = markdown(told, given.url)
    if given.report:
        with open(given.report, "w", encoding="utf-8") as file:
            file.write(report)
    print(report)
    return 1 if any(f.verdict == NOT_MET for f in told) else 0


def _robot(patient: str) -> Approve:
    return lambda url: robot(url, patient=patient)


def _person(url: str) -> str:
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
