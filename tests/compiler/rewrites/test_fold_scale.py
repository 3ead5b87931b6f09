"""Arithmetic with one number a channel goes into the convolution before it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from onebyone.compiler.rewrites.drop_unused import drop_unused
from onebyone.compiler.rewrites.fold_scale import fold_scale
from onebyone.graph.interpret import interpret
from tests.compiler.rewrites.building import RELU, GraphBuilder
from tests.helpers.rewrites import check_rewrite

FOLDED = [
    ("add", "left"), ("add", "right"), ("sub", "left"), ("sub", "right"),
    ("mul", "left"), ("mul", "right"), ("div", "left"),
]  # fmt: skip
"""The operator, and the side on which the convolution stands."""


def build_scaled(operator, side, constant, *, channels=4, **facts):
    b = GraphBuilder()
    y, c = b.conv(b.input(2, 4, 3, 3), channels, **facts), b.constant(constant)
    y, c = (y, c) if side == "left" else (c, y)
    return b, b.arithmetic(operator, y, c, RELU)


@given(
    st.sampled_from(FOLDED),
    st.sampled_from([[0.5], [2.0, -0.5, 0.25, -4.0]]),
    st.booleans(),
    st.sampled_from([1, 2, 4]),
)
def test_constants_on_either_side(step, constant, bias, groups):
    b, y = build_scaled(*step, constant, bias=bias, groups=groups)
    after = check_rewrite(fold_scale, b.build(y), b.values())
    after = check_rewrite(drop_unused, after, b.values())
    assert list(after.nodes) == ["x1", "conv1"]
    assert after["conv1"].activation == RELU


@pytest.mark.parametrize("constant", [0.17, 1e-6])
@pytest.mark.parametrize("operator", ["mul", "div"])
def test_the_scales_of_real_networks(operator, constant):
    b, y = build_scaled(operator, "left", constant)
    after = check_rewrite(fold_scale, b.build(y), b.values(), terms=5)
    assert "conv1" in after.nodes
    assert "mul1" not in after.nodes


def test_constants_in_a_row_fold_one_after_the_other():
    b = GraphBuilder()
    y = b.conv(b.input(1, 2, 3, 3), 2)
    half = b.constant(0.5)
    y = b.arithmetic("sub", half, b.arithmetic("mul", y, half))
    after = check_rewrite(fold_scale, b.build(y), b.values())
    assert list(after.nodes) == ["x1", "c1", "conv1"]


def read_twice(b, x, c):
    y = b.conv(x, 4)
    return b.arithmetic("mul", y, c), b.act(y)


NOT_FOLDED = {
    "constant / convolution": lambda b, x, c: (b.arithmetic("div", c, b.conv(x, 4)),),
    "maximum": lambda b, x, c: (b.arithmetic("maximum", b.conv(x, 4), c),),
    "activation": lambda b, x, c: (b.arithmetic("mul", b.conv(x, 4, activation=RELU), c),),
    "residual": lambda b, x, c: (b.arithmetic("mul", b.conv(x, 4, residual=x), c),),
    "two readers": read_twice,
    "output": lambda b, x, c: (y := b.conv(x, 4), b.arithmetic("mul", y, c)),
    "no convolution": lambda b, x, c: (b.arithmetic("mul", b.norm(x), c),),
    "no constant": lambda b, x, c: (b.arithmetic("mul", b.conv(x, 4), x),),
    "more channels than the convolution": lambda b, x, c: (
        b.arithmetic("mul", b.conv(x, 1), b.constant([1.0, 2.0, 4.0])),
    ),
    "one number a pixel": lambda b, x, c: (
        b.arithmetic("mul", b.conv(x, 4), b.constant(b.numbers(1, 1, 3, 3))),
    ),
    "one number an image": lambda b, x, c: (
        b.arithmetic("mul", b.conv(x, 4), b.constant(b.numbers(2, 1, 1, 1))),
    ),
    "division by zero": lambda b, x, c: (b.arithmetic("div", b.conv(x, 4), b.constant(0.0)),),
    "infinite": lambda b, x, c: (b.arithmetic("mul", b.conv(x, 4), b.constant(torch.inf)),),
}


@pytest.mark.parametrize("build", NOT_FOLDED.values(), ids=NOT_FOLDED)
def test_arithmetic_that_stays(build):
    b = GraphBuilder()
    graph = b.build(*build(b, b.input(2, 4, 3, 3), b.constant(0.5)))
    assert check_rewrite(fold_scale, graph, b.values()) is graph


def test_zero_times_nan_stays_nan():
    b, y = build_scaled("mul", "left", 0.0)
    x = b.values()[0]
    x[0, 0, 0, 0], x[1, 1, 1, 1] = torch.nan, torch.inf
    after = check_rewrite(fold_scale, b.build(y), [x])
    assert int(interpret(after, [x])[0].isnan().sum()) == 8
