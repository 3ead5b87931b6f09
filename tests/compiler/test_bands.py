"""Convolutions that run together give the bits that they give one by one."""

from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onebyone.compiler.build import build
from onebyone.compiler.choose.bands import band_of, choose_bands, find_bands, kept_rows
from onebyone.compiler.choose.choose import choose, choose_convolution
from onebyone.compiler.choose.cost import far_rate
from onebyone.compiler.kernels.band import BandKernel
from onebyone.compiler.plan.plan import plan_execution
from onebyone.compiler.rewrites import rewrite_graph
from onebyone.compiler.runtime.native import Memory, NativeFunction
from onebyone.compiler.target import TARGETS, host_target
from onebyone.graph import Concat, Convolution, Function, capture
from onebyone.graph.interpret import interpret
from onebyone.models import create_model
from tests.helpers.compiled import RUNNABLE, Net, check_values, count_terms, run_graph

AVX512 = TARGETS["avx512"]


def alone(graph, target):
    """How convolutions run that are in no band."""
    convolutions = (node for node in graph if isinstance(node, Convolution))
    far = far_rate(graph, target)
    return {node.name: choose_convolution(node, target, far=far) for node in convolutions}


def run_alone(graph, inputs, target=None):
    """Run all convolutions one by one."""
    target = target or host_target()
    return run_graph(graph, inputs, target=target, chosen=alone(graph, target))


def run_in_bands(graph, inputs, target, rows_at_once, threads):
    """Run all that can run together so, large or not, cut as said."""

    def cut(head, depthwise, tail):
        return band_of(head, depthwise, tail, rows_at_once) if head or tail else None

    found = find_bands(graph, set(), cut)
    bands = {
        name: choose_convolution(graph[name], target, band=band, far=far_rate(graph, target))
        for name, band in found.items()
    }
    chosen = alone(graph, target) | bands
    return found, run_graph(graph, inputs, target=target, threads=threads, chosen=chosen)


