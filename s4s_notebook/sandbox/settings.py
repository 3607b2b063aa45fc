"""The settings of a sandbox: addresses, waits, PACS, and the deviations of real holders."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .data.people import PEOPLE
from .scopes import VERSIONS

TYPES = ("Patient", "Coverage", "ImagingStudy", "ExplanationOfBenefit", "Endpoint")
# What a health plan serves: claims with the parties that they refer to, and no images.
PLAN_TYPES = ("Patient", "Coverage", "ExplanationOfBenefit", "Practitioner", "Organization")
REAL_PACS_SECONDS = 300.0  # example of Sync for Science, Imaging Data use case
_PACS = re.compile(r"(?P<aet>[ -~]{1,16})@(?P<host>[^@:/\s]+):(?P<port>\d{1,5})")


@dataclass(frozen=True)
class Pacs:
    """A DICOM archive (PACS) behind the sandbox, queried by C-FIND and C-MOVE.

    Attributes:
        aet: AE title of the archive.
        host: Host name of the archive.
        port: DICOM port of the archive.
        our_aet: AE title of the sandbox.
        store_port: Port on which the sandbox accepts C-STORE.
        mrns: PatientID in the archive by patient id; other patients are looked up by the
            record number in their Patient resource.
        cache_bytes: Limit of the image cache.
    """

    aet: str
    host: str
    port: int
    our_aet: str = "S4S"
    store_port: int = 11112
    mrns: Mapping[str, str] = field(default_factory=dict)
    cache_bytes: int = 4 << 30

    @classmethod
    def parse(cls, text: str, **more: Any) -> Pacs:
        """Return the archive at ``AET@host:port``.

        Args:
            text: AE title, host and port.
            **more: Further attributes.

        Raises:
            ValueError: The text has another form.
        """
        match = _PACS.fullmatch(text)
        if match is None or not 0 < int(match["port"]) < 65536:
            raise ValueError(f"{text!r} is not AET@host:port")
        return cls(match["aet"], match["host"], int(match["port"]), **more)


@dataclass(frozen=True)
class Settings:
    """The settings of one sandbox. The defaults suit tests: short waits, any free port.

    Attributes:
        patients: Ids of the participants.
        wado: Base of another WADO-RS server to name in Endpoints, such as Orthanc's.
        retry_after: Seconds from a study's first request to its images.
        search_retry_after: Seconds from the first search of a type to its result.
        seed: Seed of the generated claims.
        host: Address to listen on.
        port: Port of FHIR and OAuth; 0 for any free port.
        imaging_port: Port of WADO-RS; 0 for any free port.
        page_size: Resources in a page of a search.
        access_lifetime: Seconds an access token is valid.
        code_lifetime: Seconds an authorization code is valid.
        public_url: Address of the server for browsers behind a proxy.
        personality: Name of a :class:`Personality`.
        pacs: The DICOM archive to take images from.
        open_access: Whether FHIR and images are also served without sign-in.
        scope_versions: The versions of SMART whose scopes are granted; None for the
            personality's.
        list_limit: The longest list that QIDO-RS sends at once; None for no limit.
        ignores_patient: Whether a search without sign-in ignores the patient that it names.
        host_names: Further names under which the servers may be reached.
        clock_skew: Seconds that the holder's clock is ahead.
        clock: Returns the POSIX time.
    """

    patients: tuple[str, ...] = tuple(p.id for p in PEOPLE)
    wado: str | None = None
    retry_after: float = 2.0
    search_retry_after: float = 0.0
    seed: int = 1288992
    host: str = "127.0.0.1"
    port: int = 0
    imaging_port: int = 0
    page_size: int = 20
    access_lifetime: int = 3600
    code_lifetime: int = 100
    public_url: str | None = None
    personality: str | None = None
    pacs: Pacs | None = None
    open_access: bool = True
    scope_versions: tuple[str, ...] | None = None
    list_limit: int | None = None
    ignores_patient: bool = False
    host_names: tuple[str, ...] = ()
    clock_skew: float = 0.0
    clock: Callable[[], float] = time.time

    def now(self) -> float:
        """Return the POSIX time of the holder's clock, with its skew."""
        return self.clock() + self.clock_skew

    @property
    def served_types(self) -> tuple[str, ...]:
        """The resource types that the personality serves."""
        return find_personality(self.personality).types

    @property
    def granted_versions(self) -> tuple[str, ...]:
        """The versions of SMART whose scopes are granted."""
        return self.scope_versions or find_personality(self.personality).scope_versions


@dataclass(frozen=True)
class Personality:
    """How a data holder deviates from Sync for Science, Imaging Data use case.

    ``carin`` is a health plan instead of a provider: its resources follow the CARIN guide (C4BB
    2.2, FHIR R4), and it has no images.
    """

    name: str = "plain"
    fractional_retry_after: bool = False
    strips_retry_after: bool = False
    address_with_study: bool = False
    raw_wado_reference: bool = False
    bare_resources: bool = False
    zoneless_started: bool = False
    no_studies_is_500: bool = False
    auth_failure_is_500: bool = False
    search_waits_as_empty: bool = False
    well_known: bool = True
    decline_without_state: bool = False
    s4s_errors: bool = False
    external_endpoint: bool = False
    lists_images: bool = True
    token_extension: bool = False
    r4: bool = False
    carin: bool = False
    scope_versions: tuple[str, ...] = VERSIONS
    types: tuple[str, ...] = TYPES
    one_approval_per_client: bool = False


PERSONALITIES: dict[str, Personality] = {
    "plain": Personality(),
    "broker-2018": Personality(
        name="broker-2018",
        strips_retry_after=True,
        address_with_study=True,
        raw_wado_reference=True,
        bare_resources=True,
        zoneless_started=True,
        no_studies_is_500=True,
        auth_failure_is_500=True,
        well_known=False,
        lists_images=False,
        decline_without_state=True,
        s4s_errors=True,
        one_approval_per_client=True,
    ),
    "smart-imaging": Personality(
        name="smart-imaging",
        fractional_retry_after=True,
        external_endpoint=True,
        token_extension=True,
        r4=True,
    ),
    "carin": Personality(name="carin", r4=True, carin=True, types=PLAN_TYPES),
}


def find_personality(name: str | None) -> Personality:
    """Return the personality of a name, ``plain`` by default.

    Raises:
        ValueError: There is no such personality.
    """
    try:
        return PERSONALITIES[name or "plain"]
    except KeyError:
        names = ", ".join(PERSONALITIES)
        raise ValueError(f"no personality {name!r}; there are {names}") from None
