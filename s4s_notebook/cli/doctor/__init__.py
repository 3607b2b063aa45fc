"""`s4s doctor`: is this machine ready for a workshop? If not, the line that mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .extensions import lab_extension, server_extension, sign_in
from .finding import Finding, Findings
from .machine import codecs, memory, sandbox, store
from .packages import versions

_PARTS: tuple[Callable[[], Iterator[Finding]], ...] = (
    versions,
    lab_extension,
    server_extension,
    sign_in,
    codecs,
    memory,
    store,
    sandbox,
)


def doctor() -> Findings:
    """Look at versions, extensions, sign-in route, codecs, memory, store and sandbox.

    Make it a cell's last line, or run ``s4s doctor``. It starts a sandbox on loopback for a
    moment and asks it for its description; it reads nothing of yours.

    Returns:
        A list of findings, each with ``good``, ``what``, ``found`` and ``mend``; ``.good`` of
        the list is true when all are. It raises nothing: what fails is a finding.
    """
    return Findings(finding for part in _PARTS for finding in part())
