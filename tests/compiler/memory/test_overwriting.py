"""What is written over a value changes no bit, and comes when nobody wants the value any more."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from onebyone.compiler.build import build
from onebyone.compiler.memory import placement
from onebyone.compiler.options import CompileOptions
from onebyone.compiler.plan.plan import plan_execution
from onebyone.compiler.rewrites import rewrite_graph
from onebyone.compiler.runtime.native import Memory, NativeFunction
from onebyone.compiler.target import TARGETS
from onebyone.graph import (
    Activation,
    Arithmetic,
    Concat,
    Convolution,
    Function,
    Pad,
    capture,
)
from onebyone.graph.interpret import interpret
from onebyone.models import create_model
from tests.helpers.compiled import (
    RUNNABLE,
    RUNNABLE_BF16,
    Net,
    check_values,
    count_terms,
)

AVX512 = TARGETS["avx512"]
RELU = Function("clamp", (0.0, float("inf")))


def written_over(graph, target=AVX512):
    """The nodes that are written over a value, each with the buffer that it lies in."""
    plan = plan_execution(graph, target)
    return {one.name: one.writes for one in plan.operations if "in place" in one.note}


def draw_sums(data, target):
    """Blocks of all kinds, each added to what some block gave."""

    def among(*options):
        return data.draw(st.sampled_from(options))

    lanes = target.lanes
    channels = among(3, lanes, lanes + 3, 2 * lanes + 1)
    net = Net()
    values = [net.input(among(1, 2), channels, among(1, 5, 8), among(4, 7))]
    for kind in data.draw(st.lists(st.sampled_from(list(BLOCKS)), min_size=2, max_size=5)):
        values.append(BLOCKS[kind](net, among(*values), among(*values[-2:])))
    return net, values


def dense(kernel, width):
    """Two dense convolutions; the second adds a value."""

    def block(net, x, other):
        around = kernel // 2
        facts = {"kernel_size": (kernel, kernel), "padding": (around,) * 4}
        inside = net.convolution(x, width or net.shape(x)[1], activation=RELU, **facts)
        return net.convolution(inside, net.shape(x)[1], residual=other, activation=RELU, **facts)

    return block


def bottleneck(net, x, other):
    """An inverted one, which runs by rows; but for the first convolution where that is small."""
    wide = net.convolution(x, 2 * net.shape(x)[1], activation=RELU)
    count = net.shape(wide)[1]
    deep = net.convolution(wide, count, (3, 3), groups=count, padding=(1, 1, 1, 1))
    return net.convolution(deep, net.shape(x)[1], residual=other)


def depthwise(net, x, other):
    count = net.shape(x)[1]
    return net.convolution(x, count, (3, 3), groups=count, padding=(1, 1, 1, 1), residual=other)


def arithmetic(net, x, other):
    return net.add(Arithmetic, net.add(Activation, x, function=RELU), other, operator="mul")


BLOCKS = {
    "1x1": dense(1, 7),
    "3x3": dense(3, None),
    "bottleneck": bottleneck,
    "depthwise": depthwise,
    "arithmetic": arithmetic,
}


def run(graph, inputs, target, threads):
    built = build([graph], target, None, CompileOptions(numerics="bf16" if target.bf16 else "fp32"))
    return NativeFunction(Memory(built.binary, threads))(inputs)


@pytest.mark.parametrize("target", [*RUNNABLE, *RUNNABLE_BF16])
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_sums_have_the_bits_that_they_have_apart(target, data):
    net, values = draw_sums(data, target)
    inputs, threads = net.values(), data.draw(st.integers(1, 3))
    graph, apart = net.graph(values[-1]), net.graph(*values)
    assert not set(written_over(apart).values()) & set(values)  # outputs stay
    got, *_ = run(graph, inputs, target, threads)
    *_, expected = run(apart, inputs, target, threads)
    assert torch.equal(got, expected)
    if not target.bf16:
        wanted = interpret(graph, inputs, dtype=torch.float64)
        check_values([got], wanted, terms=count_terms(graph))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_all_readers_are_done_before(data):
    """By groups: what reads a value runs before what is written over it."""
    net, values = draw_sums(data, AVX512)
    graph = net.graph(*{values[-1], data.draw(st.sampled_from(values[1:]))})
    plan = plan_execution(graph, AVX512)
    groups = {
        stage.name.partition(" ")[0]: number
        for number, group in enumerate(plan.groups)
        for one in group
        for stage in one.stages or (one,)
        if stage.what != "border"
    }
    readers, holders = graph.readers(), {}
    for node in graph:
        placed = placement.place_values(graph, plan.choices).regions[node.name].buffer.name
        old = holders.get(placed)
        holders[placed] = node.name
        if old is None:
            continue
        assert old in node.inputs
        assert not graph.is_output(old)
        others = set(readers[old]) - {node.name}
        assert all(groups[name] < groups[node.name] for name in others)


def block(net, x, **facts):
    """A bottleneck without its residual: the value before the last convolution."""
    return net.convolution(net.convolution(x, 4, **facts), 4)


def test_a_chain_of_blocks_lies_in_one_buffer():
    net = Net()
    first = net.convolution(net.input(1, 3, 9, 9), 8)
    second = net.convolution(block(net, first), 8, residual=first)
    third = net.convolution(block(net, second), 8, residual=second)
    assert written_over(net.graph(third)) == {second: first, third: first}


def test_an_output_stays():
    net = Net()
    first = net.convolution(net.input(1, 3, 9, 9), 8)
    second = net.convolution(block(net, first), 8, residual=first)
    assert not written_over(net.graph(second, first))


def test_what_others_may_still_read_stays():
    """One of two branches cannot write over what both read: the other may be later."""
    net = Net()
    first = net.convolution(net.input(1, 3, 9, 9), 8)
    one, other = (net.convolution(block(net, first), 8, residual=first) for _ in range(2))
    assert not written_over(net.graph(one, other))
    last = net.convolution(block(net, one), 8, residual=other)
    assert written_over(net.graph(last)) == {last: other}


def test_what_a_convolution_reads_around_it_stays():
    net = Net()
    first = net.convolution(net.input(1, 3, 9, 9), 8)
    assert not written_over(net.graph(net.convolution(first, 8, residual=first)))


def test_what_the_rows_of_a_band_read_stays():
    """The next band reads rows that this one would have written over."""
    net = Net()
    small = net.convolution(net.input(1, 3, 80, 80), 16)
    wide = net.convolution(small, 64)
    deep = net.convolution(wide, 64, (3, 3), groups=64, padding=(1, 1, 1, 1))
    last = net.convolution(deep, 16, residual=small)
    graph = net.graph(last)
    assert plan_execution(graph, AVX512).choices[last].band.head == wide
    assert not written_over(graph)


@pytest.mark.parametrize(("joined", "over"), [(0, {2}), (2, {1})])
def test_branches_of_a_concatenation_stay(joined, over):
    net = Net()
    values = [net.convolution(net.input(1, 3, 9, 9), 8)]
    for _ in range(2):
        values.append(net.convolution(block(net, values[-1]), 8, residual=values[-1]))
    last = net.add(Concat, values[joined], net.convolution(values[-1], 5))
    assert written_over(net.graph(last)).keys() == {values[index] for index in over}


def test_constants_and_frames_stay():
    net = Net()
    x = net.input(1, 8, 9, 9)
    known = net.constant(net.numbers(1, 8, 9, 9))
    framed = net.add(Pad, net.convolution(x, 8), padding=(0, 0, 0, 0))
    graph = net.graph(*(net.convolution(block(net, x), 8, residual=one) for one in (known, framed)))
    assert not written_over(graph)


@pytest.mark.parametrize(
    ("padding", "is_over"), [((1, 1, 1, 1), True), ((0, 0, 0, 0), False), ((2, 2, 2, 2), False)]
)
def test_a_value_lies_where_there_is_room_for_its_border_and_no_border_in_vain(padding, is_over):
    """What is written over has a border of one pixel."""
    net = Net()
    size = (2 * padding[0] + 1,) * 2
    first = net.convolution(net.input(1, 3, 9, 9), 8)
    around = net.convolution(first, 8, (3, 3), padding=(1, 1, 1, 1))
    second = net.convolution(around, 8, residual=first)
    graph = net.graph(net.convolution(second, 4, size, padding=padding))
    assert (second in written_over(graph)) == is_over


def test_values_of_one_pixel_stay():
    net = Net()
    x = net.input(3, 8, 1, 1)
    assert not written_over(net.graph(net.convolution(block(net, x), 8, residual=x)))


def test_resnet_needs_less_memory(monkeypatch):
    graph = rewrite_graph(capture(create_model("resnet50"), (torch.zeros(1, 3, 224, 224),)).graph)
    plan = plan_execution(graph, AVX512)
    sums = {n.name for n in graph if isinstance(n, Convolution) and n.inputs[1:]}
    assert sums == set(written_over(graph))
    monkeypatch.setattr(placement, "find_overwritten", lambda *_: {})
    assert plan.arena_size < 0.85 * plan_execution(graph, AVX512).arena_size
