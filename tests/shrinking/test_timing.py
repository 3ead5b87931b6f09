"""How long layers take: measured once, kept, and asked for by what a layer is."""

import pytest
import torch
from torch import nn

from onebyone.errors import UnknownNameError
from onebyone.nn.edits import Factorise
from onebyone.shrinking import timing
from onebyone.shrinking.changes import Change
from onebyone.shrinking.runtimes import Runtime, find_runtime
from onebyone.shrinking.timing import Setting, time_layers
from tests.shrinking.networks import site


class Clock:
    """A runtime whose layers take a microsecond for each of their weights."""

    def __init__(self, monkeypatch, folder):
        monkeypatch.setenv("ONEBYONE_CACHE_DIR", str(folder))
        monkeypatch.setattr(timing, "find_runtime", lambda name: self.runtime(name))
        self.timed = []
        self.version = "torch"

    def runtime(self, name):
        def clock(layer, example, threads):
            assert isinstance(layer, nn.Module)
            self.timed.append((name, tuple(example.shape), threads))
            return lambda: 1e-6 * sum(value.numel() for value in layer.parameters())

        return Runtime(lambda *_: None, clock, (self.version,))


@pytest.fixture
def clock(monkeypatch, tmp_path):
    return Clock(monkeypatch, tmp_path)


SETTING = Setting(runtime="eager", threads=1, example=torch.zeros(1, 8, 8, 8))
WHOLE = Change(site=site("a", (8, 16)))
PARTS = Change(site=site("a", (8, 16)), edit=Factorise(conv="a", form="bottleneck", ranks=(4, 4)))


def test_times_are_those_of_the_layers(clock):
    found = time_layers([WHOLE, PARTS], SETTING)
    for change, seconds in found.items():
        weights = sum(value.numel() for value in change.build().parameters())
        assert seconds == pytest.approx(1e-6 * weights)


def test_layers_of_the_same_sizes_are_timed_once(clock):
    alike = Change(site=site("another", (8, 16)))
    found = time_layers([WHOLE, alike], SETTING)
    assert len(clock.timed) == 1
    assert found[WHOLE] == found[alike]


def test_what_was_timed_before_is_looked_up(clock):
    first = time_layers([WHOLE, PARTS], SETTING)
    clock.timed.clear()
    assert time_layers([WHOLE, PARTS], SETTING) == first
    assert not clock.timed


@pytest.mark.parametrize("change", [{"runtime": "compiled"}, {"threads": 2}])
def test_times_of_another_setting_are_others(clock, change):
    known = {"runtime": "eager", "threads": 1, "example": SETTING.example}
    time_layers([WHOLE], SETTING)
    time_layers([WHOLE], Setting(**(known | change)))
    assert len(clock.timed) == 2


def test_an_unknown_runtime_is_told():
    with pytest.raises(UnknownNameError, match="compiled"):
        find_runtime("tensorrt")