@pytest.mark.parametrize("target", RUNNABLE)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_a_band_gives_the_bits_of_its_convolutions(target, data):
    def draw(low, high):
        return data.draw(st.integers(low, high))

    lanes, kernel, dilation, stride = target.lanes, draw(1, 5), draw(1, 2), draw(1, 2)
    reach = (kernel - 1) * dilation + 1
    padding = tuple(draw(0, reach // 2) for _ in range(4))
    height, width = draw(max(1, reach), 13), draw(max(1, reach), 11)
    channels = data.draw(st.sampled_from([2, lanes - 1, lanes, lanes + 3, 2 * lanes]))
    parts = data.draw(st.sampled_from(["head", "tail", "head and tail"]))
    relu6 = Function("clamp", (0.0, 6.0))
    net = Net()
    x = net.input(draw(1, 2), draw(1, lanes + 1), height, width)
    if "head" in parts:
        size = draw(1, 3)
        value = net.convolution(
            x, channels, (size, size), padding=(size - 1, 0, 0, size - 1), activation=relu6
        )
    else:
        value = net.convolution(x, channels, activation=Function("silu"))
    before = value
    value = net.convolution(
        value,
        net.shape(value)[1],
        (kernel, kernel),
        groups=net.shape(value)[1],
        padding=padding,
        dilation=(dilation, dilation),
        stride=(stride, stride) if reach >= stride else (1, 1),
        bias=data.draw(st.booleans()),
        activation=relu6,
    )
    if "tail" in parts:
        narrow = draw(1, lanes + 2)
        _, _, rows, columns = net.shape(value)
        residual = None
        if data.draw(st.booleans()):
            residual = net.input(net.shape(value)[0], narrow, rows, columns)
        value = net.convolution(value, narrow, residual=residual)
    # What is an output cannot be a head.
    graph = net.graph(value) if "head" in parts else net.graph(value, before)
    inputs = net.values()
    found, got = run_in_bands(graph, inputs, target, draw(1, 4), draw(1, 3))
    assert value in found
    assert (before in found) == ("head" in parts)
    expected = run_alone(graph, inputs, target)
    assert torch.equal(got[0], expected[0])
    check_values(got, interpret(graph, inputs, dtype=torch.float64), terms=count_terms(graph))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_branches_do_not_take_each_others_rows(threads):
    """Their bands are of one shape and in one group, and a thread changes from one to the other."""
    net = Net()
    x = net.input(2, 5, 12, 9)
    branches = [bottleneck(net, x)[-1] for _ in range(3)]
    graph, inputs = net.graph(net.add(Concat, *branches)), net.values()
    found, got = run_in_bands(graph, inputs, host_target(), 1, threads)
    assert len(set(map(id, found.values()))) == 3
    expected = run_alone(graph, inputs)
    assert torch.equal(got[0], expected[0])


@pytest.mark.parametrize("threads", [1, 2])
def test_separable_convolutions_in_a_row_share_none_of_theirs(threads):
    """The 1x1 convolution between two depthwise ones could be the end of a band or a start."""
    net = Net()
    value = net.input(2, 5, 12, 9)
    values = []
    for _ in range(3):
        value = net.convolution(value, 5, (3, 3), groups=5, padding=(1, 1, 1, 1))
        values.append(value)
        value = net.convolution(value, 5)
        values.append(value)
    graph, inputs = net.graph(value), net.values()
    found, got = run_in_bands(graph, inputs, host_target(), 2, threads)
    bands = [found[name].names for name in values]
    assert bands == [pair for pair in zip(values[::2], values[1::2], strict=True) for _ in pair]
    expected = run_alone(graph, inputs)
    assert torch.equal(got[0], expected[0])


CHAINS = [(9, 24, 1 << 13), (56, 80, None), (112, 130, None), (224, 256, None)]
"""Images from which size to which, and the private cache if it is not the target's."""


def draw_chain(data, target):
    """Convolutions as bands are made of them, with values smaller or larger than the cache."""

    def among(*options):
        return data.draw(st.sampled_from(options))

    def width(x):
        _, _, rows, columns = net.shape(x)
        share = among(0.7, 1.2, 1.2, 2)
        return max(2, min(96, round(share * target.level2_bytes / (4 * rows * columns))))

    least, largest, level2_bytes = among(*CHAINS)
    target = replace(target, level2_bytes=level2_bytes or target.level2_bytes)
    sides = st.integers(least, largest)
    net = Net()
    values = [net.input(among(1, 2), 3, data.draw(sides), data.draw(sides))]
    kinds = ["pointwise", "depthwise", "pointwise"]  # so that there is something to run in a band
    kinds += data.draw(st.lists(st.sampled_from([*kinds[1:], "dense", "residual"]), max_size=4))
    for kind in kinds:
        x = values[-1]
        same = [one for one in values[1:-1] if net.shape(one) == net.shape(x)]
        if kind == "depthwise":
            kernel, dilation = among(3, 3, 5, 2), among(1, 1, 2)
            around = (kernel - 1) * dilation // 2
            facts = {"groups": net.shape(x)[1], "stride": among((1, 1), (2, 2))}
            facts |= {"padding": (around,) * 4, "dilation": (dilation,) * 2}
            value = net.convolution(x, net.shape(x)[1], (kernel, kernel), **facts)
        elif kind == "dense":
            facts = {"stride": among((1, 1), (2, 2)), "padding": (1, 1, 1, 1)}
            value = net.convolution(x, among(3, 8), (3, 3), **facts)
        elif kind == "residual" and same:
            value = net.convolution(x, net.shape(x)[1], residual=among(*same))
        else:
            relu6 = Function("clamp", (0.0, 6.0))
            value = net.convolution(x, width(x), activation=among(None, relu6))
        values.append(value)
    others = data.draw(st.lists(st.sampled_from(values[1:]), max_size=1))  # a second reader
    return net, net.graph(values[-1], *others), target


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_each_convolution_of_a_chain_runs_once(data):
    _, graph, target = draw_chain(data, AVX512)
    plan = plan_execution(graph, target)
    done = [stage.name for one in plan.operations for stage in (one.stages or (one,))]
    convolutions = [node.name for node in graph if isinstance(node, Convolution)]
    assert sorted(name for name in done if name in convolutions) == sorted(convolutions)


@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_chains_give_the_bits_and_numbers_that_they_give_one_by_one(data):
    net, graph, target = draw_chain(data, host_target())
    assume(any(one.band for one in choose(graph, target).values()))
    built = build([graph], target, None)
    inputs = net.values()
    got = NativeFunction(Memory(built.binary, 2))(inputs)
    check_values(got, interpret(graph, inputs, dtype=torch.float64), terms=count_terms(graph))
    expected = run_alone(graph, inputs, target)
    assert all(map(torch.equal, got, expected))
    for threads in (1, 3):
        assert all(
            map(torch.equal, NativeFunction(Memory(built.binary, threads))(inputs), expected)
        )


def bottleneck(net, x, *, stride=1, residual=None):
    """An inverted bottleneck: its three values."""
    wide = net.convolution(x, 64)
    deep = net.convolution(
        wide, 64, (3, 3), groups=64, padding=(1, 1, 1, 1), stride=(stride, stride)
    )
    return wide, deep, net.convolution(deep, 16, residual=residual)


def names(graph):
    """The bands, each as the names of its nodes."""
    found = choose_bands(graph, AVX512, set())
    return {band.names for band in found.values()}


def test_large_values_between_convolutions_are_not_kept():
    net = Net()
    x = net.input(1, 16, 80, 80)
    values = bottleneck(net, x, residual=x)
    assert names(net.graph(values[-1])) == {values}


def test_small_ones_are_not_computed_twice():
    net = Net()
    values = bottleneck(net, net.input(1, 16, 40, 40))
    assert names(net.graph(values[-1])) == {values[1:]}


@pytest.mark.parametrize(("kept", "left"), [(0, {(1, 2)}), (1, {(0, 1)}), (2, {(0, 1, 2)})])
def test_a_value_that_others_want_is_kept(kept, left):
    net = Net()
    values = bottleneck(net, net.input(1, 16, 80, 80))
    wanted = {tuple(values[index] for index in group) for group in left}
    assert names(net.graph(values[-1], values[kept])) == wanted


def test_a_residual_is_not_the_band_itself():
    """The last convolution may add only what is there before the band."""
    net = Net()
    wide, deep, _ = bottleneck(net, net.input(1, 16, 80, 80))
    last = net.convolution(deep, 64, residual=deep)
    assert names(net.graph(last)) == {(wide, deep)}


def test_weights_beyond_the_cache_are_read_once():
    """Row by row they would be read for every row."""
    net = Net()
    deep = net.convolution(net.input(1, 960, 7, 7), 960, (3, 3), groups=960, padding=(1, 1, 1, 1))
    assert not names(net.graph(net.convolution(deep, 160)))


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_lite0", "efficientnet_lite4"])
def test_rows_that_are_kept_fit_the_cache(name):
    graph = rewrite_graph(capture(create_model(name), (torch.zeros(1, 3, 224, 224),)).graph)
    found = choose_bands(graph, AVX512, set())
    assert found
    for band in found.values():
        assert -(-graph[band.depthwise].shape[2] // band.rows_at_once) >= 14
        if band.head:
            _, channels, _, width = graph[band.head].shape
            kept = 4 * kept_rows(graph[band.depthwise], band.rows_at_once) * channels * width
            assert kept <= AVX512.level2_bytes // 4 or band.rows_at_once == 1


def test_bands_need_less_memory():
    x = torch.zeros(1, 3, 224, 224)
    graph = rewrite_graph(capture(create_model("mobilenet_v2"), (x,)).graph)
    plan = plan_execution(graph, AVX512)
    without = plan_execution(graph, AVX512, chosen=alone(graph, AVX512))
    assert any(isinstance(operation.kernel, BandKernel) for operation in plan.operations)
    assert 2 * plan.arena_size < without.arena_size
    assert 4 * plan.scratch_size < AVX512.level2_bytes
    convolutions = {node.name for node in graph if isinstance(node, Convolution)}
    done = [stage.name for one in plan.operations for stage in (one.stages or (one,))]
    assert convolutions <= set(done)
