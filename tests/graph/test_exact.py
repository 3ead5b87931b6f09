"""Telling plain arguments apart."""

import itertools
import math

import pytest
import torch

from onebyone.errors import ShapeError
from onebyone.graph import capture
from onebyone.graph.exact import exactly

APART = [0.0, -0.0, 0, False, 1, 1.0, True, math.nan, math.inf, 1j, complex(0.0, -0.0), None, "1"]


def test_values_are_equal_to_themselves_only():
    for one, other in itertools.combinations(APART, 2):
        assert exactly(one) != exactly(other), (one, other)
    assert exactly(float("nan")) == exactly(-float("nan") * 0.0)
    assert len(set(map(exactly, APART))) == len(APART)


@pytest.mark.parametrize(("known", "given"), [(0.0, -0.0), (1, True), (1, 1.0), (math.nan, 1.0)])
def test_a_captured_network_takes_the_number_of_its_example_only(known, given):
    captured = capture(lambda x, factor: x * factor, (torch.zeros(2), known))
    assert captured.flatten((torch.zeros(2), type(known)(known)))
    with pytest.raises(ShapeError, match=f"must be {known!r} as in the example .*got {given!r}"):
        captured.flatten((torch.zeros(2), given))
