"""The formula of every activation function gives what PyTorch gives, all but exactly."""

import math
from types import SimpleNamespace

import pytest
import torch

from onebyone.graph.functions import FUNCTIONS
from tests.helpers.functions import EXAMPLES

TENSORS = SimpleNamespace(
    exp=torch.exp,
    exp_between=lambda x, factor=1: torch.exp(factor * x),
    reciprocal=torch.reciprocal,
    abs=torch.abs,
    copysign=torch.copysign,
    fma=lambda left, right, total: left * right + total,
    at_least=torch.clamp_min,
    at_most=torch.clamp_max,
    where=torch.where,
)
"""What formulas are written with (`Maths`), of tensors."""

ROUNDING = 1e-15


@pytest.mark.parametrize("function", EXAMPLES, ids=str)
def test_a_formula_is_its_function(function):
    """In float64, where rounding hides nothing of the formula's own error."""
    extremes = [math.inf, -math.inf, math.nan, 0.0, -0.0, 1e-300, 3e37, -3e37]
    ranges = [torch.linspace(-size, size, 10_001) for size in (0.01, 0.7, 8, 100)]
    x = torch.cat([torch.tensor(extremes), *ranges]).double()
    row = FUNCTIONS[function.name]
    got = row.formula(TENSORS, x, *function.parameters)
    wanted = row.pytorch(x, *function.parameters)
    scale = x.abs().clamp(1, 1e38)  # no more, as anything over infinity is NaN or zero
    allowed = row.error + ROUNDING
    torch.testing.assert_close(got / scale, wanted / scale, rtol=0, atol=allowed, equal_nan=True)
