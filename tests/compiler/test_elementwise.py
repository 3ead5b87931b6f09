"""Functions and arithmetic: values, extremes, and every way to repeat an operand."""

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from onebyone.graph import Activation, Arithmetic, BatchNorm, Function, LayerNorm, Softmax
from onebyone.graph.interpret import interpret
from tests.helpers.compiled import RUNNABLE, Net, check_compiled, run_graph
from tests.helpers.functions import EXAMPLES

FUNCTIONS = [
    *EXAMPLES,
    *(Function("leaky_relu", (slope,)) for slope in (0.01, 0.0, 1.5, -0.5)),
    *(Function("clamp", bounds) for bounds in ((-1.0, 2.0), (0.5, math.inf), (-math.inf, 0.25))),
    Function("clamp", (3.0, -3.0)),
]
OPERATORS = ("add", "sub", "mul", "div", "maximum", "minimum")
EXTREMES = [
    *(0.0, -0.0, math.inf, -math.inf, math.nan, 1e-30, -1e-30, 1e-44, 3e37, -3e37),
    *(88.3, 88.5, -88.3, -88.5, 87.3, -87.3, 104.0, -104.0, 1e4, -1e4, 6.0, 3.0, -3.0),
]


def every_function(x_name, net):
    return [net.add(Activation, x_name, function=function) for function in FUNCTIONS]


@pytest.mark.parametrize("target", RUNNABLE)
def test_functions_on_ordinary_numbers(target):
    net = Net()
    x = net.input(2, 37, 5, 3)
    y = net.convolution(x, 37)
    check_compiled(net.graph(*every_function(y, net)), net.values(), target=target)


@pytest.mark.parametrize("size", [1e-4, 1e-2, 0.6, 20.0])
def test_functions_keep_their_digits_at_every_size(size):
    """A network whose numbers are all tiny, or large and of one sign, is as exact as any."""
    net = Net()
    functions = every_function(net.input(1, 64, 8, 8), net)
    for sign in (1, -1):
        x = net.numbers(1, 64, 8, 8).abs().clamp(0.5, 1.5) * size * sign
        got = run_graph(net.graph(*functions), [x])
        for function, y, wanted in zip(
            FUNCTIONS, got, interpret(net.graph(*functions), [x], dtype=torch.float64), strict=True
        ):
            error = (y - wanted).square().mean().sqrt()
            allowed = 5e-6 * wanted.square().mean().sqrt() + 1e-30
            # Far below zero, gelu is 1e-6 of what it is on the other side, and less exact.
            assert error <= allowed or (size * sign == -20 and error < 1e-6), (function, size, sign)


@pytest.mark.parametrize("target", RUNNABLE)
def test_functions_on_extremes_are_those_of_pytorch(target):
    x = torch.tensor(EXTREMES).view(1, -1, 1, 1)
    net = Net()
    graph = net.graph(*every_function(net.input(*x.shape), net))
    expected = interpret(graph, [x], dtype=torch.float64)  # in float32, its gelu(inf) is NaN
    for function, got, wanted in zip(
        FUNCTIONS, run_graph(graph, [x], target=target), expected, strict=True
    ):
        torch.testing.assert_close(
            got,
            wanted.float(),
            rtol=1e-5,
            atol=1e-6,
            equal_nan=True,
            msg=lambda m, f=function: f"{f}: {m}",
        )


SHAPES = list(product((1, 2), (1, 19), (1, 3), (1, 5)))


@pytest.mark.parametrize("target", RUNNABLE)
@settings(max_examples=4)
@given(st.data())
def test_arithmetic_repeats_dimensions_of_size_1(target, data):
    net = Net()
    full = net.input(2, 19, 3, 5)
    computed = net.add(Activation, full, function=Function("tanh"))
    outputs = []
    for operator in OPERATORS:
        shape = data.draw(st.sampled_from(SHAPES))
        if data.draw(st.booleans()):
            numbers = net.numbers(*shape)
            other = net.constant(numbers.sign() * (numbers.abs() + 0.5))
        else:
            other = net.input(*shape)
        first = data.draw(
            st.sampled_from([full, computed, net.input(*data.draw(st.sampled_from(SHAPES)))])
        )
        pair = (first, other) if data.draw(st.booleans()) else (other, first)
        activation = data.draw(st.sampled_from([None, Function("relu"), Function("sigmoid")]))
        outputs.append(net.add(Arithmetic, *pair, operator=operator, activation=activation))
    values = [value.sign() * (value.abs() + 0.5) for value in net.values()]  # nothing near 0
    check_compiled(net.graph(*outputs), values, target=target)


