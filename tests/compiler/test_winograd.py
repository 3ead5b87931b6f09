"""Convolutions by Winograd's algorithm are convolutions, within its rounding."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.choose.choose import choose
from onebyone.compiler.choose.filtering import OUTPUTS, Filter, Winograd, winograds_for
from onebyone.compiler.choose.tiling import TileSize
from onebyone.compiler.choose.winograds import LARGEST_GROWTH
from onebyone.compiler.compile import compile_model
from onebyone.compiler.plan.plan import plan_execution
from onebyone.compiler.target import TARGETS
from onebyone.graph import Convolution, Function
from onebyone.graph.interpret import interpret
from tests.helpers.compiled import RUNNABLE, Net, check_values, count_terms, run_graph

FILTERS = [Filter(m, r) for r, several in OUTPUTS.items() for m in several]
KERNEL_SIZES = [(3, 3), (5, 5), (1, 3), (3, 1), (1, 5), (1, 7), (7, 1)]
WAYS = [
    pytest.param(size, way, id=str(way)) for size in KERNEL_SIZES for way in winograds_for(size)
]


def always(graph, way, **facts):
    """How all convolutions larger than 1x1 run in one way, worthwhile or not."""
    small = Choices(winograd=way, tile=TileSize(2, 1), parts=(2, 1), **facts)
    return {
        node.name: small
        for node in graph
        if isinstance(node, Convolution) and node.kernel_size != (1, 1)
    }


def check_convolution(graph, inputs, way, target=None):
    """Errors are at most six times those of a sum of as many numbers."""
    got = run_graph(graph, inputs, target=target, chosen=always(graph, way))
    expected = interpret(graph, inputs, dtype=torch.float64)
    check_values(got, expected, terms=36 * count_terms(graph))


@pytest.mark.parametrize("one", FILTERS, ids=str)
@given(data=st.data())
def test_matrices_filter_exactly(one, data):
    numbers = st.integers(-99, 99).map(Fraction)
    inputs = data.draw(st.lists(numbers, min_size=one.inputs, max_size=one.inputs))
    taps = data.draw(st.lists(numbers, min_size=one.taps, max_size=one.taps))
    a, g, b = one.matrices()

    def times(matrix, vector):
        return [sum(x * y for x, y in zip(row, vector, strict=True)) for row in matrix]

    products = [x * y for x, y in zip(times(g, taps), times(b, inputs), strict=True)]
    expected = [sum(taps[k] * inputs[i + k] for k in range(one.taps)) for i in range(one.outputs)]
    assert times(a, products) == expected


@pytest.mark.parametrize("target", RUNNABLE)
@pytest.mark.parametrize(("size", "way"), WAYS)
def test_every_way_is_a_convolution(size, way, target):
    net = Net()
    height, width = size
    padding = (height // 2, height // 2, width // 2, width // 2)
    x, residual = net.input(2, 19, 9, 11), net.input(2, 37, 9, 11)
    y = net.convolution(
        x, 37, size, residual=residual, padding=padding, activation=Function("relu")
    )
    check_convolution(net.graph(y), net.values(), way, target)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_shapes_around_lanes_and_patches(data):
    size = data.draw(st.sampled_from(KERNEL_SIZES))
    way = data.draw(st.sampled_from(winograds_for(size)))
    depth, channels = (data.draw(st.integers(1, 35)) for _ in range(2))
    image = tuple(data.draw(st.integers(k, 13)) for k in size)
    padding = tuple(data.draw(st.integers(0, 2)) for _ in range(4))
    net = Net()
    y = net.convolution(
        net.input(data.draw(st.integers(1, 3)), depth, *image), channels, size, padding=padding
    )
    check_convolution(net.graph(y), net.values(), way)


@pytest.mark.parametrize("target", RUNNABLE)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_where_inputs_are_transformed_changes_no_bit(target, data):
    size = data.draw(st.sampled_from(KERNEL_SIZES))
    way = data.draw(st.sampled_from(winograds_for(size)))
    depth, channels = (data.draw(st.integers(1, 35)) for _ in range(2))
    image = tuple(data.draw(st.integers(k, 17)) for k in size)
    padding = tuple(data.draw(st.integers(0, 2)) for _ in range(4))
    net = Net()
    x = net.input(data.draw(st.integers(1, 3)), depth, *image)
    graph = net.graph(net.convolution(x, channels, size, padding=padding))
    inputs = net.values()
    before, inside = (
        run_graph(graph, inputs, target=target, chosen=always(graph, way, transforms=where))
        for where in ("before", "inside")
    )
    assert torch.equal(before[0], inside[0])


def test_chunks_transform_what_would_not_stay_near():
    net, target = Net(), TARGETS["avx512"]
    name = net.convolution(net.input(1, 64, 112, 112), 32, (3, 3), padding=(1, 1, 1, 1))
    made = plan_execution(net.graph(name), target)
    assert made.choices[name].transforms == "inside"
    assert not [one for one in made.operations if one.what == "transform"]
    weights, patches = 4 * 36 * 64 * 32, 4 * 36 * 64 * 28 * 28
    assert weights + patches / made.choices[name].chunks < target.level2_bytes < patches


def test_two_in_a_row_share_the_border():
    net = Net()
    x = net.input(1, 16, 10, 10)
    first = net.convolution(x, 32, (3, 3), padding=(1, 1, 1, 1))
    second = net.convolution(first, 16, (3, 3), padding=(1, 1, 1, 1))
    third = net.convolution(first, 16, (1, 1))
    check_convolution(net.graph(second, third), net.values(), winograds_for((3, 3))[-1])


def chosen(*shape, channels=64, size=(3, 3), **facts):
    net = Net()
    padding = (size[0] // 2, size[0] // 2, size[1] // 2, size[1] // 2)
    y = net.convolution(net.input(*shape), channels, size, padding=padding, **facts)
    return choose(net.graph(y), TARGETS["avx512"])[y].winograd


def test_chosen_where_it_saves_time():
    assert str(chosen(1, 64, 56, 56)) == "F(4x4, 3x3)"
    assert chosen(1, 3, 224, 224) is None  # transforms would cost more than they save
    assert chosen(1, 64, 28, 28, size=(1, 1)) is None
    assert chosen(1, 64, 56, 56, stride=(2, 2)) is None
    assert chosen(1, 64, 56, 56, dilation=(2, 2)) is None
    assert chosen(1, 64, 56, 56, groups=2) is None


def test_number_of_images_does_not_count():
    assert chosen(8, 64, 14, 14) == chosen(1, 64, 14, 14)


def test_weights_grow_within_their_budget():
    net = Net()
    x = net.input(1, 256, 7, 7)
    for _ in range(6):
        x = net.convolution(x, 256, (3, 3), padding=(1, 1, 1, 1))
    graph = net.graph(x)
    chosen = choose(graph, TARGETS["avx512"])
    ways = {name: one.winograd for name, one in chosen.items() if one.winograd}
    weights = {node.name: node.weight for node in graph if isinstance(node, Convolution)}
    extra = sum(
        ways[name].multiplications * weight[:, :, 0, 0].numel() - weight.numel()
        for name, weight in weights.items()
        if name in ways
    )
    before = sum(weight.numel() for weight in weights.values()) + 2 * 256 * 49
    assert 0 < extra <= LARGEST_GROWTH * before


def test_direct_numerics_do_without():
    net = torch.nn.Conv2d(64, 64, 3, padding=1).eval()
    x = torch.randn(1, 64, 56, 56, generator=torch.Generator().manual_seed(0))
    runs_winograd = {
        numerics: any(
            "Winograd" in layer.layer.note
            for layer in compile_model(net, x, numerics=numerics).profile(x).layers
        )
        for numerics in ("fp32", "fp32-direct")
    }
    assert runs_winograd == {"fp32": True, "fp32-direct": False}


def test_no_bias_under_another_default_type():
    net = torch.nn.Conv2d(64, 64, 3, padding=1, bias=False).eval()
    x = torch.randn(1, 64, 56, 56)
    expected = net.double()(x.double())
    net.float()
    torch.set_default_dtype(torch.float64)
    try:
        got = compile_model(net, x)(x)
    finally:
        torch.set_default_dtype(torch.float32)
    check_values([got], [expected], terms=36 * 9 * 64)


def test_nan_reaches_what_it_must_and_its_patches():
    way = winograds_for((3, 3))[-1]
    net = Net()
    y = net.convolution(net.input(1, 4, 24, 24), 8, (3, 3), padding=(1, 1, 1, 1))
    graph = net.graph(y)
    (x,) = net.values()
    x[0, 0, 9, 9] = float("nan")
    (got,) = run_graph(graph, [x], chosen=always(graph, way))
    (expected,) = interpret(graph, [x])
    assert got[expected.isnan()].isnan().all()
    reach = way.rows.outputs + 1
    far = torch.ones_like(got, dtype=torch.bool)
    far[:, :, 9 - reach : 10 + reach, 9 - reach : 10 + reach] = False
    assert got[far].isfinite().all()


def test_a_way_is_named_as_in_the_literature():
    way = Winograd(Filter(4, 3), Filter(2, 3))
    assert str(way) == "F(4x2, 3x3)"
    assert replace(way, rows=Filter(1, 1)).multiplications == 4
