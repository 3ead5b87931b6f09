"""The contract of compiled code: the values of `interpret` in float64, but for rounding."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

import pytest
import torch
from torch import Tensor, nn

from onebyone.compiler.build import build
from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.options import DEFAULT_OPTIONS, CompileOptions
from onebyone.compiler.runtime.native import Memory, NativeFunction
from onebyone.compiler.target import TARGETS, Target, can_run, host_target
from onebyone.graph import Convolution, Graph, Input, LayerNorm, Node, Pool, Softmax, capture
from onebyone.graph.graph import Constant, Ref
from onebyone.graph.interpret import interpret
from onebyone.graph.verify import infer_shape, verify


def _parameters(targets):
    """A parameter for each target; those that this processor cannot run are skipped."""
    return [
        pytest.param(
            target,
            id=target.name,
            marks=pytest.mark.skipif(
                not can_run(target), reason=f"this processor cannot run {target.name}"
            ),
        )
        for target in targets
    ]


RUNNABLE = _parameters(target for target in TARGETS.values() if not target.bf16)
RUNNABLE_BF16 = _parameters(target for target in TARGETS.values() if target.bf16)
"""The float32 of these is that of avx512."""


class Net:
    """Build a graph by hand, node by node; shapes follow from the rules of `verify`."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.nodes: dict[str, Node] = {}

    def add(self, kind, *inputs, shape=(), **facts):
        """Add a node and return its name; `shape` is needed where it does not follow."""
        name = f"{kind.__name__.lower()}_{len(self.nodes)}"
        node = kind(name=name, inputs=inputs, shape=shape, **facts)
        if kind is not Input:
            shape = infer_shape(node, [self.nodes[one].shape for one in inputs])
        self.nodes[name] = replace(node, shape=shape)
        return name

    def input(self, *shape):
        index = sum(isinstance(node, Input) for node in self.nodes.values())
        return self.add(Input, shape=shape, index=index)

    def constant(self, value):
        return self.add(Constant, shape=tuple(value.shape), value=value)

    def convolution(self, x, channels, kernel_size=(1, 1), *, residual=None, bias=True, **facts):
        depth = self.shape(x)[1] // facts.get("groups", 1)
        inputs = (x,) if residual is None else (x, residual)
        weight = self.numbers(channels, depth, *kernel_size) / (depth * prod(kernel_size)) ** 0.5
        bias = self.numbers(channels) if bias else None
        return self.add(Convolution, *inputs, weight=weight, bias=bias, **facts)

    def shape(self, name):
        return self.nodes[name].shape

    def numbers(self, *shape):
        return torch.randn(shape, generator=self.generator)

    def values(self):
        """Tensors for the inputs."""
        return [self.numbers(*node.shape) for node in self.nodes.values() if type(node) is Input]

    def graph(self, *outputs):
        """The graph, with these outputs: names, or references."""
        refs = [Ref(one) if isinstance(one, str) else one for one in outputs]
        return Graph.of(self.nodes.values(), refs)


def count_terms(graph: Graph) -> int:
    """How many roundings one output has behind it, about: numbers summed, in all layers."""
    terms = 16  # of a function, or of a few sums and products
    for node in graph:
        if isinstance(node, Convolution):
            terms += node.weight[0].numel()
        elif isinstance(node, Pool):
            terms += max(w.count for w in node.rows) * max(w.count for w in node.columns)
        elif isinstance(node, Softmax | LayerNorm):
            terms += node.shape[1]
    return terms


def run_graph(
    graph: Graph,
    inputs: Sequence[Tensor],
    *,
    target: Target | None = None,
    threads: int = 2,
    options: CompileOptions = DEFAULT_OPTIONS,
    chosen: Mapping[str, Choices] | None = None,
) -> list[Tensor]:
    """The outputs of a graph as native code, built anew, some nodes run as is said."""
    built = build([graph], target or host_target(), None, options, chosen)
    return NativeFunction(Memory(built.binary, threads))(inputs)


def check_compiled(
    subject: Graph | nn.Module,
    inputs: Sequence[Tensor],
    *,
    target: Target | None = None,
    threads: int = 2,
) -> list[Tensor]:
    """Native code gives the values of float64, with errors like those of sums in float32.

    NaN and infinities stand in the same places. Inputs stay as they are.

    Returns:
        What native code gave.
    """
    graph = subject if isinstance(subject, Graph) else capture(subject, tuple(inputs)).graph
    verify(graph)
    kept = [tensor.clone() for tensor in inputs]
    got = run_graph(graph, inputs, target=target, threads=threads)
    for old, tensor in zip(kept, inputs, strict=True):
        assert torch.equal(old.nan_to_num(), tensor.nan_to_num()), "an input was changed"
    expected = interpret(graph, inputs, dtype=torch.float64)
    check_values(got, expected, terms=count_terms(graph))
    return got


def check_values(got: Sequence[Tensor], expected: Sequence[Tensor], *, terms: int) -> None:
    """Outputs are those of float64, but for errors of sums of `terms` float32 numbers."""
    assert len(got) == len(expected)
    # A random walk of roundings; 2 is room for the order of sums, 16 for the largest of many
    # errors.
    relative = 2 * torch.finfo(torch.float32).eps * terms**0.5
    for index, (one, wanted) in enumerate(zip(got, expected, strict=True)):
        assert one.dtype == torch.float32
        assert one.shape == wanted.shape
        wanted_in_range = wanted.float()  # what is beyond float32 is infinite
        finite = wanted_in_range.isfinite()
        torch.testing.assert_close(
            one.masked_fill(finite, 0), wanted_in_range.masked_fill(finite, 0), equal_nan=True
        )
        assert one[finite].isfinite().all(), f"output {index} is not finite"
        error, size = one[finite].double() - wanted[finite], wanted[finite]
        if size.numel() == 0:
            continue
        rms, largest = size.square().mean().sqrt(), size.abs().max()
        assert error.square().mean().sqrt() <= relative * rms, f"output {index}: rms of errors"
        assert error.abs().max() <= 16 * relative * largest, f"output {index}: largest error"
