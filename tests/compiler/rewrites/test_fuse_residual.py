"""Residuals are added by the convolution that computes the other side."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebyone.compiler.rewrites.fuse_residual import fuse_residual
from tests.compiler.rewrites.building import RELU, GraphBuilder
from tests.helpers.rewrites import check_rewrite


@given(st.booleans(), st.sampled_from([None, RELU]), st.sampled_from([1, 4]), st.booleans())
def test_a_residual_moves_into_the_convolution(is_left, activation, groups, bias):
    b = GraphBuilder()
    x = b.input(2, 4, 3, 3)
    y = b.conv(x, 4, 3, padding=(1, 1, 1, 1), groups=groups, bias=bias)
    y = b.arithmetic("add", *((y, x) if is_left else (x, y)), activation)
    after = check_rewrite(fuse_residual, b.build(y), b.values())
    assert list(after.nodes) == ["x1", "conv1"]
    assert after["conv1"].inputs == ("x1", "x1")
    assert after["conv1"].activation == activation
    assert after["conv1"].path == "net.conv1"


@pytest.mark.parametrize("is_left", [True, False])
def test_of_two_convolutions_the_later_takes_the_other(is_left):
    b = GraphBuilder()
    x = b.input(1, 4, 3, 3)
    first, second = b.conv(x, 4), b.conv(x, 4)
    y = b.arithmetic("add", *((first, second) if is_left else (second, first)))
    after = check_rewrite(fuse_residual, b.build(y), b.values())
    assert list(after.nodes) == ["x1", "conv1", "conv2"]
    assert after["conv2"].inputs == ("x1", "conv1")


def test_a_convolution_moves_behind_a_residual_that_comes_later():
    b = GraphBuilder()
    x = b.input(1, 4, 3, 3)
    y = b.conv(x, 4)
    late = b.pool(b.act(x), "max", 1)
    z = b.arithmetic("add", y, late)
    after = check_rewrite(fuse_residual, b.build(z), b.values())
    assert list(after.nodes) == ["x1", "act1", "pool1", "conv1"]


def test_a_chain_of_blocks_fuses_in_one_go():
    b = GraphBuilder()
    y = b.input(1, 4, 3, 3)
    for _ in range(4):
        y = b.arithmetic("add", y, b.conv(b.conv(y, 4), 4), RELU)
    after = check_rewrite(fuse_residual, b.build(y), b.values())
    assert list(after.nodes) == ["x1", *(f"conv{i}" for i in range(1, 9))]
    assert after["conv4"].inputs == ("conv3", "conv2")


def test_a_sum_of_three_uses_each_convolution_once():
    b = GraphBuilder()
    x = b.input(1, 4, 3, 3)
    y = b.arithmetic("add", b.arithmetic("add", b.conv(x, 4), b.conv(x, 4)), b.conv(x, 4))
    after = check_rewrite(fuse_residual, b.build(y), b.values())
    assert [node.inputs for node in after] == [(), ("x1",), ("x1", "conv1"), ("x1", "conv2")]


NOT_FUSED = {
    "residual of one channel": lambda b, x: (b.arithmetic("add", b.conv(x, 4), b.conv(x, 1)),),
    "residual of one pixel": lambda b, x: (b.arithmetic("add", b.conv(x, 4), b.pool(x, "max", 3)),),
    "convolution of one channel": lambda b, x: (b.arithmetic("add", x, b.conv(x, 1)),),
    "with itself": lambda b, x: (b.arithmetic("add", y := b.conv(x, 4), y),),
    "two readers": lambda b, x: (b.arithmetic("add", y := b.conv(x, 4), b.act(y)),),
    "output": lambda b, x: (y := b.conv(x, 4), b.arithmetic("add", y, x)),
    "activation": lambda b, x: (b.arithmetic("add", b.conv(x, 4, activation=RELU), x),),
    "has a residual": lambda b, x: (b.arithmetic("add", b.conv(x, 4, residual=x), x),),
    "difference": lambda b, x: (b.arithmetic("sub", b.conv(x, 4), x),),
    "no convolution": lambda b, x: (b.arithmetic("add", b.act(x), x),),
}


@pytest.mark.parametrize("build", NOT_FUSED.values(), ids=NOT_FUSED)
def test_additions_that_stay(build):
    b = GraphBuilder()
    graph = b.build(*build(b, b.input(1, 4, 3, 3)))
    assert check_rewrite(fuse_residual, graph, b.values()) is graph