@pytest.mark.parametrize("target", RUNNABLE)
def test_arithmetic_on_extremes_is_that_of_pytorch(target):
    pairs = torch.tensor(list(product(EXTREMES[:10], repeat=2)))
    net = Net()
    x, y = (net.input(1, len(pairs), 1, 1) for _ in range(2))
    graph = net.graph(*(net.add(Arithmetic, x, y, operator=operator) for operator in OPERATORS))
    values = [column.view(1, -1, 1, 1) for column in pairs.t()]
    got = run_graph(graph, values, target=target)
    for operator, one, wanted in zip(OPERATORS, got, interpret(graph, values), strict=True):
        torch.testing.assert_close(
            one, wanted, rtol=0, atol=0, equal_nan=True, msg=lambda m, o=operator: f"{o}: {m}"
        )


@pytest.mark.parametrize("target", RUNNABLE)
def test_an_operand_twice(target):
    net = Net()
    x = net.input(2, 5, 3, 3)
    outputs = [net.add(Arithmetic, x, x, operator=operator) for operator in OPERATORS]
    check_compiled(net.graph(*outputs), net.values(), target=target)


def batch_norm(net, x, activation):
    channels = net.shape(x)[1]
    weight, bias, mean = (net.numbers(channels) for _ in range(3))
    facts = {"weight": weight, "bias": bias, "mean": mean, "var": net.numbers(channels).square()}
    return net.add(BatchNorm, x, **facts, eps=0.1, activation=activation)


@pytest.mark.parametrize("target", RUNNABLE)
def test_norms_and_softmax(target):
    """With all numbers of channels around a vector's; pixels of a buffer with a border too."""
    net = Net()
    outputs = []
    v = target.lanes
    for channels in (1, v - 1, v, v + 1, 4 * v + 1):
        x = net.add(
            Activation, net.input(2, channels, 3, 2), function=Function("leaky_relu", (0.3,))
        )
        outputs.append(net.convolution(x, 2, (3, 3), padding=(1, 1, 1, 1)))
        outputs += [batch_norm(net, x, activation) for activation in (None, Function("relu"))]
        outputs.append(net.add(Softmax, x))
        for weight, bias in product((None, net.numbers(channels)), repeat=2):
            outputs.append(net.add(LayerNorm, x, weight=weight, bias=bias, eps=1e-2))
    check_compiled(net.graph(*outputs), net.values(), target=target)


@pytest.mark.parametrize("target", RUNNABLE)
def test_norms_and_softmax_on_extremes(target):
    """Each pixel is on its own, and NaN comes through."""
    net = Net()
    x = net.input(1, 21, 1, 6)
    outputs = [net.add(Softmax, x), net.add(LayerNorm, x, weight=None, bias=None, eps=1e-5)]
    (value,) = net.values()
    value[0, 4, 0, 0] = torch.nan
    value[0, 20, 0, 1] = torch.inf
    value[0, 20, 0, 2] = -torch.inf
    value[0, :, 0, 3] = -torch.inf
    value[..., 4] *= 1e3
    graph = net.graph(*outputs)
    for got, wanted in zip(
        run_graph(graph, [value], target=target), interpret(graph, [value]), strict=True
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6, equal_nan=True)


def test_layer_norm_and_softmax_of_numbers_far_from_zero():
    net = Net()
    x = net.input(1, 200, 2, 2)
    outputs = [net.add(Softmax, x), net.add(LayerNorm, x, weight=None, bias=None, eps=1e-5)]
    (value,) = net.values()
    for got, wanted in zip(
        run_graph(net.graph(*outputs), [value + 1000]),
        interpret(net.graph(*outputs), [value + 1000], dtype=torch.float64),
        strict=True,
    ):
        torch.testing.assert_close(got.double(), wanted, rtol=2e-4, atol=2e-4)
