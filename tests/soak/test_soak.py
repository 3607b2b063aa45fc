import pytest

from .__main__ import main


@pytest.mark.slow
@pytest.mark.fault("K05")
def test_two_hundred_studies_that_wait_three_seconds_take_little_longer():
    assert main(["wait"]) == 0


@pytest.mark.slow
@pytest.mark.fault("K08")
def test_two_thousand_instances_of_a_busy_holder_are_sent_once():
    assert main(["busy"]) == 0


@pytest.mark.slow
@pytest.mark.fault("C07", "C09", "K02", "K03")
def test_a_day_of_faults_loses_nothing_and_sends_nothing_early(capsys):
    assert main(["day"]) == 0
    assert "nothing early, nothing lost" in capsys.readouterr().out
