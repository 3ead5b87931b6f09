"""All rewrites, on graphs as they come in networks and on random ones."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from onebyone.compiler.rewrites import REWRITES, rewrite_graph
from onebyone.errors import InvalidGraphError
from onebyone.graph.capture import capture
from onebyone.graph.graph import Function, Graph
from onebyone.models import build_network, find_model
from tests.compiler.rewrites.building import RELU, GraphBuilder, outline
from tests.helpers.rewrites import check_rewrite

SAME = (1, 1, 1, 1)


def unit(b, x, channels, kernel=1, **facts):
    """Convolution, batch norm, ReLU."""
    return b.act(b.norm(b.conv(x, channels, kernel, bias=False, **facts)))


def build_bottleneck(b):
    """Two blocks of a ResNet-50, the first with a projection, and a classifier."""
    x = b.input(1, 4, 4, 4)
    y = b.norm(b.conv(unit(b, unit(b, x, 2), 2, 3, padding=SAME), 8))
    x = b.act(b.arithmetic("add", y, b.norm(b.conv(x, 8))))
    y = b.norm(b.conv(unit(b, unit(b, x, 2), 2, 3, padding=SAME), 8))
    x = b.act(b.arithmetic("add", y, x))
    return b.conv(b.flatten(b.pool(x, "avg", 4)), 5)


BOTTLENECK = """\
x1 = input()
conv1 = convolution(x1) relu  # net.conv1
conv2 = convolution(conv1) relu  # net.conv2
conv3 = convolution(conv2)  # net.conv3
conv4 = convolution(x1, conv3) relu  # net.conv4
conv5 = convolution(conv4) relu  # net.conv5
conv6 = convolution(conv5) relu  # net.conv6
conv7 = convolution(conv6, conv4) relu  # net.conv7
pool1 = pool(conv7)  # net.pool1
conv8 = convolution(pool1)  # net.conv8
return conv8"""


def build_inception(b):
    """A block of GoogLeNet."""
    x = b.input(1, 4, 4, 4)
    one = unit(b, x, 3)
    three = unit(b, unit(b, x, 2), 4, 3, padding=SAME)
    five = unit(b, b.pad(unit(b, x, 3), SAME), 2, 3)
    return b.concat(one, three, five, unit(b, b.pool(b.pad(x, SAME), "max", 3), 2))


INCEPTION = """\
x1 = input()
conv1 = convolution(x1) relu  # net.conv1
conv2+conv4 = convolution(x1) relu  # net.conv2 + net.conv4
conv2 = slice(conv2+conv4) [0:2]  # net.conv2
conv3 = convolution(conv2) relu  # net.conv3
conv4 = slice(conv2+conv4) [2:5]  # net.conv4
conv5 = convolution(conv4) relu  # net.conv5
pad2 = pad(x1)  # net.pad2
pool1 = pool(pad2)  # net.pool1
conv6 = convolution(pool1) relu  # net.conv6
concat1 = concat(conv1, conv3, conv5, conv6)  # net.concat1
return concat1"""


def build_inception_residual(b):
    """A block of Inception-ResNet: x + 0.125 * conv(concat(branches)), then an unused head."""
    x = b.input(1, 4, 4, 4)
    branches = b.concat(unit(b, x, 2), unit(b, unit(b, x, 2), 2, 3, padding=SAME))
    y = b.arithmetic("mul", b.conv(branches, 4), b.constant(0.125))
    y = b.act(b.arithmetic("add", y, x))
    b.conv(b.pool(y, "avg", 4), 3)
    return y


INCEPTION_RESIDUAL = """\
x1 = input()
conv1 = convolution(x1) relu  # net.conv1
conv2 = convolution(x1) relu  # net.conv2
conv3 = convolution(conv2) relu  # net.conv3
concat1 = concat(conv1, conv3)  # net.concat1
conv4 = convolution(concat1, x1) relu  # net.conv4
return conv4"""

GOLDEN = {
    build_bottleneck: BOTTLENECK,
    build_inception: INCEPTION,
    build_inception_residual: INCEPTION_RESIDUAL,
}


@pytest.mark.parametrize("build", GOLDEN, ids=lambda build: build.__name__)
def test_what_is_left_of_a_block(build):
    b = GraphBuilder()
    graph = b.build(build(b))
    after = check_rewrite(lambda g: rewrite_graph(g, check=True), graph, b.values())
    assert outline(after) == GOLDEN[build]


@pytest.mark.parametrize("name", ["googlenet", "efficientnet_lite0"])
def test_networks_end_without_batch_norms(name):
    network = build_network(find_model(name).config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    x = torch.randn(1, 3, 64, 64)
    # The longest sum is of GoogLeNet's 3x3 over 192 channels, or its 1x1 over 1024.
    after = check_rewrite(rewrite_graph, capture(network, (x,)).graph, [x], terms=9 * 192)
    assert {node.kind for node in after} <= {"input", "convolution", "pool", "concat", "slice"}


def test_what_a_later_rewrite_uncovers_is_rewritten_too():
    b = GraphBuilder()
    y = b.arithmetic("mul", b.conv(b.input(1, 3, 4, 4), 3), b.constant(0.5))
    y = b.arithmetic("add", b.norm(b.norm(y)), b.constant(1.0))
    after = check_rewrite(rewrite_graph, b.build(y), b.values())
    assert list(after.nodes) == ["x1", "conv1"]


def test_a_rewrite_that_breaks_the_graph_is_named(monkeypatch):
    def lose_a_node(graph):
        return Graph.of([n for n in graph if n.kind != "convolution"], graph.outputs)

    monkeypatch.setattr("onebyone.compiler.rewrites.rewrite.REWRITES", (lose_a_node,))
    b = GraphBuilder()
    graph = b.build(b.conv(b.input(1, 3, 4, 4), 3))
    with pytest.raises(InvalidGraphError, match=r"^lose_a_node: "):
        rewrite_graph(graph, check=True)
    with pytest.raises(InvalidGraphError, match=r"^(?!lose_a_node)"):
        rewrite_graph(lose_a_node(graph), check=True)


ACTIVATIONS = [RELU, Function("leaky_relu", (0.5,)), Function("clamp", (-1.0, 1.0))]
POWERS = [-2.0, 0.0, 0.5, 1.0]


@st.composite
def graphs(draw):
    """A random graph and values for its inputs, NaN and infinity among them or not."""
    b = GraphBuilder(draw(st.integers(0, 99)))
    values = [b.input(draw(st.integers(1, 2)), 4, 4, 4)]

    def some_value(like=None):
        """The latest value (mostly) or an earlier one, of the size of another if one is given."""
        if like is None:
            return values[-1] if draw(st.integers(0, 3)) else draw(st.sampled_from(values))
        return draw(st.sampled_from([v for v in values if b.shape(v)[2:] == b.shape(like)[2:]]))

    def step(kind):
        x = some_value()
        _, c, h, w = b.shape(x)
        match kind:
            case "1x1":
                return b.conv(x, draw(st.sampled_from([c, 4, 3])), bias=draw(st.booleans()))
            case "3x3":
                return b.conv(x, 4, 3, padding=draw(st.sampled_from([SAME, (2, 0, 1, 1)])))
            case "depthwise":
                return b.conv(x, c, 3, padding=SAME, groups=c)
            case "norm":
                return b.norm(x)
            case "act":
                return b.act(x, draw(st.sampled_from(ACTIVATIONS)))
            case "add":
                same = [v for v in values if b.shape(v) == b.shape(x)]
                return b.arithmetic("add", x, draw(st.sampled_from(same)))
            case "constant":
                numbers = draw(st.lists(st.sampled_from(POWERS), min_size=1, max_size=1))
                sides = [x, b.constant(numbers * draw(st.sampled_from([1, c])))]
                operator = draw(st.sampled_from(["add", "sub", "mul", "maximum"]))
                return b.arithmetic(operator, *draw(st.permutations(sides)))
            case "unit":
                return unit(b, x, draw(st.sampled_from([c, 4])))
            case "residual":
                y = b.conv(x, c)
                y = b.arithmetic("mul", y, b.constant(0.5)) if draw(st.booleans()) else y
                return b.arithmetic("add", *draw(st.permutations([x, y])))
            case "siblings":
                return b.concat(*(unit(b, unit(b, x, width), 2) for width in (1, 2)))
            case "pad":
                return b.pad(x, (1, 0, 0, 1))
            case "concat":
                return b.concat(x, some_value(like=x)) if c < 20 else x
            case "slice":
                start = draw(st.integers(0, c - 1))
                return b.slice(x, 1, start, draw(st.sampled_from([c, start + 1])))
            case "shuffle":
                return b.shuffle(x, draw(st.sampled_from([g for g in (1, 2, c) if c % g == 0])))
            case "pool":
                return b.pool(x, "max", draw(st.sampled_from([1, min(2, h, w)])))
            case _:
                return b.flatten(x) if c * h * w < 400 else x

    kinds = ["1x1", "3x3", "depthwise", "norm", "act", "add", "constant", "pad", "concat", "slice"]
    kinds += ["1x1", "1x1", "norm", "act", "add", "shuffle", "pool", "flatten"]
    kinds += ["unit", "residual", "siblings"] * 2
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=3, max_size=9)):
        values += [step(kind)]
    outputs = [values[-1], *draw(st.lists(st.sampled_from(values), max_size=2))]
    inputs = b.values()
    if draw(st.booleans()):
        inputs[0][0, :2, 1, 1] = torch.tensor([torch.nan, torch.inf])
    return b.build(*outputs), inputs


@pytest.mark.parametrize(
    "rewrite", [*REWRITES, rewrite_graph], ids=lambda rewrite: rewrite.__name__
)
@settings(max_examples=100)
@given(graphs())
def test_random_graphs_keep_their_values(rewrite, drawn):
    check_rewrite(rewrite, *drawn)
