"""Convolutions of every shape, on every target."""

from dataclasses import replace
from itertools import chain
from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from onebyone.graph import Activation, Function, Slice
from tests.helpers.compiled import RUNNABLE, Net, check_compiled
from tests.helpers.functions import EXAMPLES

SOFT = Function("leaky_relu", (0.5,))
ACTIVATIONS = [None, *EXAMPLES]


def channels_around(lanes):
    """Where vectors of channels begin and end."""
    return st.sampled_from([1, 2, 7, 13, lanes - 1, lanes, lanes + 1, 4 * lanes + 1])


@st.composite
def convolutions(draw, lanes):
    """Facts of a convolution, with the shape of its input."""
    kernel = draw(
        st.tuples(st.integers(1, 7), st.integers(1, 7)) | st.sampled_from([(1, 1), (3, 3)])
    )
    few = st.integers(1, 2)
    dilation = draw(st.tuples(few, few) | st.just((1, 1)))
    stride = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (3, 3), (2, 1), (1, 3)]))
    padding = draw(st.tuples(*[st.integers(0, 3)] * 4) | st.just((0, 0, 0, 0)))
    size = []
    for axis in (0, 1):
        reached = dilation[axis] * (kernel[axis] - 1) + 1
        smallest = max(1, reached - padding[2 * axis] - padding[2 * axis + 1])
        size.append(smallest + draw(st.sampled_from([0, 1, 6, 12])))
    depth, channels = draw(channels_around(lanes)), draw(channels_around(lanes))
    groups = draw(st.sampled_from([1, 1, 2, 3, "depthwise", "multiplier"]))
    if groups == "depthwise":
        depth, groups = channels, channels
    elif groups == "multiplier":
        depth = groups = min(depth, 9)
        channels = depth * draw(st.integers(2, 3))
    else:
        depth, channels = depth * groups, channels * groups
    facts = {
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "activation": draw(st.sampled_from(ACTIVATIONS)),
        "bias": draw(st.booleans()),
    }
    return (draw(st.integers(1, 3)), depth, *size), channels, facts


@pytest.mark.parametrize("target", RUNNABLE)
@settings(max_examples=6)
@given(st.data())
def test_convolution(target, data):
    net = Net()
    outputs = []
    for _ in range(3):
        shape, channels, facts = data.draw(convolutions(target.lanes))
        x = net.input(*shape)
        if data.draw(st.booleans()):
            x = net.add(Activation, x, function=SOFT)
        y = net.convolution(x, channels, **facts)
        if data.draw(st.booleans()):
            other = net.input(*net.shape(y))
            outputs.append(net.convolution(x, channels, residual=other, **facts))
        else:
            outputs.append(y)
    check_compiled(net.graph(*outputs), net.values(), target=target)


@pytest.mark.parametrize("target", RUNNABLE)
@settings(max_examples=4)
@given(st.data())
def test_pointwise(target, data):
    """Few and many pixels, few and many channels: all tilings, loops in both orders."""
    net = Net()
    outputs = []
    for _ in range(3):
        images = data.draw(st.integers(1, 3))
        size = data.draw(st.sampled_from([(1, 1), (7, 7), (5, 3), (1, 29), (13, 11)]))
        depth = data.draw(st.sampled_from([1, 3, 8, 24, 67, 256]))
        channels = data.draw(channels_around(target.lanes) | st.sampled_from([96, 320]))
        x = net.input(images, depth, *size)
        y = net.convolution(x, channels, activation=data.draw(st.sampled_from(ACTIVATIONS)))
        outputs.append(net.convolution(y, channels, residual=y, bias=False))
    check_compiled(net.graph(*outputs), net.values(), target=target)


@pytest.mark.parametrize("target", RUNNABLE)
def test_every_tail_has_the_same_bits_at_every_width(target):
    """A last vector of channels may be narrower than a register; its lanes do the same work."""
    net = Net()
    outputs = []
    for tail in range(1, target.lanes):
        per_group = tail + target.lanes * (tail % 3)
        x, residual = net.input(1, 6, 1, 3), net.input(1, 2 * per_group, 1, 3)
        facts = {"groups": 2, "activation": ACTIVATIONS[tail % len(ACTIVATIONS)]}
        outputs.append(net.convolution(x, 2 * per_group, residual=residual, **facts))
    graph, values = net.graph(*outputs), net.values()
    narrow, *others = [
        check_compiled(graph, values, target=replace(target, narrowest_lanes=lanes))
        for lanes in (4, 8, 16)
        if lanes <= target.lanes
    ]
    assert all(map(torch.equal, narrow * len(others), chain(*others)))


@pytest.mark.parametrize("target", RUNNABLE)
def test_readers_of_one_value_reach_differently_far_outside(target):
    net = Net()
    x = net.add(Activation, net.input(2, 10, 6, 5), function=SOFT)
    part = net.add(Slice, x, dim=1, start=3, stop=9)
    outputs = [
        net.convolution(x, 6, (3, 3), padding=(1, 1, 1, 1)),
        net.convolution(x, 6, (2, 5), padding=(0, 3, 4, 0)),
        net.convolution(x, 10, (7, 7), padding=(3, 3, 3, 3), groups=10),
        net.convolution(part, 5, (1, 3), padding=(0, 0, 2, 2)),
        net.convolution(part, 6, (3, 3), padding=(2, 2, 2, 2), dilation=(2, 2), groups=6),
        x,
    ]
    check_compiled(net.graph(*outputs), net.values(), target=target)


def test_weights_larger_than_the_private_cache():
    """Then each block's weights are read once, for all pixels."""
    net = Net()
    x = net.input(2, 512, 5, 5)
    outputs = [net.convolution(x, 600), net.convolution(x, 24, (5, 5), padding=(2, 2, 2, 2))]
    assert prod(net.nodes[outputs[0]].weight.shape) * 4 > (1 << 20) * 2 // 5
    check_compiled(net.graph(*outputs), net.values())


def test_pixels_a_multiple_of_4096_bytes_apart():
    net = Net()
    x = net.input(2, 1024, 3, 3)
    y = net.convolution(x, 2048, activation=SOFT)
    outputs = [net.convolution(y, 1024, residual=x), net.convolution(x, 7, (3, 3))]
    check_compiled(net.graph(*outputs), net.values())


def test_a_convolution_of_a_constant():
    net = Net()
    x = net.input(2, 6, 4, 4)
    known = net.constant(net.numbers(2, 6, 4, 4))
    y = net.convolution(known, 6, (3, 3), padding=(1, 0, 2, 1), stride=(1, 1), residual=None)
    z = net.convolution(x, 6, (3, 3), padding=(1, 1, 1, 1), residual=known)
    check_compiled(net.graph(y, z), net.values())
