"""The measure of memory that the proofs of bounded memory rest on."""

from __future__ import annotations

import resource

import pytest

from tests.memory import measure

MIB = 1 << 20


def take(mib: int) -> int:
    """Have so many MiB for a moment, each page touched."""
    return len(b"x" * (mib * MIB))


def take_one_after_the_other(*sizes: int) -> list[int]:
    return [take(mib) for mib in sizes]


@pytest.mark.fault("M03")
@pytest.mark.parametrize("mib", [100, 300])
def test_a_hundred_mebibytes_more_are_seen(mib: int) -> None:
    little, _ = measure(take, 1)
    much, answer = measure(take, mib)
    assert answer == mib * MIB
    assert little < 16
    assert mib - 2 < much < mib + 16


@pytest.mark.fault("M03")
def test_a_peak_of_the_parent_hides_nothing() -> None:
    """As `ru_maxrss` does: it only says that the largest process so far was larger."""
    ballast = take(400)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 > 400
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    take(100)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss == before
    growth, _ = measure(take, 100)
    assert ballast
    assert 98 < growth < 116


@pytest.mark.fault("M03")
def test_the_largest_of_several_counts_once() -> None:
    growth, _ = measure(take_one_after_the_other, 20, 120, 60)
    assert 118 < growth < 136
