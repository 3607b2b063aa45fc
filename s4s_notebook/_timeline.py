"""``timeline``: a participant's studies and payments on one time axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .imaging.plot import Picture
from .tracebacks import without_variables

if TYPE_CHECKING:
    import pandas as pd

    from .connection.connection import Connection

# Okabe and Ito: distinct for people who are red-green colour-blind; the markers differ as well.
_KINDS = {
    "INPATIENT": ("#D55E00", "s"),
    "OUTPATIENT": ("#0072B2", "o"),
    "PROFESSIONAL": ("#009E73", "^"),
    "SNF": ("#CC79A7", "D"),
    "HHA": ("#56B4E9", "v"),
    "HOSPICE": ("#E69F00", "P"),
    "DME": ("#000000", "X"),
}
_OTHER = ("#777777", ".")


@without_variables
def timeline(connection: Connection) -> Picture:
    """Draw the studies and the payments of a participant over time.

    Above, each study at its day, one row per modality; filled where it can be downloaded. Below,
    what was paid for each claim at its first day, on a logarithmic scale, by kind of claim;
    payments of nothing or less, and claims without a payment of their own (drug events), are
    counted in the text below.

    Args:
        connection: anything with ``studies()`` and ``benefits()``, such as a
            :class:`~s4s_notebook.Connection`.

    Returns:
        A matplotlib Figure, which a notebook shows, with a text alternative.

    Raises:
        S4SError: the holder could not be reached; see the connection's own methods.
    """
    from .tables import countable

    studies, benefits = connection.studies(), connection.benefits()
    figure = Picture(figsize=(10, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    dated = studies[studies["started_date"].notna()]
    _studies(above, dated)
    paid = countable(benefits)
    paid = paid[paid["period_start"].notna() & (paid["payer_paid_amount"] > 0)]
    _payments(below, paid)
    unpaid = len(benefits) - len(paid)
    undated = len(studies) - len(dated)
    currencies = ", ".join(sorted(paid["currency"].dropna().unique())) or "no currency given"
    figure.alt = (
        f"{len(dated)} studies ({undated} without a date) and {len(paid)} payments "
        f"({currencies}) over time; {unpaid} claims without a payment are not drawn."
    )
    below.set_ylabel(f"paid ({currencies})")
    below.set_xlabel(f"{unpaid} claims without a payment of their own are not drawn")
    return figure


def _studies(axis: Any, studies: pd.DataFrame) -> None:
    """Draw one row per combination of modalities."""
    modalities = sorted(studies["modalities"].fillna("?").unique())
    row = studies["modalities"].fillna("?").map(modalities.index)
    downloadable = studies["downloadable"].fillna(False).astype(bool)
    for selected, face in ((downloadable, "#0072B2"), (~downloadable, "none")):
        axis.scatter(
            studies.loc[selected, "started_date"],
            row[selected],
            facecolors=face,
            edgecolors="#0072B2",
            label="can be downloaded" if face != "none" else "cannot, or must be asked for",
        )
    axis.set_yticks(range(len(modalities)), modalities, parse_math=False)
    axis.margins(y=0.3)
    axis.grid(axis="x", alpha=0.3)
    axis.set_ylabel("studies")
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))  # beside: covers nothing


def _payments(axis: Any, claims: pd.DataFrame) -> None:
    """Draw one marker per claim."""
    for kind, group in claims.groupby(claims["claim_kind"].fillna("other"), sort=True):
        color, marker = _KINDS.get(str(kind), _OTHER)
        label = f"{kind} ({len(group)})"
        days, amounts = group["period_start"], group["payer_paid_amount"]
        axis.scatter(days, amounts, c=color, marker=marker, s=25, label=label)
    if len(claims):
        axis.set_yscale("log")
        axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))  # beside: covers nothing
    axis.grid(alpha=0.3)
