"""Activations move into what computes their input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebyone.compiler.rewrites.fuse_activation import fuse_activation
from onebyone.graph.graph import Function
from tests.compiler.rewrites.building import RELU, GraphBuilder
from tests.helpers.rewrites import check_rewrite

HOSTS = {
    "convolution": lambda b, x: b.conv(x, 3),
    "convolution with a residual": lambda b, x: b.conv(x, 3, residual=x),
    "batch norm": lambda b, x: b.norm(x),
    "arithmetic": lambda b, x: b.arithmetic("sub", x, b.constant(0.5)),
}
FUNCTIONS = [RELU, Function("silu"), Function("clamp", (0.0, 0.5)), Function("leaky_relu", (0.5,))]


@given(st.sampled_from(sorted(HOSTS)), st.sampled_from(FUNCTIONS))
def test_an_activation_moves_into_its_host(host, function):
    b = GraphBuilder()
    y = HOSTS[host](b, b.input(1, 3, 3, 3))
    graph = b.build(b.act(y, function))
    after = check_rewrite(fuse_activation, graph, b.values())
    assert len(after) == len(graph) - 1
    assert after[y].activation == function
    assert after[y].path == f"net.{y}"
    assert after.outputs[0].name == y


def test_only_the_first_of_two_moves():
    b = GraphBuilder()
    y = b.act(b.act(b.conv(b.input(1, 3, 3, 3), 3)), Function("silu"))
    after = check_rewrite(fuse_activation, b.build(y), b.values())
    assert list(after.nodes) == ["x1", "conv1", "act2"]


NOT_FUSED = {
    "two readers": lambda b, x: (b.act(y := b.conv(x, 3)), b.norm(y)),
    "output": lambda b, x: (y := b.conv(x, 3), b.act(y)),
    "has one": lambda b, x: (b.act(b.conv(x, 3, activation=RELU)),),
    "input": lambda b, x: (b.act(x),),
    "concat": lambda b, x: (b.act(b.concat(x, x)),),
}


@pytest.mark.parametrize("build", NOT_FUSED.values(), ids=NOT_FUSED)
def test_activations_that_stay(build):
    b = GraphBuilder()
    graph = b.build(*build(b, b.input(1, 3, 3, 3)))
    assert check_rewrite(fuse_activation, graph, b.values()) is graph
