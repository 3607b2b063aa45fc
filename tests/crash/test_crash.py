import pytest

from .__main__ import main


@pytest.mark.fault("F01")
def test_kills_at_random_moments_lose_and_refetch_nothing(capsys):
    assert main(["--kills", "50"]) == 0
    assert "lost 0, refetched 0" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.fault("F01")
def test_a_thousand_kills(capsys):
    assert main(["--kills", "1000"]) == 0
