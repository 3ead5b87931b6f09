"""A linear layer on a flattened image is a convolution with a kernel of the image's size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebyone.compiler.rewrites.fold_flatten import fold_flatten
from tests.compiler.rewrites.building import RELU, GraphBuilder
from tests.helpers.rewrites import check_rewrite


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4))
def test_a_linear_layer_reads_the_image(n, c, h, w):
    b = GraphBuilder()
    y = b.conv(b.flatten(b.input(n, c, h, w)), 3, activation=RELU, stride=(2, 2), dilation=(2, 3))
    after = check_rewrite(fold_flatten, b.build(y), b.values())
    assert list(after.nodes) == ["x1", "conv1"]
    assert after["conv1"].kernel_size == (h, w)
    assert after["conv1"].stride == (1, 1)
    assert after["conv1"].shape == (n, 3, 1, 1)


def test_two_linear_layers_read_the_image():
    b = GraphBuilder()
    flat = b.flatten(b.input(1, 3, 2, 2))
    y, z = b.conv(flat, 3), b.conv(flat, 4)
    after = check_rewrite(fold_flatten, b.build(y, z), b.values())
    assert list(after.nodes) == ["x1", "conv1", "conv2"]


KEPT = {
    "output": lambda b, x: (b.conv(x, 3), x),
    "another reader": lambda b, x: (b.conv(x, 3), b.act(x)),
}


@pytest.mark.parametrize("build", KEPT.values(), ids=KEPT)
def test_flattening_stays_for_the_others(build):
    b = GraphBuilder()
    graph = b.build(*build(b, b.flatten(b.input(1, 3, 2, 2))))
    after = check_rewrite(fold_flatten, graph, b.values())
    assert len(after) == len(graph)
    assert after["conv1"].inputs == ("x1",)


NOT_FOLDED = {
    "padding": lambda b, x: (b.conv(x, 3, padding=(1, 1, 0, 0)),),
    "groups": lambda b, x: (b.conv(x, 4, groups=2),),
    "only the residual": lambda b, x: (b.conv(b.input(1, 2, 1, 1), 12, residual=x),),
    "also the residual": lambda b, x: (b.conv(x, 12, residual=x),),
    "output alone": lambda b, x: (x,),
}


@pytest.mark.parametrize("build", NOT_FOLDED.values(), ids=NOT_FOLDED)
def test_flattening_that_stays(build):
    b = GraphBuilder()
    graph = b.build(*build(b, b.flatten(b.input(1, 3, 2, 2))))
    assert check_rewrite(fold_flatten, graph, b.values()) is graph
