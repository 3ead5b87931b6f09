"""Concatenations: in place, copied, nested, growing; and values that leave the network."""

import pytest

from onebyone.compiler.plan.plan import plan_execution
from onebyone.compiler.target import host_target
from onebyone.graph import (
    Activation,
    Arithmetic,
    Concat,
    Function,
    Pad,
    Pool,
    Ref,
    Reshape,
    Shuffle,
    Slice,
    Softmax,
    Upsample,
    View,
)
from onebyone.graph.windows import global_window
from tests.helpers.compiled import RUNNABLE, Net, check_compiled

SOFT = Function("leaky_relu", (0.5,))


def act(net, x):
    return net.add(Activation, x, function=SOFT)


def copies(graph):
    plan = plan_execution(graph, host_target())
    return [operation.name for operation in plan.operations if operation.note == "copied"]


def nested(net):
    x = net.input(2, 5, 4, 3)
    a, b, c = (
        act(net, x),
        net.convolution(x, 7),
        net.convolution(x, 17, (3, 3), padding=(1, 1, 1, 1)),
    )
    inner = net.add(Concat, a, b)
    outer = net.add(Concat, inner, c)
    most = net.add(Concat, outer, net.convolution(outer, 3, (3, 3), padding=(1, 1, 1, 1)))
    return [most, net.convolution(most, 9)]


def growing(net):
    """DenseNet: each layer reads all before it."""
    parts = [net.convolution(net.input(2, 3, 5, 4), 8)]
    for _ in range(4):
        whole = net.add(Concat, *parts) if len(parts) > 1 else parts[0]
        narrow = net.convolution(act(net, whole), 16)
        parts.append(net.convolution(narrow, 5, (3, 3), padding=(1, 1, 1, 1)))
    return [net.add(Concat, *parts)]


def repeated(net):
    x = act(net, net.input(2, 5, 3, 3))
    y = net.add(Concat, x, x, x)
    return [y, net.convolution(y, 4), net.add(Concat, y, x, y)]


def inputs_of_the_graph(net):
    x, y = net.input(2, 3, 4, 4), net.input(2, 18, 4, 4)
    both = net.add(Concat, x, y)
    return [both, net.add(Concat, y, x), net.convolution(both, 5, (3, 3), padding=(1, 1, 1, 1)), x]


def constants(net):
    x = net.input(2, 3, 4, 4)
    known = net.constant(net.numbers(2, 6, 4, 4))
    y = net.add(Concat, known, act(net, x), known)
    return [y, net.convolution(y, 5, (3, 3), padding=(2, 2, 2, 2)), known]


def two_readers(net):
    """A value in the middle of one concatenation and at the end of another."""
    x = net.input(1, 6, 5, 5)
    a, b, c = (net.convolution(x, channels) for channels in (4, 5, 6))
    return [net.add(Concat, a, b, c), net.add(Concat, c, a), net.add(Concat, b, c), a]


def slices(net):
    x = act(net, net.input(2, 24, 4, 3))
    halves = [net.add(Slice, x, dim=1, start=i, stop=i + 12) for i in (0, 12)]
    mixed = net.add(Concat, halves[1], halves[0])
    whole = net.add(Concat, *halves)
    unit = net.add(Concat, halves[0], net.convolution(halves[1], 12, (3, 3), padding=(1, 1, 1, 1)))
    return [mixed, whole, net.add(Shuffle, unit, groups=2), net.convolution(whole, 3)]


def padded(net):
    x = act(net, net.input(2, 5, 3, 3))
    frames = [net.add(Pad, x, padding=(1, 1, 1, 1), value=value) for value in (2.0, 0.0)]
    y = net.add(Concat, *frames, net.convolution(x, 4, (3, 3), padding=(2, 2, 2, 2)))
    return [y, net.convolution(y, 7, (3, 3), padding=(1, 1, 1, 1)), frames[0]]


