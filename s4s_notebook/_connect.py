"""`connect`: from an address to a connection, with a panel where there is a notebook."""

from __future__ import annotations

import atexit
import os
import threading
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .connection import Connection
from .connection.known_holders import Holders
from .errors import DiscoveryError, StoreError, UntrustedOrigin

if TYPE_CHECKING:
    from pathlib import Path

    from .connection.session import Remember
    from .http.retry import WaitPolicy
    from .sandbox import SandboxServer
    from .store.cohort import Store

SANDBOX = "sandbox"
# Set by `s4s demo` for the kernels it starts: the sandbox that already runs.
SANDBOX_URL = "S4S_SANDBOX_URL"
# A patient id: the sandbox's pages are then walked through by program, as a person would.
# It acts on the built-in sandbox alone, so that notebooks can be run unattended.
SANDBOX_APPROVE = "S4S_SANDBOX_APPROVE"
# On Binder anybody may look on, so real holders are refused unless this is "1".
BINDER_ALLOW = "S4S_ALLOW_HOLDERS_ON_BINDER"
# A folder: the store of connections that were given none.
STORE_FOLDER = "S4S_STORE"

_sandbox: SandboxServer | None = None
_sandbox_lock = threading.Lock()


def connect(
    url: str | None = None,
    *,
    patient: str | None = None,
    access_token: str | None = None,
    client_id: str | None = None,
    client_secret: str | None = None,
    redirect_uri: str | None = None,
    scope: str | None = None,
    store: Store | Path | str | None = None,
    allow_origins: Sequence[str] = (),
    waits: WaitPolicy | None = None,
    remember: Remember = False,
    legacy: bool = False,
) -> Connection:
    """Connect one participant at one data holder.

    In a notebook a panel appears: press Authorise, approve, and cells that wait go on by
    themselves. In a script the authorise page's address is printed; open it, approve, and
    give the address you land on to ``connection.finish(...)``.

    Args:
        url: the holder's FHIR base address, or ``"sandbox"`` for the built-in holder,
            which is started when none runs. Left out, a notebook shows a panel to choose
            one in (the sandbox, addresses used before, another) and waits; a script is told
            to name one.
        patient: with ``access_token``, the patient that the token is for; alone, a patient
            of a holder that needs no sign-in.
        access_token: a token that you already have. It is kept in memory only.
        client_id, client_secret, redirect_uri: what the holder gave you when you registered.
            Left out, the holder is asked to register this client (RFC 7591).
        scope: the SMART scopes to ask for; by default
            ``launch/patient patient/*.read offline_access``.
        store: where data is kept: a Store or a folder. Left out, the folder that the
            environment variable S4S_STORE names, else a private temporary one.
        allow_origins: further origins that may be sent the token, as
            ``"https://imaging.example"``. Origins that are not named anywhere are asked for
            in a notebook and refused in a script.
        waits: how long a 503 may be waited out (two hours by default).
        remember: True keeps the approval for the next session in the system's keyring,
            ``"file"`` in a file of the store that only you can read.
        legacy: accept a holder that advertises PKCE without S256.

    Returns:
        A connection. Nothing has been read from the holder but its discovery documents.

    Raises:
        DiscoveryError: no FHIR holder at this address, or none was named or chosen.
        HolderUnavailable: it did not answer.
        UntrustedOrigin: on Binder, a holder other than the sandbox.

    Implements the Sync for Science imaging use case, "first-connection", on top of SMART
    standalone launch.
    """
    options: dict[str, Any] = {
        "patient": patient,
        "access_token": access_token,
        "client_id": client_id,
        "client_secret": client_secret,
        "redirect_uri": redirect_uri,
        "scope": scope,
        "store": store or os.environ.get(STORE_FOLDER),
        "allow_origins": allow_origins,
        "waits": waits,
        "remember": remember,
        "legacy": legacy,
    }
    if url is None and os.environ.get(SANDBOX_APPROVE):
        url = SANDBOX  # nobody is there to choose
    if url is not None:
        return _open(url, options)
    if not in_notebook():
        raise DiscoveryError(
            "Which data holder?",
            hint='Name its FHIR address, as in s4s.connect("https://…/fhir"), or take the '
            'practice holder: s4s.connect("sandbox").',
        )
    from . import widgets

    return widgets.choose(
        lambda chosen: _open(chosen, options, announced=True), others=_others_allowed()
    )


def _open(url: str, options: dict[str, Any], *, announced: bool = False) -> Connection:
    """Connect to a holder that is named; ``announced`` where a panel tells so already."""
    is_sandbox = url == SANDBOX
    if is_sandbox:
        url = _sandbox_url()
    else:
        refuse_on_binder()
    needs_sign_in = options["access_token"] is None and options["patient"] is None
    unattended = os.environ.get(SANDBOX_APPROVE) if is_sandbox and needs_sign_in else None
    if in_notebook():
        connection = _with_panels(url, options, shown=needs_sign_in, announce=not announced)
        if unattended:
            _approve(connection, unattended)
        return connection
    connection = Connection(url, **options)
    if unattended:
        _approve(connection, unattended)
    elif needs_sign_in and connection.status == "not authorised" and connection.can_authorize:
        _say_where_to_approve(connection)
    return connection


def refuse_on_binder() -> None:
    """Let no real holder be asked from a machine that anybody may look at.

    Raises:
        UntrustedOrigin: this is Binder, and nobody said that it is all right.
    """
    if not _others_allowed():
        raise UntrustedOrigin(
            "On Binder only the sandbox can be connected: the machine is shared and public.",
            hint=f'Run this on your own machine, or set {BINDER_ALLOW}="1" if you must.',
        )


def _others_allowed() -> bool:
    return not on_binder() or os.environ.get(BINDER_ALLOW) == "1"


def on_binder() -> bool:
    """Tell whether this kernel runs on a Binder service."""
    return any(name in os.environ for name in ("BINDER_SERVICE_HOST", "BINDER_LAUNCH_HOST"))


def in_notebook() -> bool:
    """Tell whether this code runs in a Jupyter kernel, where output can be a panel."""
    from sys import modules

    ipython = modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def _with_panels(url: str, options: dict[str, Any], *, shown: bool, announce: bool) -> Connection:
    from . import widgets

    def make() -> Connection:
        return Connection(url, **options, ask=widgets.ask_origin, display=widgets.show_progress)

    connection = widgets.opened(make, url if announce else "") if shown else make()
    _remember_holder(connection.session.base)
    return connection


def _remember_holder(base: str) -> None:
    """Keep the address, so that the chooser offers it the next time."""
    if on_binder():
        return
    try:
        Holders().add(base)
    except StoreError as error:
        warnings.warn(f"The address is not remembered: {error}", stacklevel=2)


def _approve(connection: Connection, patient: str) -> None:
    from .sandbox import approve

    connection.finish(approve(connection.authorize_url(), patient=patient))


def _say_where_to_approve(connection: Connection) -> None:
    print(  # noqa: T201 - a script's user has no panel, only this text
        f"Open this page and approve:\n\n    {connection.authorize_url()}\n\n"
        "Then give the address that your browser lands on to connection.finish(address)."
    )


def _sandbox_url() -> str:
    running = os.environ.get(SANDBOX_URL)
    if running:
        return running
    global _sandbox
    with _sandbox_lock:
        if _sandbox is None:
            from .sandbox import SandboxServer

            _sandbox = SandboxServer()
            _sandbox.start()
            atexit.register(_sandbox.stop)
        return str(_sandbox.fhir_url)
