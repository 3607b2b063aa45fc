"""The quirks of real holders, by name, so that workshops and tests can meet them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Personality:
    """How a holder deviates from the plain reading of the seed. All off: the sandbox's own way."""

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
    token_extension: bool = False
    r4_studies: bool = False
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
        decline_without_state=True,
        s4s_errors=True,
        one_approval_per_client=True,
    ),
    "smart-imaging": Personality(
        name="smart-imaging",
        fractional_retry_after=True,
        external_endpoint=True,
        token_extension=True,
        r4_studies=True,
    ),
}


def personality(name: str | None) -> Personality:
    """The personality of that name; raises ValueError for an unknown one."""
    try:
        return PERSONALITIES[name or "plain"]
    except KeyError:
        known = ", ".join(PERSONALITIES)
        raise ValueError(f"no personality {name!r}; there are {known}") from None
