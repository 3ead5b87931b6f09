"""What does nothing goes; what looks like it stays."""

import math

import pytest
import torch

from onebyone.compiler.rewrites.drop_identity import drop_identity
from onebyone.graph.graph import Function
from tests.compiler.rewrites.building import RELU, GraphBuilder
from tests.helpers.rewrites import check_rewrite

IDENTITIES = {
    "pad": lambda b, x: b.pad(x, (0, 0, 0, 0), 7.0),
    "channels": lambda b, x: b.slice(x, 1, 0, 4),
    "rows": lambda b, x: b.slice(x, 2, 0, 5),
    "max pool": lambda b, x: b.pool(x, "max", 1),
    "average pool": lambda b, x: b.pool(x, "avg", 1),
    "concat": lambda b, x: b.concat(x),
    "upsample": lambda b, x: b.upsample(x, 5, 3),
    "upsample by 1": lambda b, x: b.upsample(x, 5, 3, (1.0, 1.0)),
    "clamp": lambda b, x: b.act(x, Function("clamp", (-math.inf, math.inf))),
    "shuffle of one group": lambda b, x: b.shuffle(x, 1),
    "shuffle of single channels": lambda b, x: b.shuffle(x, 4),
    "x + 0": lambda b, x: b.arithmetic("add", x, b.constant(0.0)),
    "0 + x": lambda b, x: b.arithmetic("add", b.constant([0.0] * 4), x),
    "x - 0": lambda b, x: b.arithmetic("sub", x, b.constant(0.0)),
    "x * 1": lambda b, x: b.arithmetic("mul", x, b.constant(torch.ones(1, 1, 5, 3))),
    "1 * x": lambda b, x: b.arithmetic("mul", b.constant(1.0), x),
    "x / 1": lambda b, x: b.arithmetic("div", x, b.constant(1.0)),
}

NOT_IDENTITIES = {
    "pad": lambda b, x: b.pad(x, (0, 0, 0, 1)),
    "channels": lambda b, x: b.slice(x, 1, 0, 3),
    "pool with a stride": lambda b, x: b.pool(x, "max", 1, 2),
    "average that counts padding": lambda b, x: b.change(
        y := b.pool(x, "avg", 1),
        rows=tuple(type(w)(w.start, w.stop, 2) for w in b.nodes[y].rows),
    ),
    "pool that turns rows around": lambda b, x: b.change(
        y := b.pool(x, "max", 1), rows=b.nodes[y].rows[::-1]
    ),
    "concat": lambda b, x: b.concat(x, x),
    "upsample": lambda b, x: b.upsample(x, 10, 3),
    "bilinear, which spreads NaN": lambda b, x: b.upsample(x, 5, 3, mode="bilinear"),
    "clamp": lambda b, x: b.act(x, Function("clamp", (0.0, math.inf))),
    "shuffle": lambda b, x: b.shuffle(x, 2),
    "flatten": lambda b, x: b.flatten(x),
    "0 - x": lambda b, x: b.arithmetic("sub", b.constant(0.0), x),
    "1 / x": lambda b, x: b.arithmetic("div", b.constant(1.0), x),
    "x + 1": lambda b, x: b.arithmetic("add", x, b.constant(1.0)),
    "x * 0": lambda b, x: b.arithmetic("mul", x, b.constant(0.0)),
    "not all ones": lambda b, x: b.arithmetic("mul", x, b.constant([1.0, 1.0, 2.0, 1.0])),
    "maximum": lambda b, x: b.arithmetic("maximum", x, b.constant(0.0)),
    "larger": lambda b, x: b.arithmetic(
        "add", b.slice(x, 1, 0, 1), b.constant([0.0, 0.0, 0.0, 0.0])
    ),
    "convolution": lambda b, x: b.conv(x, 4),
    "batch norm": lambda b, x: b.norm(x),
}


def special_values(b):
    """Values for the inputs, NaN and infinity among them."""
    values = b.values()
    values[0][0, 0, :3, 0] = torch.tensor([math.nan, math.inf, -math.inf])
    return values


@pytest.mark.parametrize("build", IDENTITIES.values(), ids=IDENTITIES)
def test_nothing_is_dropped(build):
    b = GraphBuilder()
    y = build(b, b.input(1, 4, 5, 3))
    z = b.norm(y)
    after = check_rewrite(drop_identity, b.build(y, z), special_values(b))
    assert [(node.name, node.inputs) for node in after if node.inputs] == [(z, ("x1",))]
    assert [ref.name for ref in after.outputs] == ["x1", z]


@pytest.mark.parametrize("build", NOT_IDENTITIES.values(), ids=NOT_IDENTITIES)
def test_something_stays(build):
    b = GraphBuilder()
    graph = b.build(build(b, b.input(1, 4, 5, 3)))
    assert check_rewrite(drop_identity, graph, special_values(b)) is graph


def test_nothings_in_a_row_go_together():
    b = GraphBuilder()
    y = b.concat(b.pad(b.flatten(b.input(2, 4, 1, 1)), (0, 0, 0, 0)))
    after = check_rewrite(drop_identity, b.build(y), b.values())
    assert list(after.nodes) == ["x1"]


def test_a_scale_that_turns_pixels_away_is_no_identity():
    b = GraphBuilder()
    # At 1.1 output rows an input row, row i of 5 is row floor(i / 1.1): 0 0 1 2 3.
    graph = b.build(b.upsample(b.input(1, 1, 5, 5), 5, 5, (1.1, 1.1)))
    assert drop_identity(graph) is graph


def test_the_activation_of_nothing_stays():
    b = GraphBuilder()
    y = b.arithmetic("mul", b.input(1, 2, 3, 3), b.constant(1.0), RELU)
    after = check_rewrite(drop_identity, b.build(y), b.values())
    assert after["mul1"].kind == "activation"
    assert after["mul1"].path == "net.mul1"
