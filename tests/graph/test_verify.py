"""Each rule of a graph is checked: a planted fault is named, with its node."""

import operator
from dataclasses import replace
from types import MappingProxyType

import pytest
import torch

from onebyone.errors import InvalidGraphError
from onebyone.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Concat,
    Constant,
    Convolution,
    Function,
    Graph,
    Input,
    LayerNorm,
    Opaque,
    Pad,
    Pool,
    Ref,
    Reshape,
    Shuffle,
    Slice,
    Softmax,
    Upsample,
    View,
    Window,
    verify,
)

RELU = Function("relu")
IMAGE, FLAT = (2, 4, 6, 5), (2, 120, 1, 1)
PER_CHANNEL = {name: torch.ones(4) for name in ("weight", "bias")}
STATISTICS = {name: torch.ones(4) for name in ("mean", "var")}
ROWS, COLUMNS = (Window(0, 6, 6),), (Window(0, 3, 3), Window(2, 5, 3))


def node(kind, name, *inputs, shape=IMAGE, **fields):
    return kind(name=name, inputs=inputs, shape=shape, **fields)


NODES = {
    one.name: one
    for one in (
        node(Input, "x", index=0),
        node(Input, "y", index=1),
        node(Constant, "one", shape=(1, 4, 1, 1), value=torch.ones(1, 4, 1, 1)),
        node(
            *(Convolution, "conv", "x", "y"),
            weight=torch.ones(4, 2, 3, 3),
            bias=torch.ones(4),
            padding=(1, 1, 1, 1),
            groups=2,
            activation=RELU,
        ),
        node(BatchNorm, "bn", "conv", eps=1e-5, **PER_CHANNEL, **STATISTICS),
        node(LayerNorm, "ln", "bn", eps=1e-5, **PER_CHANNEL),
        node(Activation, "leaky", "ln", function=Function("leaky_relu", (0.1,))),
        node(Arithmetic, "sum", "leaky", "one", operator="add", activation=RELU),
        node(Softmax, "softmax", "sum"),
        node(Pool, "pool", "x", shape=(2, 4, 1, 2), operator="max", rows=ROWS, columns=COLUMNS),
        node(Upsample, "up", "x", shape=(2, 4, 9, 9), mode="nearest"),
        node(Pad, "pad", "x", shape=(2, 4, 9, 12), padding=(1, 2, 3, 4)),
        node(Concat, "cat", "x", "y", shape=(2, 8, 6, 5)),
        node(Slice, "slice", "x", shape=(2, 4, 2, 5), dim=2, start=1, stop=5, step=2),
        node(Shuffle, "shuffle", "x", groups=2),
        node(Reshape, "flat", "x", shape=FLAT),
        node(
            *(Opaque, "parts", "x", "flat"),
            shape=(),
            target=torch.ops.aten.meshgrid.default,
            arguments=([Ref("x", View.NHWC)],),
            keywords={"other": Ref("flat", View.NC)},
        ),
        node(Opaque, "part", "parts", target=operator.getitem, arguments=(Ref("parts"), 0)),
    )
}
OUTPUTS = (Ref("part"), Ref("softmax", View.NHWC), Ref("flat", View.NC))


def test_a_graph_that_keeps_all_rules():
    verify(Graph.of(NODES.values(), OUTPUTS))


