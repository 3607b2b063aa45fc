"""Every picture equals DCMTK's, or what stands in for it where DCMTK cannot read."""

from __future__ import annotations

import warnings

import pytest

from .compare import Row, files, table
from .made_series import made_series
from .series import made_row
from .series import rows as series_rows
from .synthetic import rows as synthetic


@pytest.fixture(scope="module")
def found() -> tuple[list[Row], list[tuple[str, str]]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom, asked by the oracles, warns about odd files
        return table()


@pytest.mark.needs("dcmtk")
def test_no_grey_level_differs(found) -> None:
    wrong = [row for row in found[0] if row.wrong]
    assert wrong == []
    whole = [row for row in found[0] if row.allowed == 0 and row.oracle.startswith("dcmtk")]
    assert len(whole) > 130
    assert all(row.worst == 0 for row in whole)
    # DCMTK cuts fractional values to whole ones, and the formula has more digits than it.
    assert all(row.note.startswith("fractional rescale") for row in found[0] if row.worst)


@pytest.mark.needs("dcmtk")
def test_no_file_is_left_out(found) -> None:
    images, others = found
    assert sorted([row.name for row in images] + [name for name, _ in others]) == sorted(
        name for name, _ in files()
    )
    assert all(why for _, why in others)
    assert all(row.oracle for row in images)


@pytest.mark.needs("dcmtk")
def test_made_images_equal_dcmtk_and_the_formula() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = synthetic()
    assert len(made) > 40
    assert [row.name for row in made if row.wrong] == []
    assert {row.name for row in made if row.worst} <= {"made: SIGMOID"}


@pytest.mark.slow
def test_every_public_series_equals_another_program_or_says_why() -> None:
    found = series_rows()
    assert len(found) > 90
    assert [row.name for row in found if row.silent] == []
    assert all(row.why for row in found if row.verdict == "refused")
    equal = sum(row.verdict == "equal" for row in found)
    assert equal >= 0.95 * (equal + sum(row.verdict == "differs" for row in found))


@pytest.mark.parametrize("name", [*made_series()])
def test_a_made_series_becomes_what_it_was_made_from(name, tmp_path) -> None:
    row = made_row(name, made_series()[name], tmp_path)
    assert row.verdict == "equal", row
