"""What people are told: nodes in the words of the field, and paths of modules that fit a column."""

from collections.abc import Iterable
from typing import Any

from onebyone.graph.graph import (
    Activation,
    Arithmetic,
    Convolution,
    Node,
    Opaque,
    Pool,
)

GAP = "…"

KINDS = {
    "batchnorm": "batch norm",
    "layernorm": "layer norm",
    "upsample": "upsampling",
    "pad": "padding",
    "shuffle": "channel shuffle",
    "reshape": "flatten",
}
"""What kinds of nodes are called, where it is not their own name."""


def kind_of(node: Node) -> str:
    """Return what a node is: `1x1 convolution`, `3x3 depthwise`, `relu6`, `max pool`."""
    match node:
        case Convolution():
            return _convolution(node)
        case Activation():
            return str(node.function)
        case Arithmetic():
            return node.operator
        case Pool():
            extent = "global " if node.is_global else ""
            return f"{extent}{'max' if node.operator == 'max' else 'average'} pool"
        case Opaque():
            return getattr(node.target, "overloadpacket", node.target).__name__
        case _:
            return KINDS.get(node.kind, node.kind)


def operator_of(node: Opaque) -> str:
    """Return the full name of a PyTorch operator: `aten.cumsum.default`, `operator.getitem`."""
    target: Any = node.target
    if hasattr(target, "overloadpacket"):
        return str(target)
    return f"{target.__module__.strip('_')}.{target.__name__}"


def _convolution(node: Convolution) -> str:
    if node.is_linear:
        return "linear layer"
    height, width = node.kernel_size
    word = "convolution"
    if node.groups > 1:
        word = "depthwise" if node.is_depthwise else "grouped"
    return f"{height}x{width} {word}"


def joined(places: Iterable[str]) -> str:
    """Join the paths of modules, each without what it begins with in common with the first.

    Example:
        >>> joined(["mixed.branch1.0.conv", "mixed.branch2.0.conv"])
        'mixed.branch1.0.conv + branch2.0.conv'
    """
    first, *others = places
    begun = first.split(".")
    shown = [first]
    for place in others:
        parts = place.split(".")
        shared = 0
        while shared < min(len(parts), len(begun)) - 1 and parts[shared] == begun[shared]:
            shared += 1
        shown.append(".".join(parts[shared:]))
    return " + ".join(shown)


def shorten(place: str, width: int) -> str:
    """Leave out whole words in the middle of a path, until it is no longer than `width`.

    Words end at dots, at underscores where that is not enough; the last one is cut if it is too
    long by itself.

    Example:
        >>> shorten("features.denseblock1.denselayer2.conv1", 30)
        'features.….denselayer2.conv1'
    """
    if len(place) <= width:
        return place
    for separator in (".", "_"):
        first, *rest = place.split(separator)
        while rest := rest[1:]:
            for begun in ([first, GAP], [GAP]):
                shown = separator.join([*begun, *rest])
                if len(shown) <= width:
                    return shown
    return f"{GAP}{place[1 - width :]}"
