"""What becomes of each layer, and why no more, as `Graph.fates` say it after all rewrites."""

import pytest
from hypothesis import given

from onebyone.compiler.rewrites import rewrite_graph
from onebyone.graph.graph import Activation, Arithmetic, BatchNorm, Fate, Pad
from tests.compiler.rewrites.building import RELU, GraphBuilder
from tests.compiler.rewrites.test_rewrites import build_inception, graphs

FRAME = (1, 1, 1, 1)


def two_readers(b, x):
    y = b.conv(x, 4)
    return b.arithmetic("mul", b.act(y), b.norm(y))


ALONE = {
    "act1": {
        "net.pool1 cannot apply it": lambda b, x: b.act(b.pool(x, "max", 2)),
        "net.conv1 is activated already": lambda b, x: b.act(b.conv(x, 4, activation=RELU)),
        "net.norm1 reads net.conv1 too": two_readers,
        "net.conv1 is an output itself": lambda b, x: (y := b.conv(x, 4), b.act(y)),
    },
    "norm1": {
        "net.pool1 is no convolution": lambda b, x: b.norm(b.pool(x, "max", 2)),
        "net.conv1 adds a residual already": lambda b, x: b.norm(b.conv(x, 4, residual=x)),
        "net.conv1 is activated first": lambda b, x: b.norm(b.conv(x, 4, activation=RELU)),
        "net.pool1 is no convolution, and net.conv1 pads it with zeros": lambda b, x: b.conv(
            b.norm(b.pool(x, "max", 2)), 4, 3, padding=FRAME
        ),
        "net.pool1 is no convolution, and its activation comes before net.conv1": lambda b, x: (
            b.conv(b.act(b.norm(b.pool(x, "max", 2))), 4)
        ),
    },
    "add1": {
        "its inputs differ in shape": lambda b, x: b.arithmetic(
            "add", b.conv(x, 4), b.conv(b.pool(x, "avg", 4), 4)
        ),
        "net.act1 is no convolution, and x1 is no convolution": lambda b, x: b.arithmetic(
            "add", x, b.act(x)
        ),
        "net.conv1 is read twice": lambda b, x: b.arithmetic("add", y := b.conv(x, 4), y),
        "it repeats net.conv1": lambda b, x: b.arithmetic(
            "add", b.conv(b.pool(x, "avg", 4), 4), b.constant(b.numbers(1, 4, 4, 4))
        ),
    },
    "mul1": {
        "convolutions add, and do nothing else with a second value": lambda b, x: b.arithmetic(
            "mul", x, b.conv(x, 4)
        ),
        "it is no scale or shift of channels": lambda b, x: b.arithmetic(
            "mul", b.conv(x, 4), b.constant(b.numbers(1, 4, 4, 4))
        ),
        "a combined weight would be infinite": lambda b, x: b.arithmetic(
            "mul", b.conv(x, 4), b.constant(float("inf"))
        ),
    },
    "pad1": {
        "convolutions pad with 0, not with 1": lambda b, x: b.conv(b.pad(x, FRAME, 1.0), 4),
        "net.pool1 reads it and cannot pad": lambda b, x: b.pool(b.pad(x, FRAME), "max", 2),
        "it is an output itself": lambda b, x: b.pad(x, FRAME),
    },
    "conv1": {
        "net.conv2, as it is an output itself": lambda b, x: (b.conv(x, 4), b.act(b.conv(x, 4))),
        "net.conv2, which is an output itself": lambda b, x: (
            b.pool(b.conv(x, 4), "max", 2),
            b.conv(x, 4),
        ),
        "net.conv2, which has another stride": lambda b, x: (
            b.pool(b.conv(x, 4), "max", 2),
            b.pool(b.conv(x, 4, stride=(2, 2)), "max", 2),
        ),
        "net.conv2, which has another activation": lambda b, x: (
            b.pool(b.conv(x, 4), "max", 2),
            b.pool(b.act(b.conv(x, 4)), "max", 2),
        ),
        "net.conv2, as it is written straight into net.concat1": lambda b, x: b.concat(
            b.conv(x, 4), b.pool(b.conv(x, 4), "max", 2)
        ),
        "net.conv2, which adds a residual": lambda b, x: (
            b.pool(b.conv(x, 4), "max", 2),
            b.arithmetic("add", x, b.conv(x, 4)),
        ),
    },
}


@pytest.mark.parametrize(
    ("layer", "why", "build"),
    [(layer, why, build) for layer, found in ALONE.items() for why, build in found.items()],
)
def test_a_layer_that_stays_on_its_own_says_why(layer, why, build):
    b = GraphBuilder()
    outputs = build(b, b.input(1, 4, 4, 4))
    graph = rewrite_graph(b.build(*((outputs,) if isinstance(outputs, str) else outputs)))
    fate = graph.fates[layer]
    assert fate.nodes == (layer,)
    assert fate.why.split(": ", 1)[-1].removeprefix("not merged with ") == why


@given(graphs())
def test_what_is_mostly_part_of_another_is_never_alone_without_a_reason(drawn):
    graph = rewrite_graph(drawn[0])
    for layer, fate in graph.fates.items():
        is_alone = fate.nodes == (layer,)
        if is_alone and isinstance(graph[layer], Activation | Arithmetic | BatchNorm | Pad):
            assert fate.why, f"{layer} in\n{graph}"


def test_siblings_are_computed_by_what_they_were_merged_into():
    b = GraphBuilder()
    fates = rewrite_graph(b.build(build_inception(b))).fates
    merged = Fate(("conv2+conv4",))
    for layer in ("conv2", "norm2", "act2", "conv4", "norm4", "act4"):
        assert fates[layer] == merged
    assert fates["norm3"] == Fate(("conv3",))
    assert fates["pad1"] == Fate(("conv5",))
    assert fates["conv1"].why.endswith("as it is written straight into net.concat1")


def test_a_border_that_two_convolutions_read_is_computed_by_both():
    b = GraphBuilder()
    padded = b.pad(b.input(1, 3, 4, 4), FRAME)
    graph = rewrite_graph(b.build(b.conv(padded, 2, 3), b.conv(padded, 4, 3)))
    assert graph.fates["pad1"] == Fate(("conv1", "conv2"))


def test_what_is_dropped_says_why():
    b = GraphBuilder()
    x = b.input(1, 3, 4, 4)
    y = b.arithmetic("add", b.shuffle(x, 3), b.constant(0.0))
    both = b.concat(y, b.conv(x, 2))
    graph = rewrite_graph(b.build(b.slice(both, 1, 0, 3), b.slice(both, 1, 3, 5)))
    assert {layer: fate.why for layer, fate in graph.fates.items() if not fate.nodes} == {
        "shuffle1": "it changes no number",
        "c1": "nothing that is left reads it",
        "add1": "it changes no number",
        "concat1": "nothing that is left reads it",
        "slice1": "it gives x1, which is read instead",
        "slice2": "it gives net.conv1, which is read instead",
    }
