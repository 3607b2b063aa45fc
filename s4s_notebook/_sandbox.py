"""``Sandbox``: the practice data holder, and a connection to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .cards import card
from .connection.options import spells_out
from .sandbox.server import REDIRECT_URI, SandboxServer
from .sandbox.settings import find_personality

if TYPE_CHECKING:
    from .connection.connection import Connection


class Sandbox(SandboxServer):
    """A data holder over real HTTP on loopback, full of made-up people.

    FHIR STU3 and SMART on one origin, WADO-RS on another. Use it in a ``with`` statement, or
    call ``start()`` and ``stop()``.

    Args:
        patients: ids of the people to hold; all by default, ``smart-1288992`` among them.
        wado: base of a foreign WADO-RS server to name in place of the built-in one.
        retry_after: seconds from a study's first request to its images (503 in between).
        search_retry_after: the same for the first search of each type; 0 for none.
        slow: behave like a real PACS: five minutes until the images are there.
        seed: of the claims; the same seed gives the same data.
        port, imaging_port: 0 for any free port.
        page_size: resources on a page of a search.
        access_lifetime: seconds for which an access token is valid.
        public_url: how a browser reaches this server when it must come through a proxy;
            used for the authorise and manage pages alone.
        personality: ``"broker-2018"`` or ``"smart-imaging"``: the quirks of real holders;
            ``"carin"``: a health plan (CARIN Blue Button 2.2, FHIR R4) with the claims of the
            same people, and no images.
        pacs: ``"AET@host:port"`` or a ``Pacs``: images from a DICOM archive.
        open_access: serve data without sign-in too; by default unless ``pacs`` is given.
        scope_versions: the versions of SMART whose scopes are granted, ``"v1"`` and ``"v2"``.
        list_limit: the longest list that QIDO-RS sends at once.
        ignores_patient: let a search without sign-in ignore the patient that it names.
        host_names: further names under which the servers may be reached; others get 421.
        clock_skew: seconds by which the holder's clock is ahead.
        clock: the time in POSIX seconds, for tests.
        expose: bind to all interfaces instead of loopback.

    Raises:
        OSError: a port is taken.
        ValueError: settings that contradict each other.

    >>> with Sandbox(retry_after=0) as sandbox:
    ...     sandbox.patients[0]
    'smart-1288992'
    """

    def _repr_html_(self) -> str:
        if self._context is None:
            return card(
                "Sandbox, stopped", [("Next", "sandbox.start(), or use it in a with statement")]
            )
        facts = [
            ("FHIR", self.fhir_url),
            ("WADO-RS", self.wado_url),
            ("People", ", ".join(self.patients)),
            ("Requests", f"{len(self.requests):,} so far"),
        ]
        return card("Sandbox: a data holder with made-up people", facts)

    @spells_out("url")
    def connect(self, patient: str = "smart-1288992", **options: Any) -> Connection:
        """Sign in without a person, over real HTTP, and return the connection.

        Args:
            patient: FHIR id of the participant who approves.
            **options: passed to :class:`~s4s_notebook.Connection` (``store=``, …).
        """
        from .connection.connection import Connection

        options.setdefault("redirect_uri", REDIRECT_URI)
        if find_personality(self.settings.personality).well_known:  # else it names no image server
            options.setdefault("allow_origins", [self.wado_url])
        connection = Connection(self.fhir_url, **options)
        try:
            return connection.finish(self.approve(connection.authorize_url(), patient=patient))
        except BaseException:
            connection.close()
            raise
