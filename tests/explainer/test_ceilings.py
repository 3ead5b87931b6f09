import pytest
import torch
from torch import nn

from onebyone.bench.threads import on_threads
from onebyone.explainer import count_cost
from onebyone.explainer.ceilings import Ceilings, measure_ceilings, predict_seconds

CEILINGS = Ceilings(macs_per_second=100.0, bytes_per_second=10.0)


def test_work_takes_as_long_as_the_slower_of_computing_and_moving():
    assert CEILINGS.seconds(200, 10) == 2
    assert CEILINGS.seconds(200, 30) == 3


def test_a_prediction_is_the_sum_over_layers_of_what_each_is_bound_by():
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 7, padding=3))
    first, second = count_cost(network, (1, 3, 9, 9)).layers
    ceilings = Ceilings(macs_per_second=10.0, bytes_per_second=10.0)
    assert first.moved_bytes > first.macs
    assert second.macs > second.moved_bytes
    assert predict_seconds([first, second], ceilings) * 10 == first.moved_bytes + second.macs
    assert predict_seconds([], ceilings) == 0


def test_ceilings_are_those_of_a_machine_and_leave_threads_as_they_were(monkeypatch):
    monkeypatch.setattr("onebyone.explainer.ceilings.COPIED_BYTES", 2**20)
    monkeypatch.setattr("onebyone.explainer.ceilings.CEILING_SECONDS", 0.001)
    before = torch.get_num_threads()
    ceilings = measure_ceilings(1)
    assert torch.get_num_threads() == before
    # From a slow emulator to the largest servers.
    assert 1e6 < ceilings.macs_per_second < 1e15
    assert 1e6 < ceilings.bytes_per_second < 1e15


def test_threads_are_as_before_also_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), on_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        _ = 1 / 0
    assert torch.get_num_threads() == before
