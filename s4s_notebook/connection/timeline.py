"""When a participant was imaged, and what was paid when, on one time axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ..imaging.plot import Picture

if TYPE_CHECKING:
    import pandas as pd

# Okabe and Ito: told apart by those who cannot tell red from green; the markers differ as well.
_KINDS = {
    "INPATIENT": ("#D55E00", "s"),
    "OUTPATIENT": ("#0072B2", "o"),
    "CARRIER": ("#009E73", "^"),
    "SNF": ("#CC79A7", "D"),
    "HHA": ("#56B4E9", "v"),
    "HOSPICE": ("#E69F00", "P"),
    "DME": ("#000000", "X"),
}
_OTHER = ("#777777", ".")


class HasTables(Protocol):
    """What :func:`timeline` needs of a connection."""

    def studies(self) -> pd.DataFrame: ...
    def benefits(self) -> pd.DataFrame: ...


def timeline(connection: HasTables) -> Picture:
    """Draw the studies and the payments of a participant over time.

    Above, each study at its day, one row per modality; filled where it can be downloaded. Below,
    what was paid for each claim at its first day, on a logarithmic scale, by kind of claim;
    payments of nothing or less, and claims without a payment of their own (drug events), are
    counted in the text below.

    Args:
        connection: anything with ``studies()`` and ``benefits()``, such as a
            :class:`~s4s_notebook.Connection`.

    Returns:
        A matplotlib Figure, which shows itself in a notebook with a text for those who cannot
        see it.

    Raises:
        S4SError: the holder could not be asked; see the connection's own methods.
    """
    studies, benefits = connection.studies(), connection.benefits()
    figure = Picture(figsize=(10, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    shown = studies[studies["started_date"].notna()]
    _studies(above, shown)
    paid = benefits[benefits["period_start"].notna() & (benefits["payment_amount"] > 0)]
    _payments(below, paid)
    unpaid = len(benefits) - len(paid)
    undated = len(studies) - len(shown)
    currencies = ", ".join(sorted(paid["currency"].dropna().unique())) or "no currency given"
    figure.alt = (
        f"{len(shown)} studies ({undated} without a date) and {len(paid)} payments "
        f"({currencies}) over time; {unpaid} claims without a payment are not drawn."
    )
    below.set_ylabel(f"paid ({currencies})")
    below.set_xlabel(f"{unpaid} claims without a payment of their own are not drawn")
    return figure


def _studies(axis: Any, studies: pd.DataFrame) -> None:
    """One row per combination of modalities."""
    kinds = sorted(studies["modalities"].fillna("?").unique())
    row = studies["modalities"].fillna("?").map(kinds.index)
    here = studies["downloadable"].fillna(False).astype(bool)
    for chosen, face in ((here, "#0072B2"), (~here, "none")):
        axis.scatter(
            studies.loc[chosen, "started_date"],
            row[chosen],
            facecolors=face,
            edgecolors="#0072B2",
            label="can be downloaded" if face != "none" else "cannot, or must be asked for",
        )
    axis.set_yticks(range(len(kinds)), kinds, parse_math=False)
    axis.margins(y=0.3)
    axis.grid(axis="x", alpha=0.3)
    axis.set_ylabel("studies")
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))  # beside: it hides nothing


def _payments(axis: Any, claims: pd.DataFrame) -> None:
    """One marker a claim."""
    for kind, group in claims.groupby(claims["claim_type"].fillna("other"), sort=True):
        color, marker = _KINDS.get(str(kind), _OTHER)
        label = f"{kind} ({len(group)})"
        days, amounts = group["period_start"], group["payment_amount"]
        axis.scatter(days, amounts, c=color, marker=marker, s=25, label=label)
    if len(claims):
        axis.set_yscale("log")
        axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))  # beside: it hides nothing
    axis.grid(alpha=0.3)
