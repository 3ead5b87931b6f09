"""The rules of a graph, checked: `verify`."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from onebyone.errors import InvalidGraphError
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
    Shape,
    Shuffle,
    Slice,
    Softmax,
    Upsample,
    View,
    Window,
)
from onebyone.graph.shapes import broadcast


def verify(graph: Graph) -> None:
    """Check all that a graph promises.

    Raises:
        InvalidGraphError: If it breaks a rule; the text names the node and the rule.
    """
    before: dict[str, Node] = {}
    for name, node in graph.nodes.items():
        _check(name == node.name, f"node {node.name!r} stands under the name {name!r}")
        for read in node.inputs:
            _check(read in before, f"{name} reads {read!r}, which no node before it gives")
        _check_node(node, before)
        before[name] = node
    indices = [node.index for node in graph.inputs]
    _check(len(set(indices)) == len(indices), f"two inputs have one index: {indices}")
    for ref in graph.outputs:
        _check_ref("an output", ref, before)


def infer_shape(node: Node, shapes: list[Shape]) -> Shape:
    """Return the shape that a node's value has, from those that it reads.

    Raises:
        InvalidGraphError: If the shapes, or the node's weights, don't fit.
    """
    return SHAPES[type(node)](node, shapes)


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InvalidGraphError(f"{otherwise}; please report this")


def _check_node(node: Node, before: Mapping[str, Node]) -> None:
    if isinstance(node, Input):
        _check(not node.inputs, f"{node.name}: an input reads nothing")
        return
    if isinstance(node, Opaque):
        refs = _refs((node.arguments, node.keywords))
        names = {ref.name for ref in refs}
        _check(
            names == set(node.inputs),
            f"{node.name} reads {sorted(node.inputs)}, but its arguments refer to {sorted(names)}",
        )
        for ref in refs:
            _check_ref(node.name, ref, before)
        return
    shapes = [before[name].shape for name in node.inputs]
    for name, shape in zip(node.inputs, shapes, strict=True):
        _check(
            len(shape) == 4, f"{node.name} reads {name}, whose shape {shape} is not (N, C, H, W)"
        )
    low, high = COUNTS.get(type(node), (1, 1))
    _check(
        low <= len(shapes) <= high, f"{node.name}: a {node.kind} doesn't read {len(shapes)} values"
    )
    for function in (getattr(node, "activation", None), getattr(node, "function", None)):
        _check_function(node, function)
    inferred = infer_shape(node, shapes)
    _check(inferred == node.shape, f"{node.name} has shape {node.shape}, but gives {inferred}")


def _check_ref(reader: str, ref: Ref, before: Mapping[str, Node]) -> None:
    _check(ref.name in before, f"{reader} refers to {ref.name!r}, which no node before it gives")
    shape = before[ref.name].shape
    fits = {
        View.NCHW: True,
        View.NHWC: len(shape) == 4,
        View.NC: len(shape) == 4 and shape[2:] == (1, 1),
    }[ref.view]
    _check(fits, f"{reader} can't see {ref.name} {shape} as {ref.view.value}")


def _check_function(node: Node, function: Function | None) -> None:
    if function is None:
        return
    _check(function.name in FUNCTIONS, f"{node.name}: no activation function {function.name!r}")
    wanted = len(FUNCTIONS[function.name].parameters)
    _check(
        len(function.parameters) == wanted,
        f"{node.name}: {function.name} takes {wanted} parameters, not {len(function.parameters)}",
    )


def _refs(tree: Any) -> list[Ref]:
    if isinstance(tree, Ref):
        return [tree]
    if isinstance(tree, Mapping):
        tree = tuple(tree.values())
    if isinstance(tree, (tuple, list)):
        return [ref for item in tree for ref in _refs(item)]
    return []


def _check_tensor(node: Node, name: str, tensor: Tensor | None, shape: Shape) -> None:
    if tensor is None:
        return
    got = tuple(tensor.shape)
    _check(got == shape, f"{node.name}: `{name}` {got} must be {shape}")
    _check(tensor.is_floating_point(), f"{node.name}: `{name}` must be floats, not {tensor.dtype}")


# Shape rules, one a kind


def _constant(node: Constant, _: list[Shape]) -> Shape:
    _check_tensor(node, "value", node.value, node.shape)
    _check(len(node.shape) == 4, f"{node.name}: a constant is (N, C, H, W), not {node.shape}")
    return node.shape


def _convolution(node: Convolution, shapes: list[Shape]) -> Shape:
    n, c, height, width = shapes[0]
    _check(
        node.weight.dim() == 4, f"{node.name}: `weight` {tuple(node.weight.shape)} must have rank 4"
    )
    out_channels, group_channels = node.weight.shape[:2]
    fits = group_channels * node.groups == c and out_channels % node.groups == 0
    _check(
        fits,
        f"{node.name}: `weight` {tuple(node.weight.shape)} with `groups` (={node.groups}) "
        f"doesn't fit {c} channels",
    )
    _check_tensor(node, "weight", node.weight, tuple(node.weight.shape))
    _check_tensor(node, "bias", node.bias, (out_channels,))
    top, bottom, left, right = node.padding
    _check(min(node.padding) >= 0, f"{node.name}: `padding` {node.padding} must not be negative")
    sizes = (height + top + bottom, width + left + right)
    pixels = [
        (size - dilation * (kernel - 1) - 1) // stride + 1
        for size, kernel, stride, dilation in zip(
            sizes, node.kernel_size, node.stride, node.dilation, strict=True
        )
    ]
    shape = (n, out_channels, *pixels)
    if len(shapes) == 2:
        _check(
            shapes[1] == shape,
            f"{node.name}: the residual {shapes[1]} must have the output's shape {shape}",
        )
    return shape


def _batch_norm(node: BatchNorm, shapes: list[Shape]) -> Shape:
    for name in ("weight", "bias", "mean", "var"):
        _check_tensor(node, name, getattr(node, name), (shapes[0][1],))
    return shapes[0]


def _layer_norm(node: LayerNorm, shapes: list[Shape]) -> Shape:
    for name in ("weight", "bias"):
        _check_tensor(node, name, getattr(node, name), (shapes[0][1],))
    return shapes[0]


def _same(_node: Activation | Softmax, shapes: list[Shape]) -> Shape:
    return shapes[0]


def _arithmetic(node: Arithmetic, shapes: list[Shape]) -> Shape:
    shape = broadcast(*shapes)
    _check(shape is not None, f"{node.name}: {shapes[0]} and {shapes[1]} don't broadcast")
    assert shape is not None
    return shape


def _pool(node: Pool, shapes: list[Shape]) -> Shape:
    n, c, height, width = shapes[0]
    _check_windows(node, node.rows, height)
    _check_windows(node, node.columns, width)
    return n, c, len(node.rows), len(node.columns)


def _check_windows(node: Pool, windows: tuple[Window, ...], size: int) -> None:
    for window in windows:
        _check(
            0 <= window.start < window.stop <= size and window.count != 0,
            f"{node.name}: {window} must lie within 0..{size}",
        )


def _upsample(node: Upsample, shapes: list[Shape]) -> Shape:
    _check(len(node.shape) == 4, f"{node.name}: shape {node.shape} must be (N, C, H, W)")
    _check(min(node.shape[2:]) > 0, f"{node.name}: shape {node.shape} must have pixels")
    return *shapes[0][:2], *node.shape[2:]


def _pad(node: Pad, shapes: list[Shape]) -> Shape:
    n, c, height, width = shapes[0]
    top, bottom, left, right = node.padding
    _check(min(node.padding) >= 0, f"{node.name}: `padding` {node.padding} must not be negative")
    return n, c, height + top + bottom, width + left + right


def _concat(node: Concat, shapes: list[Shape]) -> Shape:
    n, _, height, width = shapes[0]
    for shape in shapes:
        alike = (shape[0], *shape[2:]) == (n, height, width)
        _check(alike, f"{node.name}: {shapes[0]} and {shape} must differ in channels only")
    return n, sum(shape[1] for shape in shapes), height, width


def _slice(node: Slice, shapes: list[Shape]) -> Shape:
    _check(node.dim in (1, 2, 3), f"{node.name}: `dim` (={node.dim}) must be 1, 2 or 3")
    size = shapes[0][node.dim]
    _check(
        0 <= node.start < node.stop <= size and node.step >= 1,
        f"{node.name}: {node.start}:{node.stop}:{node.step} must lie within 0..{size}",
    )
    shape = list(shapes[0])
    shape[node.dim] = len(range(node.start, node.stop, node.step))
    return tuple(shape)


def _shuffle(node: Shuffle, shapes: list[Shape]) -> Shape:
    channels = shapes[0][1]
    divides = node.groups >= 1 and channels % node.groups == 0
    _check(divides, f"{node.name}: `groups` (={node.groups}) must divide {channels} channels")
    return shapes[0]


def _reshape(_node: Reshape, shapes: list[Shape]) -> Shape:
    n, c, height, width = shapes[0]
    return n, c * height * width, 1, 1


SHAPES: dict[type[Node], Callable[[Any, list[Shape]], Shape]] = {
    Constant: _constant,
    Convolution: _convolution,
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
    Activation: _same,
    Arithmetic: _arithmetic,
    Softmax: _same,
    Pool: _pool,
    Upsample: _upsample,
    Pad: _pad,
    Concat: _concat,
    Slice: _slice,
    Shuffle: _shuffle,
    Reshape: _reshape,
}

COUNTS: dict[type[Node], tuple[int, int]] = {
    Constant: (0, 0),
    Convolution: (1, 2),
    Arithmetic: (2, 2),
    Concat: (1, 1_000_000),
}
"""Fewest and most values that a kind reads; the others read one."""
