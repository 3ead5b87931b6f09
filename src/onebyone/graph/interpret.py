"""Running a graph in plain PyTorch: what rewrites and compiled networks are compared with."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from onebyone.graph.functions import FUNCTIONS
from onebyone.graph.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Concat,
    Constant,
    Convolution,
    Function,
    Graph,
    Input,
    LayerNorm,
    Node,
    Opaque,
    Pad,
    Pool,
    Ref,
    Reshape,
    Shuffle,
    Slice,
    Softmax,
    Upsample,
    View,
    Window,
)

OPERATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}


def interpret(
    graph: Graph, inputs: Sequence[Tensor], *, dtype: torch.dtype | None = None
) -> list[Tensor]:
    """Run a graph; slow, and as simple as can be.

    Args:
        graph: Any graph that `verify` accepts.
        inputs: For each input of the graph, by its index; float ones are converted to `dtype`.
        dtype: Type to compute in, weights converted; None leaves everything as it is.

    Returns:
        The outputs, as they are shown to PyTorch.
    """
    wanted = {ref.name for ref in graph.outputs}
    nodes = interpret_nodes(graph, inputs, dtype=dtype)
    values = {name: value for name, value in nodes if name in wanted}
    return [show_value(values[ref.name], ref) for ref in graph.outputs]


@torch.no_grad()
def interpret_nodes(
    graph: Graph, inputs: Sequence[Tensor], *, dtype: torch.dtype | None = None
) -> Iterator[tuple[str, Any]]:
    """Give name and value of every node in turn; arguments as for `interpret`.

    A value is let go behind the last node that reads it.
    """
    values: dict[str, Any] = {}
    last_reader = {name: node.name for node in graph for name in (node.name, *node.inputs)}
    read_last: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for name, reader in last_reader.items():
        read_last[reader].append(name)

    def cast(leaf: Any) -> Any:
        is_float = isinstance(leaf, Tensor) and leaf.is_floating_point()
        return leaf.to(dtype) if dtype is not None and is_float else leaf

    for node in graph:
        if isinstance(node, Input):
            values[node.name] = cast(inputs[node.index])
        else:
            values[node.name] = _run(node, values, cast, dtype)
        yield node.name, values[node.name]
        for name in read_last[node.name]:
            del values[name]


def run_node(node: Node, values: Mapping[str, Any]) -> Any:
    """Return the value of one node, which is no input, from those of all that it reads, by name."""
    return _run(node, values, lambda leaf: leaf, None)


def _run(node: Node, values: Mapping[str, Any], cast: "Cast", dtype: torch.dtype | None) -> Any:
    if isinstance(node, Opaque):
        return _call(node, values, cast, dtype)
    return KINDS[type(node)](node, [values[name] for name in node.inputs], cast)


def apply_function(function: Function | None, x: Tensor) -> Tensor:
    """Apply an activation function, or none."""
    return x if function is None else FUNCTIONS[function.name].pytorch(x, *function.parameters)


def show_value(value: Any, ref: Ref) -> Any:
    """Show a value `(N, C, H, W)` as its reader wants it; any other is shown as it is."""
    if ref.view is View.NHWC:
        value = value.permute(0, 2, 3, 1)
    elif ref.view is View.NC:
        value = value.flatten(1)
    return value.contiguous() if ref.is_contiguous else value


Cast = Callable[[Any], Any]
Run = Callable[[Any, list[Tensor], Cast], Tensor]


def _call(node: Opaque, values: Mapping[str, Any], cast: Cast, dtype: torch.dtype | None) -> Any:
    """Call PyTorch's operator, its references replaced by values."""

    def given(leaf: Any) -> Any:
        if isinstance(leaf, Ref):
            return show_value(values[leaf.name], leaf)
        if isinstance(leaf, (tuple, list)):
            return type(leaf)(map(given, leaf))
        if isinstance(leaf, torch.dtype) and leaf.is_floating_point and dtype is not None:
            return dtype
        return cast(leaf)

    keywords = {key: given(value) for key, value in node.keywords.items()}
    return node.target(*given(tuple(node.arguments)), **keywords)