def every_kind(net):
    x = net.input(2, 6, 4, 4)
    pool = net.add(Pool, x, operator="avg", rows=global_window(4), columns=global_window(4))
    flat = net.add(Reshape, act(net, x))
    vector = net.add(Concat, flat, pool, net.add(Softmax, pool), net.convolution(pool, 3))
    image = net.add(
        Concat,
        net.add(Upsample, x, shape=(0, 0, 8, 8), mode="nearest"),
        net.add(Upsample, x, shape=(0, 0, 8, 8), mode="bilinear"),
        net.add(Pad, x, padding=(2, 2, 2, 2)),
    )
    wide = net.convolution(vector, 6, (3, 3), padding=(1, 1, 1, 1))  # a border around one pixel
    return [vector, image, net.add(Arithmetic, image, pool_of_18(net, image), operator="mul"), wide]


def pool_of_18(net, image):
    return net.add(Pool, image, operator="max", rows=global_window(8), columns=global_window(8))


def flat_with_a_border(net):
    """A flattened image that a padded convolution reads: images are then not side by side."""
    flat = net.add(Reshape, net.input(3, 4, 2, 3))
    return [net.convolution(flat, 5, (3, 3), padding=(1, 1, 1, 1)), flat]


NETS = [
    nested,
    growing,
    repeated,
    inputs_of_the_graph,
    constants,
    two_readers,
    slices,
    padded,
    every_kind,
    flat_with_a_border,
]


@pytest.mark.parametrize("target", RUNNABLE)
@pytest.mark.parametrize("build", NETS)
def test_concat(build, target):
    net = Net()
    check_compiled(net.graph(*build(net)), net.values(), target=target)


@pytest.mark.parametrize(
    ("build", "count"), [(nested, 0), (growing, 0), (repeated, 4), (constants, 2), (padded, 4)]
)
def test_concat_copies_no_more_than_it_must(build, count):
    net = Net()
    assert len(copies(net.graph(*build(net)))) == count


@pytest.mark.parametrize("target", RUNNABLE)
def test_outputs_are_whatever_they_are(target):
    """Read by others, inputs, constants, views, the same twice, and shown in every way."""
    net = Net()
    x = net.input(2, 6, 3, 5)
    y = act(net, x)
    z = net.convolution(y, 8, (3, 3), padding=(1, 1, 1, 1))
    pool = net.add(Pool, z, operator="avg", rows=global_window(3), columns=global_window(5))
    scores = net.convolution(pool, 10)
    known = net.constant(net.numbers(1, 4, 1, 1))
    part = net.add(Slice, y, dim=1, start=2, stop=5)
    outputs = [x, y, y, z, scores, scores, pool, known, known, part, part]
    outputs += [Ref(scores, View.NC), Ref(pool, View.NC), Ref(z, View.NHWC), Ref(x, View.NHWC)]
    check_compiled(net.graph(*outputs), net.values(), target=target)


def test_scores_are_computed_in_the_callers_tensor():
    net = Net()
    pool = net.add(
        Pool, net.input(2, 8, 3, 3), operator="avg", rows=global_window(3), columns=global_window(3)
    )
    plan = plan_execution(net.graph(net.convolution(pool, 10)), host_target())
    assert [type(operation.kernel).__name__ for operation in plan.operations] == [
        "ReadKernel",
        "PoolKernel",
        "ConvolutionKernel",
    ]
    check_compiled(net.graph(pool, *net.graph(net.convolution(pool, 10)).outputs[:0]), net.values())


def test_an_output_with_a_view_of_itself_among_the_outputs():
    net = Net()
    scores = net.convolution(net.input(3, 8, 1, 1), 10)
    half = net.add(Slice, scores, dim=1, start=5, stop=10)
    flat = net.add(Concat, scores, half)
    check_compiled(net.graph(half, scores, flat, net.convolution(half, 2)), net.values())
