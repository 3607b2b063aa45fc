import pytest

from .__main__ import main


@pytest.mark.fault("F01")
def test_kills_at_random_moments_lose_and_refetch_nothing(capsys):
    assert main(["--kills", "50"]) == 0
    assert "lost 0, refetched 0, short 0" in capsys.readouterr().out


@pytest.mark.fault("J04")
def test_kills_at_a_holder_with_a_limited_list_and_no_count_end_nothing_short(capsys):
    assert main(["--kills", "10", "--holder", "limited", "--instances", "20"]) == 0
    assert "short 0" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.fault("F01")
def test_a_thousand_kills(capsys):
    assert main(["--kills", "1000"]) == 0


@pytest.mark.slow
@pytest.mark.fault("J04")
def test_a_thousand_kills_at_a_holder_with_a_limited_list(capsys):
    assert main(["--kills", "1000", "--holder", "limited"]) == 0
