"""Every picture equals DCMTK's, or what stands in for it where DCMTK cannot read."""

from __future__ import annotations

import warnings

import pytest

from .compare import Row, files, table
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
