"""Times of the networks, measured once."""

from dataclasses import replace

import pytest

from onebyone.bench import Burst
from onebyone.errors import TrainingError
from onebyone.studies import speed
from onebyone.studies.speed import SPEED_FILE, have_speed
from onebyone.training.data import read_data
from tests.studies.small import SCALE, STUDY

DIGITS = read_data("digits")
ONCE = replace(SCALE, rounds=2)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(speed, "BURSTS", {1: Burst(discarded=0, timed=1)})


def test_times_are_measured_once_and_kept(tmp_path, monkeypatch):
    first = have_speed(STUDY, ONCE, DIGITS, tmp_path)
    assert set(first.times) == {"linear", "two"}
    assert set(first.times["two"]) == {"eager_ms_1", "compiled_ms_1"}
    assert all(
        0 < time.p10 <= time.median <= time.p90
        for times in first.times.values()
        for time in times.values()
    )
    assert "torch" in first.machine
    with monkeypatch.context() as patch:
        patch.setattr(speed, "_measure", lambda *_: pytest.fail("it was measured again"))
        assert have_speed(STUDY, ONCE, DIGITS, tmp_path) == first


def test_of_other_networks_they_are_measured_again(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "_measure", lambda *_: {})
    have_speed(STUDY, ONCE, DIGITS, tmp_path)
    again = have_speed(STUDY, replace(SCALE, rounds=5), DIGITS, tmp_path)
    assert again.about["rounds"] == 5


def test_none_are_wanted(tmp_path):
    assert have_speed(STUDY, SCALE, DIGITS, tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_one_line(tmp_path):
    (tmp_path / SPEED_FILE).write_text('{"times": 3}')
    with pytest.raises(TrainingError, match="speed.json has no times, or is damaged"):
        have_speed(STUDY, ONCE, DIGITS, tmp_path)
