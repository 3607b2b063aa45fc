"""The timeline draws what the frames say, and says what it does not draw."""

from __future__ import annotations

from typing import Any

import pandas as pd

from s4s_notebook import tables
from s4s_notebook._timeline import timeline
from tests.tables.examples import claim, held, study


class Person:
    """Anything that has the two tables."""

    def __init__(self, *resources: Any) -> None:
        self._frames = tables.build(("studies", "benefits"), resources)

    def studies(self) -> pd.DataFrame:
        return self._frames["studies"]

    def benefits(self) -> pd.DataFrame:
        return self._frames["benefits"]


def test_studies_and_payments_stand_at_their_days() -> None:
    one = [
        r for r in held("ImagingStudy", "ExplanationOfBenefit") if "1288992" in str(r["patient"])
    ]
    person = Person(*one)
    figure = timeline(person)
    above, below = figure.axes
    paid = person.benefits()["payer_paid_amount"] > 0
    assert sum(len(dots.get_offsets()) for dots in below.collections) == paid.sum()
    assert sum(len(dots.get_offsets()) for dots in above.collections) == len(person.studies())
    named = {text.get_text() for text in above.get_yticklabels()}
    assert named == set(person.studies()["modalities"])
    assert figure.png().startswith(b"\x89PNG")
    assert f"{len(person.studies())} studies" in figure.alt
    assert f"{(~paid).sum()} claims without a payment" in figure.alt


def test_nothing_and_odd_things_draw_too() -> None:
    assert "0 studies" in timeline(Person()).alt
    odd = Person(
        study(started="?", series=[{"modality": {"code": "$x_$"}}]), claim(), study(uid="1.9")
    )
    figure = timeline(odd)
    assert "1 studies (1 without a date)" in figure.alt
    assert figure.png()