FAULTS: dict[str, tuple[str, dict[str, object]]] = {
    "reads 'z', which no node before": ("softmax", {"inputs": ("z",)}),
    "softmax reads 'pool', which no node before it": ("softmax", {"inputs": ("pool",)}),
    r"two inputs have one index: \[0, 0\]": ("y", {"index": 0}),
    "y: an input reads nothing": ("y", {"inputs": ("x",)}),
    "softmax: a softmax doesn't read 2 values": ("softmax", {"inputs": ("sum", "sum")}),
    "one: a constant doesn't read 1 values": ("one", {"inputs": ("x",)}),
    "cat: a concat doesn't read 0 values": ("cat", {"inputs": ()}),
    r"softmax has shape \(2, 9\), but gives \(2, 4, 6, 5\)": ("softmax", {"shape": (2, 9)}),
    r"part reads \['x'\], but its arguments refer to \['parts'\]": ("part", {"inputs": ("x",)}),
    r"parts can't see x \(2, 4, 6, 5\) as NC": (
        "parts",
        {"arguments": (Ref("x", View.NC),)},
    ),
    "leaky: no activation function 'swoosh'": ("leaky", {"function": Function("swoosh")}),
    "leaky: leaky_relu takes 1 parameters, not 0": ("leaky", {"function": Function("leaky_relu")}),
    "sum: clamp takes 2 parameters, not 1": ("sum", {"activation": Function("clamp", (1.0,))}),
    r"one: `value` \(2,\) must be \(1, 4, 1, 1\)": ("one", {"value": torch.ones(2)}),
    r"one: `value` must be floats, not torch.int64": (
        "one",
        {"value": torch.ones(1, 4, 1, 1, dtype=torch.int64)},
    ),
    r"one: a constant is \(N, C, H, W\), not \(4,\)": (
        "one",
        {"value": torch.ones(4), "shape": (4,)},
    ),
    r"conv: `weight` \(4, 2\) must have rank 4": ("conv", {"weight": torch.ones(4, 2)}),
    r"conv: `weight` \(4, 3, 3, 3\) with `groups` \(=2\) doesn't fit 4 channels": (
        "conv",
        {"weight": torch.ones(4, 3, 3, 3)},
    ),
    r"conv: `weight` \(3, 2, 3, 3\) with `groups` \(=2\)": (
        "conv",
        {"weight": torch.ones(3, 2, 3, 3)},
    ),
    r"conv: `bias` \(3,\) must be \(4,\)": ("conv", {"bias": torch.ones(3)}),
    r"conv: `padding` \(-1, 1, 1, 1\) must not be negative": ("conv", {"padding": (-1, 1, 1, 1)}),
    r"conv: the residual \(2, 4, 6, 5\) must have the output's shape \(2, 4, 3, 3\)": (
        "conv",
        {"stride": (2, 2)},
    ),
    r"bn: `mean` \(5,\) must be \(4,\)": ("bn", {"mean": torch.ones(5)}),
    r"ln: `weight` \(5,\) must be \(4,\)": ("ln", {"weight": torch.ones(5)}),
    r"sum: \(2, 4, 6, 5\) and \(2, 8, 6, 5\) don't broadcast": (
        "sum",
        {"inputs": ("leaky", "cat")},
    ),
    r"pool: Window\(start=0, stop=7, count=7\) must lie within 0..6": (
        "pool",
        {"rows": (Window(0, 7, 7),)},
    ),
    r"pool: Window\(start=2, stop=2, count=1\) must lie within 0..5": (
        "pool",
        {"columns": (Window(2, 2, 1), Window(0, 5, 5))},
    ),
    r"pool: Window\(start=0, stop=5, count=0\)": (
        "pool",
        {"columns": (Window(0, 5, 0), Window(0, 5, 5))},
    ),
    r"up: shape \(2, 4\) must be \(N, C, H, W\)": ("up", {"shape": (2, 4)}),
    r"up: shape \(2, 4, 0, 3\) must have pixels": ("up", {"shape": (2, 4, 0, 3)}),
    r"up has shape \(2, 5, 9, 9\), but gives \(2, 4, 9, 9\)": ("up", {"shape": (2, 5, 9, 9)}),
    r"pad: `padding` \(1, -2, 3, 4\) must not be negative": ("pad", {"padding": (1, -2, 3, 4)}),
    r"cat: \(2, 4, 6, 5\) and \(2, 4, 1, 2\) must differ in channels only": (
        "cat",
        {"inputs": ("x", "pool")},
    ),
    r"slice: `dim` \(=0\) must be 1, 2 or 3": ("slice", {"dim": 0}),
    r"slice: 1:7:2 must lie within 0..6": ("slice", {"stop": 7}),
    r"slice: 5:5:2 must lie within 0..6": ("slice", {"start": 5}),
    r"shuffle: `groups` \(=3\) must divide 4 channels": ("shuffle", {"groups": 3}),
    r"softmax reads parts, whose shape \(\) is not \(N, C, H, W\)": (
        "softmax",
        {"inputs": ("parts",)},
    ),
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_planted_fault_is_named(text):
    name, fields = FAULTS[text]
    nodes = {**NODES, name: replace(NODES[name], **fields)}
    if name in ("sum", "cat", "softmax") and "no node before" not in text:
        del nodes["softmax"]  # which reads `sum`; then the changed node can come after all others
        nodes.pop(name, None)
        nodes[name] = replace(NODES[name], **fields)
    with pytest.raises(InvalidGraphError, match=f"{text}.*; please report this$"):
        verify(Graph.of(nodes.values(), [Ref("x")]))


def test_a_node_under_another_name():
    graph = Graph(MappingProxyType({"z": NODES["x"]}), ())
    with pytest.raises(InvalidGraphError, match=r"^node 'x' stands under the name 'z'; please"):
        verify(graph)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (Ref("z"), "an output refers to 'z', which no node before it gives"),
        (Ref("x", View.NC), r"an output can't see x \(2, 4, 6, 5\) as NC"),
        (Ref("parts", View.NHWC), r"an output can't see parts \(\) as NHWC"),
    ],
)
def test_an_output_that_is_not_there(output, text):
    with pytest.raises(InvalidGraphError, match=f"^{text}; please report this$"):
        verify(Graph.of(NODES.values(), [output]))
