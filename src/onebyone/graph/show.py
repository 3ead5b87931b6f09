"""A graph as text: one line a node."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from onebyone.graph.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Convolution,
    Graph,
    Input,
    LayerNorm,
    Node,
    Opaque,
    Pad,
    Pool,
    Ref,
    Shuffle,
    Slice,
    Upsample,
    View,
    Window,
)


def show_graph(graph: Graph) -> str:
    """Show one line a node: its shape, its name, what it does to which nodes; and the outputs.

    The module's path is shown only where the name does not begin with it.
    """
    shapes = [_shape(node.shape) for node in graph]
    names = [node.name for node in graph]
    shape_width, name_width = (max(map(len, column), default=0) for column in (shapes, names))
    lines = [
        f"{shape:{shape_width}}  {node.name:{name_width}}  {_deed(node)}{_path(node)}"
        for node, shape in zip(graph, shapes, strict=True)
    ]
    outputs = ", ".join(map(_ref, graph.outputs))
    return "\n".join([*lines, f"outputs: {outputs}"])


def _deed(node: Node) -> str:
    """Return what a node does, and to which."""
    if isinstance(node, Opaque):
        keywords = (f"{key}={_leaf(value)}" for key, value in node.keywords.items())
        arguments = ", ".join([*map(_leaf, node.arguments), *keywords])
        return f"opaque {_target(node.target)}({arguments})"
    details = " ".join(filter(None, _details(node)))
    inputs = f"({', '.join(node.inputs)})" if node.inputs else ""
    return f"{node.kind}{' ' if details else ''}{details}{inputs}"


def _details(node: Node) -> Iterable[str]:
    """Return the words that tell a node from others of its kind."""
    match node:
        case Input():
            return [str(node.index)]
        case Convolution():
            return _convolution(node)
        case BatchNorm() | LayerNorm():
            return [f"eps={node.eps:g}", _activation(node)]
        case Activation():
            return [str(node.function)]
        case Arithmetic():
            return [node.operator, _activation(node)]
        case Pool():
            return [node.operator, _windows(node.rows), "x", _windows(node.columns)]
        case Upsample():
            return [node.mode, "align_corners" if node.align_corners else "", _scale(node)]
        case Pad():
            return [_numbers(node.padding), f"value={node.value:g}" if node.value else ""]
        case Slice():
            step = f":{node.step}" if node.step > 1 else ""
            return [f"{'NCHW'[node.dim]}[{node.start}:{node.stop}{step}]"]
        case Shuffle():
            return [f"groups={node.groups}"]
        case _:
            return []


def _convolution(node: Convolution) -> list[str]:
    height, width = node.kernel_size
    return [
        f"{height}x{width}",
        f"stride={_numbers(node.stride)}" if node.stride != (1, 1) else "",
        f"padding={_numbers(node.padding)}" if any(node.padding) else "",
        f"dilation={_numbers(node.dilation)}" if node.dilation != (1, 1) else "",
        f"groups={node.groups}" if node.groups > 1 else "",
        "bias" if node.bias is not None else "",
        _activation(node),
    ]


def _activation(node: Node) -> str:
    function = getattr(node, "activation", None)
    return "" if function is None else f"then {function}"


def _windows(windows: tuple[Window, ...]) -> str:
    """Show windows as their number, and the largest."""
    largest = max(window.stop - window.start for window in windows)
    return f"{len(windows)}*{largest}"


def _scale(node: Upsample) -> str:
    return "" if node.scale is None else f"scale={_numbers(node.scale)}"


def _numbers(values: Iterable[float]) -> str:
    """Show numbers, once if they are all the same."""
    shown = [f"{value:g}" for value in values]
    return shown[0] if len(set(shown)) == 1 else ",".join(shown)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "()"


def _path(node: Node) -> str:
    return f"  # {node.path}" if node.path and not node.name.startswith(node.path) else ""


def _target(target: Any) -> str:
    return str(target) if hasattr(target, "overloadpacket") else str(target.__name__)


def _ref(ref: Ref) -> str:
    return ref.name if ref.view is View.NCHW else f"{ref.name}:{ref.view.value}"


def _leaf(value: Any) -> str:
    if isinstance(value, Ref):
        return _ref(value)
    if isinstance(value, Tensor):
        return f"tensor[{_shape(tuple(value.shape))}]"
    if isinstance(value, (list, tuple)):
        shown = ", ".join(map(_leaf, value))
        return f"[{shown}]" if isinstance(value, list) else f"({shown})"
    return str(value)