def _constant(node: Constant, _: list[Tensor], cast: Cast) -> Tensor:
    return cast(node.value)


def _convolution(node: Convolution, inputs: list[Tensor], cast: Cast) -> Tensor:
    x, *residual = inputs
    top, bottom, left, right = node.padding
    y = F.conv2d(
        F.pad(x, (left, right, top, bottom)),
        cast(node.weight),
        cast(node.bias),
        node.stride,
        dilation=node.dilation,
        groups=node.groups,
    )
    return apply_function(node.activation, y + residual[0] if residual else y)


def _batch_norm(node: BatchNorm, inputs: list[Tensor], cast: Cast) -> Tensor:
    statistics = cast(node.mean), cast(node.var), cast(node.weight), cast(node.bias)
    return apply_function(node.activation, F.batch_norm(inputs[0], *statistics, eps=node.eps))


def _layer_norm(node: LayerNorm, inputs: list[Tensor], cast: Cast) -> Tensor:
    x = inputs[0].permute(0, 2, 3, 1)
    y = F.layer_norm(x, x.shape[-1:], cast(node.weight), cast(node.bias), node.eps)
    return y.permute(0, 3, 1, 2)


def _activation(node: Activation, inputs: list[Tensor], _: Cast) -> Tensor:
    return apply_function(node.function, inputs[0])


def _arithmetic(node: Arithmetic, inputs: list[Tensor], _: Cast) -> Tensor:
    return apply_function(node.activation, OPERATORS[node.operator](*inputs))


def _softmax(_node: Softmax, inputs: list[Tensor], _: Cast) -> Tensor:
    return inputs[0].softmax(1)


def _pool(node: Pool, inputs: list[Tensor], _: Cast) -> Tensor:
    pooled = _pooled(inputs[0], 2, node.rows, node.operator)
    return _pooled(pooled, 3, node.columns, node.operator)


def _pooled(x: Tensor, dim: int, windows: Sequence[Window], operator: str) -> Tensor:
    """Pool along one dimension."""
    parts = (x.narrow(dim, w.start, w.stop - w.start) for w in windows)
    if operator == "max":
        return torch.stack([part.amax(dim) for part in parts], dim)
    counts = (w.count for w in windows)
    sums = [part.sum(dim) / count for part, count in zip(parts, counts, strict=True)]
    return torch.stack(sums, dim)


def _upsample(node: Upsample, inputs: list[Tensor], _: Cast) -> Tensor:
    size, scale = list(node.shape[2:]), node.scale or (None, None)
    if node.mode == "nearest":
        return torch.ops.aten.upsample_nearest2d.default(inputs[0], size, *scale)
    return torch.ops.aten.upsample_bilinear2d.default(inputs[0], size, node.align_corners, *scale)


def _pad(node: Pad, inputs: list[Tensor], _: Cast) -> Tensor:
    top, bottom, left, right = node.padding
    return F.pad(inputs[0], (left, right, top, bottom), value=node.value)


def _concat(_node: Concat, inputs: list[Tensor], _: Cast) -> Tensor:
    return torch.cat(inputs, 1)


def _slice(node: Slice, inputs: list[Tensor], _: Cast) -> Tensor:
    indices = [slice(None)] * node.dim + [slice(node.start, node.stop, node.step)]
    return inputs[0][tuple(indices)]


def _shuffle(node: Shuffle, inputs: list[Tensor], _: Cast) -> Tensor:
    n, c, h, w = inputs[0].shape
    dealt = inputs[0].reshape(n, node.groups, c // node.groups, h, w).transpose(1, 2)
    return dealt.reshape(n, c, h, w)


def _reshape(_node: Reshape, inputs: list[Tensor], _: Cast) -> Tensor:
    return inputs[0].flatten(1)[:, :, None, None]


KINDS: dict[type[Node], Run] = {
    Constant: _constant,
    Convolution: _convolution,
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
    Activation: _activation,
    Arithmetic: _arithmetic,
    Softmax: _softmax,
    Pool: _pool,
    Upsample: _upsample,
    Pad: _pad,
    Concat: _concat,
    Slice: _slice,
    Shuffle: _shuffle,
    Reshape: _reshape,
}
