"""Sibling 1x1 convolutions become one, and slices of its value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebyone.compiler.rewrites.merge_parallel_pointwise import merge_parallel_pointwise
from onebyone.graph.graph import Convolution, Slice
from tests.compiler.rewrites.building import RELU, GraphBuilder
from tests.helpers.rewrites import check_rewrite


@given(
    st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=2, max_size=4),
    st.integers(1, 2),
    st.sampled_from([None, RELU]),
)
def test_siblings_become_one(widths, stride, activation):
    b = GraphBuilder()
    x = b.input(2, 3, 4, 5)
    facts = {"stride": (stride, stride), "activation": activation}
    siblings = [b.conv(x, channels, bias=bias, **facts) for channels, bias in widths]
    graph = b.build(*(b.act(sibling) for sibling in siblings))
    after = check_rewrite(merge_parallel_pointwise, graph, b.values())
    (merged,) = (node for node in after if isinstance(node, Convolution))
    assert merged.name == "+".join(siblings)
    assert merged.path == " + ".join(f"net.{sibling}" for sibling in siblings)
    assert merged.shape[1] == sum(channels for channels, _ in widths)
    assert (merged.bias is None) == (not any(bias for _, bias in widths))
    assert [after[name].kind for name in siblings] == ["slice"] * len(siblings)
    assert [after[name].path for name in siblings] == [f"net.{name}" for name in siblings]


def test_the_merged_one_stands_where_the_first_stood():
    b = GraphBuilder()
    x = b.input(1, 3, 4, 4)
    y = b.act(b.conv(x, 4))
    z = b.act(b.conv(x, 5))
    after = check_rewrite(merge_parallel_pointwise, b.build(y, z), b.values())
    assert list(after.nodes) == ["x1", "conv1+conv2", "conv1", "act1", "conv2", "act2"]


def test_a_path_that_is_not_known_is_not_shown():
    b = GraphBuilder()
    x = b.input(1, 3, 4, 4)
    convs = [b.conv(x, 2) for _ in range(3)]
    b.change(convs[1], path="")
    graph = b.build(*(b.act(conv) for conv in convs))
    after = check_rewrite(merge_parallel_pointwise, graph, b.values())
    assert after["conv1+conv2+conv3"].path == "net.conv1 + net.conv3"


def test_strides_and_activations_make_families():
    b = GraphBuilder()
    x = b.input(1, 3, 4, 4)
    convs = [
        b.conv(x, 2, stride=(stride, stride), activation=activation)
        for stride in (1, 2)
        for activation in (None, RELU)
        for _ in range(2)
    ]
    after = check_rewrite(
        merge_parallel_pointwise, b.build(*(b.norm(conv) for conv in convs)), b.values()
    )
    merged = [node.name for node in after if isinstance(node, Convolution)]
    assert merged == ["conv1+conv2", "conv3+conv4", "conv5+conv6", "conv7+conv8"]


def test_children_of_siblings_merge_too():
    b = GraphBuilder()
    x = b.input(1, 3, 4, 4)
    parents = [b.conv(x, 2), b.conv(x, 3)]
    children = [b.conv(parent, 2) for parent in parents for _ in range(2)]
    after = check_rewrite(
        merge_parallel_pointwise, b.build(*(b.norm(child) for child in children)), b.values()
    )
    assert sum(isinstance(node, Convolution) for node in after) == 3
    assert sum(isinstance(node, Slice) for node in after) == 6


ALONE = {
    "output": lambda b, x: b.conv(x, 2),
    "concat": lambda b, x: b.concat(b.conv(x, 2), x),
    "concat and others": lambda b, x: b.concat(b.act(y := b.conv(x, 2)), y),
    "stride": lambda b, x: b.act(b.conv(x, 2, stride=(2, 1))),
    "activation": lambda b, x: b.act(b.conv(x, 2, activation=RELU)),
    "residual": lambda b, x: b.act(b.conv(x, 4, residual=x)),
    "reads it as a residual": lambda b, x: b.act(b.conv(b.input(1, 2, 5, 5), 4, residual=x)),
    "kernel": lambda b, x: b.act(b.conv(x, 2, 3)),
    "padding": lambda b, x: b.act(b.conv(x, 2, padding=(1, 1, 1, 1))),
    "groups": lambda b, x: b.act(b.conv(x, 4, groups=2)),
    "another input": lambda b, x: b.act(b.conv(b.act(x), 4)),
}


@pytest.mark.parametrize("build", ALONE.values(), ids=ALONE)
def test_convolutions_that_stay_alone(build):
    b = GraphBuilder()
    x = b.input(1, 4, 5, 5)
    graph = b.build(b.act(b.conv(x, 3)), build(b, x))
    assert check_rewrite(merge_parallel_pointwise, graph, b.values()) is graph
