"""Batch norms go into the convolutions before or behind them, and nowhere else."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from onebyone.compiler.rewrites.fold_batch_norm import fold_batch_norm
from onebyone.graph.graph import BatchNorm
from tests.compiler.rewrites.building import RELU, GraphBuilder
from tests.helpers.rewrites import check_rewrite

# in channels, out channels, groups: dense, grouped, depthwise, depthwise with two outputs a channel
WIDTHS = [(3, 5, 1), (4, 6, 2), (5, 5, 5), (3, 6, 3), (1, 1, 1)]


@given(
    st.sampled_from(WIDTHS),
    st.sampled_from([1, 3]),
    st.integers(1, 2),
    st.booleans(),
    st.sampled_from([None, RELU]),
)
def test_a_norm_behind_a_convolution(widths, kernel, stride, bias, activation):
    c, channels, groups = widths
    b = GraphBuilder()
    x = b.input(2, c, 5, 4)
    facts = {"stride": (stride, stride), "padding": (1, 0, 2, 1), "bias": bias, "groups": groups}
    y = b.norm(b.conv(x, channels, kernel, **facts), activation)
    after = check_rewrite(fold_batch_norm, b.build(y), b.values())
    assert list(after.nodes) == ["x1", "conv1"]
    assert after["conv1"].activation == activation
    assert after["conv1"].path == "net.conv1"
    assert after["conv1"].weight.dtype == torch.float32


@given(
    st.sampled_from(WIDTHS),
    st.sampled_from([1, 3]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, RELU]),
)
def test_a_norm_before_a_convolution(widths, kernel, bias, has_residual, activation):
    c, channels, groups = widths
    b = GraphBuilder()
    x = b.norm(b.input(2, c, 5, 4))
    residual = b.input(2, channels, 6 - kernel, 5 - kernel) if has_residual else None
    y = b.conv(
        x, channels, kernel, bias=bias, groups=groups, residual=residual, activation=activation
    )
    after = check_rewrite(fold_batch_norm, b.build(y), b.values())
    assert not any(isinstance(node, BatchNorm) for node in after)


def test_a_norm_between_convolutions_goes_into_the_first():
    b = GraphBuilder()
    y = b.norm(b.conv(b.norm(b.conv(b.norm(b.input(1, 3, 4, 4)), 4)), 5))
    graph = b.build(y)
    after = check_rewrite(fold_batch_norm, graph, b.values())
    assert list(after.nodes) == ["x1", "conv1", "conv2"]


def two_readers(b, x):
    y = b.conv(x, 3)
    return y, b.norm(y)


def two_readers_of_the_norm(b, x):
    y = b.norm(x)
    return b.conv(y, 3), b.conv(y, 3)


def read_as_residual(b, x):
    return (b.conv(x, 3, residual=b.norm(x)),)


NOT_FOLDED = {
    "activation between": lambda b, x: (b.norm(b.conv(x, 3, activation=RELU)),),
    "residual between": lambda b, x: (b.norm(b.conv(x, 3, residual=x)),),
    "two readers": two_readers,
    "two readers of the norm": two_readers_of_the_norm,
    "norm of an input": lambda b, x: (b.norm(x),),
    "norm of a norm": lambda b, x: (b.norm(b.norm(x)),),
    "padding behind the norm": lambda b, x: (b.conv(b.norm(x), 3, padding=(0, 0, 0, 1)),),
    "activation behind the norm": lambda b, x: (b.conv(b.norm(x, RELU), 3),),
    "norm as residual": read_as_residual,
}


@pytest.mark.parametrize("build", NOT_FOLDED.values(), ids=NOT_FOLDED)
def test_norms_that_stay(build):
    b = GraphBuilder()
    graph = b.build(*build(b, b.input(1, 3, 4, 4)))
    assert check_rewrite(fold_batch_norm, graph, b.values()) is graph


@pytest.mark.parametrize("is_first", [True, False], ids=["norm first", "convolution first"])
def test_ordinary_numbers_are_rounded_once(is_first):
    b = GraphBuilder()
    x = b.input(1, 30, 6, 6)
    y = b.conv(b.norm(x), 20, 3) if is_first else b.norm(b.conv(x, 20, 3))
    for name, node in b.nodes.items():
        for field in ("weight", "bias", "mean"):
            if hasattr(node, field):
                b.change(name, **{field: torch.randn(getattr(node, field).shape)})
    b.change("norm1", var=torch.rand(30 if is_first else 20) + 0.01, eps=1e-5)
    check_rewrite(fold_batch_norm, b.build(y), [torch.randn(1, 30, 6, 6)], terms=271)


def test_weights_that_would_be_infinite_stay_apart():
    b = GraphBuilder()
    y = b.norm(b.conv(b.input(1, 2, 3, 3), 2))
    b.change("conv1", weight=torch.full((2, 2, 1, 1), 3e38))
    b.change("norm1", weight=torch.full((2,), 100.0))
    graph = b.build(y)
    assert check_rewrite(fold_batch_norm, graph, b.values()) is graph
    z = b.conv(b.norm(b.input(1, 2, 3, 3)), 2)
    b.change("norm2", mean=torch.tensor([1.0, torch.inf]))
    graph = b.build(z)
    assert fold_batch_norm(graph) is graph


def test_parameters_with_gradients_fold_too():
    b = GraphBuilder()
    y = b.norm(b.conv(b.input(1, 2, 3, 3), 2))
    conv = b.nodes["conv1"]
    b.nodes["conv1"] = replace(conv, weight=torch.nn.Parameter(conv.weight))
    after = check_rewrite(fold_batch_norm, b.build(y), b.values())
    assert not after["conv1"].weight.requires_grad
