"""Nodes that move or reduce pixels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from onebyone.graph import (
    Activation,
    Function,
    Pad,
    Pool,
    Reshape,
    Shuffle,
    Slice,
    Upsample,
)
from onebyone.graph.interpret import interpret
from onebyone.graph.windows import adaptive_windows, average_windows, global_window, max_windows
from tests.helpers.compiled import RUNNABLE, Net, check_compiled, run_graph

SOFT = Function("leaky_relu", (0.5,))
sizes = st.sampled_from([(1, 1), (7, 7), (5, 8), (1, 9), (12, 3)])


def start(net, data, channels, size, images=None):
    """A value that lies in the arena, with a border or without, or comes from the caller."""
    x = net.input(images or data.draw(st.integers(1, 3)), channels, *size)
    return net.add(Activation, x, function=SOFT) if data.draw(st.booleans()) else x


@pytest.mark.parametrize("target", RUNNABLE)
@settings(max_examples=3)
@given(st.data())
def test_pool(target, data):
    net = Net()
    outputs = []
    for channels in (1, target.lanes + 1, 4 * target.lanes):
        height, width = data.draw(sizes)
        x = start(net, data, channels, (height, width))
        kernel, stride = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
        padding = data.draw(st.integers(0, kernel // 2))
        ceil = data.draw(st.booleans())
        counting = data.draw(st.booleans())
        outs = data.draw(st.integers(1, 9))
        windows = [(adaptive_windows(height, outs), adaptive_windows(width, outs))] * 2
        windows.append((global_window(height), global_window(width)))
        if min(height, width) + 2 * padding >= kernel:
            windows += [
                tuple(
                    max_windows(s, kernel, stride, padding, ceil_mode=ceil) for s in (height, width)
                ),
                tuple(
                    average_windows(
                        s, kernel, stride, padding, ceil_mode=ceil, count_padding=counting
                    )
                    for s in (height, width)
                ),
            ]
        for rows, columns in windows:
            operator = data.draw(st.sampled_from(["max", "avg"]))
            outputs.append(net.add(Pool, x, operator=operator, rows=rows, columns=columns))
    check_compiled(net.graph(*outputs), net.values(), target=target)


@pytest.mark.parametrize("target", RUNNABLE)
def test_pools_let_nan_and_infinity_through(target):
    net = Net()
    x = net.input(1, 19, 6, 6)
    windows = max_windows(6, 3, 2, 1, ceil_mode=False)
    outputs = [
        net.add(Pool, x, operator=operator, rows=windows, columns=windows)
        for operator in ("max", "avg")
    ]
    (value,) = net.values()
    value[0, 3, 2, 2], value[0, 18, 5, 5] = torch.nan, torch.nan
    value[0, 5, 0, 0], value[0, 6] = torch.inf, -torch.inf
    graph = net.graph(*outputs)
    for got, wanted in zip(
        run_graph(graph, [value], target=target), interpret(graph, [value]), strict=True
    ):
        torch.testing.assert_close(got, wanted, equal_nan=True)


@pytest.mark.parametrize("target", RUNNABLE)
@settings(max_examples=3)
@given(st.data())
def test_upsample(target, data):
    net = Net()
    outputs = []
    for mode in ("nearest", "bilinear", "bilinear"):
        x = start(net, data, data.draw(st.sampled_from([1, 5, target.lanes, 33])), data.draw(sizes))
        for _ in range(3):
            factors = tuple(
                data.draw(st.sampled_from([0.5, 0.7, 1.0, 1.1, 2.0, 2.1, 3.0])) for _ in "hw"
            )
            size = [max(1, int(n * f)) for n, f in zip(net.shape(x)[2:], factors, strict=True)]
            facts = data.draw(st.sampled_from([{}, {"scale": factors}, {"align_corners": True}]))
            if mode == "nearest":
                facts = {key: value for key, value in facts.items() if key == "scale"}
            outputs.append(net.add(Upsample, x, shape=(0, 0, *size), mode=mode, **facts))
    check_compiled(net.graph(*outputs), net.values(), target=target)


def test_an_infinity_does_not_reach_a_neighbour_where_no_size_changes():
    """Nothing of the neighbour times infinity would be NaN."""
    net = Net()
    x = net.input(1, 3, 5, 4)
    graph = net.graph(net.add(Upsample, x, shape=(0, 0, 10, 4), mode="bilinear"))
    (value,) = net.values()
    value[0, 1, 2, 2] = torch.inf
    check_compiled(graph, [value])


@pytest.mark.parametrize("target", RUNNABLE)
@settings(max_examples=3)
@given(st.data())
def test_pad(target, data):
    net = Net()
    outputs = []
    for value in (0.0, -1.5, float("-inf"), 0.0):
        channels = data.draw(st.sampled_from([1, 5, target.lanes, target.lanes + 1]))
        x = start(net, data, channels, data.draw(sizes))
        padding = data.draw(st.tuples(*[st.integers(0, 3)] * 4))
        y = net.add(Pad, x, padding=padding, value=value)
        outputs.append(y)
        if value == -1.5:  # zeros around what is not zero around the image
            outputs.append(net.convolution(y, 4, (3, 3), padding=(1, 2, 2, 1)))
            outputs.append(net.add(Pad, y, padding=(1, 0, 0, 2), value=0.5))
    check_compiled(net.graph(*outputs), net.values(), target=target)


def test_pad_of_pixels_a_multiple_of_4096_bytes_apart():
    net = Net()
    y = net.add(Pad, net.input(2, 1024, 2, 3), padding=(1, 0, 2, 1), value=4.0)
    check_compiled(net.graph(y, net.convolution(y, 3, (3, 3), padding=(1, 1, 1, 1))), net.values())


@pytest.mark.parametrize("target", RUNNABLE)
@settings(max_examples=3)
@given(st.data())
def test_slice_shuffle_and_reshape(target, data):
    net = Net()
    outputs = []
    for channels in (6, 24, 4 * target.lanes + 2):
        x = start(net, data, channels, data.draw(sizes))
        for dim in (1, 2, 3):
            size = net.shape(x)[dim]
            first = data.draw(st.integers(0, size - 1))
            stop = data.draw(st.integers(first + 1, size))
            step = data.draw(st.integers(1, 3))
            y = net.add(Slice, x, dim=dim, start=first, stop=stop, step=step)
            outputs.append(y)
            if dim == 1:
                outputs.append(net.add(Activation, y, function=SOFT))
                outputs.append(net.add(Slice, y, dim=1, start=0, stop=net.shape(y)[1]))
                outputs.append(net.add(Reshape, y))
        outputs.append(net.add(Shuffle, x, groups=data.draw(st.sampled_from([1, 2]))))
        outputs.append(net.convolution(net.add(Reshape, x), 5))
    check_compiled(net.graph(*outputs), net.values(), target=target)


@pytest.mark.parametrize("groups", [2, 3, 4, 6, 12])
def test_shuffle(groups):
    net = Net()
    y = net.add(Shuffle, net.input(2, 24, 3, 2), groups=groups)
    check_compiled(net.graph(y), net.values())
