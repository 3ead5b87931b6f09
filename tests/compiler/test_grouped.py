"""Grouped convolutions along rows are convolutions, and the same bits however they are cut."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from onebyone.compiler import TARGETS, compile_model
from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.choose.choose import choose
from onebyone.compiler.choose.grouped import may_run_along_rows, most_pixels
from onebyone.compiler.choose.tiling import TileSize
from onebyone.compiler.kernels.grouped import GroupedKernel
from onebyone.compiler.plan.plan import plan_execution
from onebyone.errors import CompileError
from onebyone.graph import Function
from onebyone.graph.interpret import interpret
from tests.helpers.compiled import RUNNABLE, Net, check_values, count_terms, run_graph


@st.composite
def grouped(draw, lanes):
    """A graph of one grouped convolution whose groups fill vectors, or share them."""
    numbers = st.integers
    group = draw(st.sampled_from([max(2, lanes // 4), lanes // 2, lanes, 2 * lanes]))
    groups = draw(numbers(2, 5)) * max(1, lanes // group)
    depth = group if group < lanes else draw(numbers(1, 20))
    size, stride, dilation = ((draw(numbers(1, n)), draw(numbers(1, n))) for n in (4, 2, 2))
    padding = tuple(draw(numbers(0, 2)) for _ in range(4))
    image = [(k - 1) * d + draw(numbers(1, 19)) for k, d in zip(size, dilation, strict=True)]
    facts = {"groups": groups, "stride": stride, "dilation": dilation, "padding": padding}
    facts["activation"] = draw(st.sampled_from([None, Function("relu")]))
    net = Net()
    x = net.input(draw(numbers(1, 2)), groups * depth, *image)
    y = net.convolution(x, groups * group, size, **facts)
    if draw(st.booleans()):
        other = net.input(*net.shape(y))
        y = net.convolution(x, groups * group, size, residual=other, **facts)
    return net.graph(y), net.values(), y


def ways(node, target):
    """Along rows, cut in any way that there is."""
    return st.builds(
        Choices,
        along_rows=st.just(True),
        tile=st.builds(TileSize, st.integers(1, most_pixels(node, target)), st.just(1)),
        parts=st.tuples(st.integers(1, 6), st.integers(1, 6)),
        inner=st.sampled_from(["channels", "pixels"]),
        shared=st.sampled_from(["channels", "pixels"]),
    )


@pytest.mark.parametrize("target", RUNNABLE)
@settings(max_examples=8, deadline=None)
@given(st.data())
def test_it_is_a_convolution_and_cuts_change_no_bit(target, data):
    graph, inputs, name = data.draw(grouped(target.lanes))
    one, other = (data.draw(ways(graph[name], target)) for _ in range(2))
    (got,) = run_graph(graph, inputs, target=target, chosen={name: one})
    (again,) = run_graph(graph, inputs, target=target, threads=1, chosen={name: other})
    expected = interpret(graph, inputs, dtype=torch.float64)
    check_values([got], expected, terms=count_terms(graph))
    assert torch.equal(got, again)


def network(width, group, **facts):
    """Two grouped convolutions, as in a network of such."""
    convolutions = [
        torch.nn.Conv2d(width, width, 3, padding=1, groups=width // group, **facts)
        for _ in range(2)
    ]
    return torch.nn.Sequential(convolutions[0], torch.nn.ReLU(), convolutions[1]).eval()


@pytest.mark.parametrize("numerics", ["fp32", "fp16-weights"])
def test_bits_are_the_same_for_any_batch_and_threads(numerics):
    net, x = network(64, 16), torch.randn(3, 64, 14, 14)
    facts = {"numerics": numerics, "keep": False}
    together = compile_model(net, x, threads=2, **facts)(x)
    alone = compile_model(net, x[:1], threads=1, **facts)
    assert all(torch.equal(alone(x[i : i + 1])[0], together[i]) for i in range(3))


@pytest.mark.parametrize("group", [4, 16])
def test_halves_are_weights_rounded_beforehand(group):
    net, x = network(32, group), torch.randn(1, 32, 9, 9)
    halves = compile_model(net, x, numerics="fp16-weights", keep=False)(x)
    for weight in net.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.half().float()
    assert torch.equal(halves, compile_model(net, x, numerics="fp32-direct", keep=False)(x))


def plan(images, channels, group, target="avx512", size=14, **facts):
    net = Net()
    x = net.input(images, channels, size, size)
    y = net.convolution(
        x, channels, (3, 3), padding=(1, 1, 1, 1), groups=channels // group, **facts
    )
    return plan_execution(net.graph(y), TARGETS[target]), y


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("group", [4, 8, 16, 24, 32])
def test_the_number_of_images_does_not_choose(target, group):
    along = set()
    for images in (1, 5):
        made, name = plan(images, 96, group, target)
        along.add(made.choices[name].along_rows)
    assert len(along) == 1


def test_it_is_chosen_where_groups_are_narrow():
    made, name = plan(1, 320, 16)
    assert made.choices[name].along_rows
    (kernel,) = [one.kernel for one in made.operations if one.name == name]
    assert isinstance(kernel, GroupedKernel)
    assert "along rows" in str(made)
    assert plan(1, 128, 4)[0].choices[name].along_rows
    assert not plan(1, 128, 128)[0].choices[name].along_rows
    assert not plan(1, 96, 24)[0].choices[name].along_rows  # half of each second vector is empty


@pytest.mark.parametrize("group", [24, 64])
def test_where_groups_do_not_fill_vectors_it_is_refused(group):
    net = Net()
    channels = group if group == 64 else 2 * group
    x = net.input(1, channels, 9, 9)
    y = net.convolution(x, channels, (3, 3), groups=channels // group)
    graph = net.graph(y)
    assert not may_run_along_rows(graph[y], TARGETS["avx512"])
    wrong = replace(choose(graph, TARGETS["avx512"])[y], along_rows=True)
    with pytest.raises(CompileError, match="along rows"):
        plan_execution(graph, TARGETS["avx512"], chosen={y: wrong})
