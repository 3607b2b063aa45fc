"""``connect``: from an address to a connection, with a panel in a notebook."""

from __future__ import annotations

import atexit
import os
import threading
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .connection import Connection, ConnectOptions
from .connection.known_holders import Holders
from .connection.options import accepts
from .errors import DiscoveryError, StoreError, UntrustedOrigin
from .tracebacks import without_variables

if TYPE_CHECKING:
    from .sandbox import SandboxServer

SANDBOX = "sandbox"
# Set by `s4s demo` for the kernels it starts: the address of the running sandbox.
SANDBOX_URL = "S4S_SANDBOX_URL"
# A patient id: a program then approves at the sandbox's pages, as a person would.
# It acts on the built-in sandbox alone, so that notebooks can be run unattended.
SANDBOX_APPROVE = "S4S_SANDBOX_APPROVE"
# On Binder the machine is public, so real holders are refused unless this is "1".
BINDER_ALLOW = "S4S_ALLOW_HOLDERS_ON_BINDER"
# A folder: the store of connections without store=.
STORE_FOLDER = "S4S_STORE"

_sandbox: SandboxServer | None = None
_sandbox_lock = threading.Lock()


@without_variables
@accepts(ConnectOptions)
def connect(options: ConnectOptions) -> Connection:
    """Connect one participant at one data holder.

    In a notebook a panel appears: press Authorise, approve, and cells that wait continue by
    themselves. A holder that was approved in this kernel, for the same client and scope, needs no
    new approval until it is revoked or forgotten (Revoke, Forget). In a script the authorise
    page's address is printed; open it, approve, and give the address you land on to
    ``connection.finish(...)``.

    Args:
        options: each of the following, as a keyword; ``url`` also by position.
        url: the holder's FHIR base address, or ``"sandbox"`` for the built-in holder,
            which is started when none runs. Left out, a notebook shows a panel to choose
            one (the sandbox, addresses used before, another) and waits; a script must name
            one.
        patient: with ``access_token``, the patient that the token is for; alone, a patient
            of a holder that needs no sign-in.
        access_token: a token that you already have. It is held in memory only.
        client_id, client_secret, redirect_uri: as registered with the holder. Left out, this
            client registers itself (RFC 7591).
        scope: the SMART scopes to request; by default
            ``launch/patient patient/*.read offline_access``.
        store: a Store, or the folder of one. Left out, the folder that the environment variable
            S4S_STORE names, else a private temporary one.
        allow_origins: further origins that may be sent the token, as
            ``"https://imaging.example"``. For other origins a notebook asks for
            consent; a script refuses them. An issuer that is not the holder's address is named
            here too, exactly as the holder writes it.
        waits: a :class:`~s4s_notebook.WaitPolicy`: how long to wait after a 503 (two hours by
            default).
        remember: True stores the approval for the next session in the system's keyring,
            ``"file"`` in a file of the store that only you can read.
        legacy: accept a holder that advertises PKCE without S256.
        overlap: seconds before the last update that the next one requests again, 600 at least:
            resources may become visible after their ``lastUpdated``.
        page_size: resources per page (``_count``); by default 200 where the holder's
            CapabilityStatement lists that parameter, else the holder's own choice.
        read_referred: read the Practitioners and Organizations that claims and coverages refer to,
            each once and at the holder's own address only; False sends no such request.

    Returns:
        A connection. Only the discovery documents of the holder have been read.

    Raises:
        DiscoveryError: no FHIR holder at this address, or none was named or chosen.
        HolderUnavailable: the holder did not answer.
        UntrustedOrigin: on Binder, a holder other than the sandbox.

    Implements the Sync for Science, Imaging Data use case, "first-connection", with a SMART
    App Launch standalone launch.
    """
    options = replace(options, store=options.store or os.environ.get(STORE_FOLDER))
    if options.url is None and os.environ.get(SANDBOX_APPROVE):
        options = replace(options, url=SANDBOX)  # unattended: nobody can choose
    if options.url is not None:
        return _open(options.url, options)
    if not in_notebook():
        raise DiscoveryError(
            "Which data holder?",
            hint='Name its FHIR address, as in s4s.connect("https://…/fhir"), or take the '
            'practice holder: s4s.connect("sandbox").',
        )
    from . import widgets

    return widgets.choose(lambda url: _open(url, options, announced=True), others=_others_allowed())


def _open(url: str, options: ConnectOptions, *, announced: bool = False) -> Connection:
    """Connect to the holder at an address; ``announced`` where a panel says so already."""
    is_sandbox = url == SANDBOX
    if is_sandbox:
        url = _sandbox_url()
    else:
        refuse_on_binder()
    options = replace(options, url=url)
    needs_sign_in = options.access_token is None and options.patient is None
    unattended = os.environ.get(SANDBOX_APPROVE) if is_sandbox and needs_sign_in else None
    if in_notebook():
        connection = _with_panels(options, shown=needs_sign_in, announce=not announced)
        if unattended and connection.status != "approved":
            _approve(connection, unattended)
        return connection
    connection = Connection(options)
    if is_sandbox:  # this library's own
        for origin in connection.holder.imaging_origins:
            connection.session.origins.allow(origin)
    if unattended:
        _approve(connection, unattended)
    elif (
        needs_sign_in
        and connection.status == "not authorised"
        and connection.holder.authorize is not None
    ):
        _print_authorize_url(connection)
    return connection


def refuse_on_binder() -> None:
    """Refuse real holders on a machine that is public.

    Raises:
        UntrustedOrigin: this is Binder, and S4S_ALLOW_HOLDERS_ON_BINDER is not set.
    """
    if not _others_allowed():
        raise UntrustedOrigin(
            "On Binder only the sandbox can be connected: the machine is shared and public.",
            hint=f'Run this on your own machine, or set {BINDER_ALLOW}="1" if you must.',
        )


def _others_allowed() -> bool:
    return not on_binder() or os.environ.get(BINDER_ALLOW) == "1"


def on_binder() -> bool:
    """Return whether this kernel runs on a Binder service."""
    return any(name in os.environ for name in ("BINDER_SERVICE_HOST", "BINDER_LAUNCH_HOST"))


def in_notebook() -> bool:
    """Return whether this code runs in a Jupyter kernel, where output can be a panel."""
    from sys import modules

    ipython = modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def _with_panels(options: ConnectOptions, *, shown: bool, announce: bool) -> Connection:
    from . import widgets

    def show(work: Any) -> None:
        widgets.show_progress(work, widgets.sign_in_of(connection.session))

    def make() -> Connection:
        made = Connection(options, ask=widgets.ask_origin, display=show, share_approval=shown)
        made.session.recall()
        return made

    connection = widgets.opened(make, str(options.url) if announce else "") if shown else make()
    _remember_holder(connection.session.base)
    return connection


def _remember_holder(base: str) -> None:
    """Store the address, so that the chooser offers it the next time."""
    if on_binder():
        return
    try:
        Holders().add(base)
    except StoreError as error:
        warnings.warn(f"The address is not remembered: {error}", stacklevel=2)


def _approve(connection: Connection, patient: str) -> None:
    from .sandbox import approve

    connection.finish(approve(connection.authorize_url(), patient=patient))


def _print_authorize_url(connection: Connection) -> None:
    for origin, gets in connection.holder.sign_in_origins.items():
        print(f"{origin} gets {'; '.join(gets)}.")  # noqa: T201 - a script has no panel
    for origin in connection.holder.imaging_origins:
        print(  # noqa: T201 - as above
            f"Images are at {origin}, which gets nothing unless you connect with "
            f"allow_origins=[{origin!r}]."
        )
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
