"""The helper for captured networks fails on a planted fault."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from onebyone.graph import Graph, capture
from tests.helpers.graphs import check_capture, check_meaning


def scaled(x):
    return x * 0.5, x


def test_check_meaning_sees_a_wrong_number_and_a_wrong_nesting():
    x = torch.randn(1, 2, 3, 3)
    captured = capture(scaled, (x,))
    check_meaning(captured, scaled, (x,), {}, torch.float32)
    constant = captured.graph["constant"]
    wrong = Graph.of(
        [replace(n, value=n.value + 1e-4) if n is constant else n for n in captured.graph],
        captured.graph.outputs,
    )
    with pytest.raises(AssertionError, match="not close"):
        check_meaning(replace(captured, graph=wrong), scaled, (x,), {}, torch.float32)
    with pytest.raises(AssertionError):
        check_meaning(captured, lambda x: list(scaled(x)), (x,), {}, torch.float32)


def test_check_capture_sees_what_is_left_to_pytorch():
    x = torch.randn(1, 2, 3, 3)
    check_capture(F.elu, x, opaque=["elu"])
    with pytest.raises(AssertionError):
        check_capture(F.elu, x)
    with pytest.raises(AssertionError):
        check_capture(F.relu, x, opaque=["elu"])


def test_check_meaning_sees_what_is_not_left_in_an_input():
    x = torch.randn(1, 2, 3, 3)

    def write(x):
        return x.add_(1) * 2

    captured = capture(write, (x,))
    check_meaning(captured, write, (x,), {}, torch.float32)
    with pytest.raises(AssertionError, match="not close"):
        check_meaning(replace(captured, written=()), write, (x,), {}, torch.float32)
