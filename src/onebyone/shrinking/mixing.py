"""What operators do to a width: whether each channel stays by itself, all treated alike."""

import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from onebyone.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Concat,
    Constant,
    Convolution,
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
)
from onebyone.shrinking.reading import Reading
from onebyone.shrinking.reasons import Why, why_special

_aten = torch.ops.aten

_PASSING = (Activation, Pool, Pad, Upsample)
"""What works on each channel by itself, and on all alike."""

_MIXING: Mapping[type[Node], str] = {
    Concat: "joined with other maps",
    Shuffle: "shuffled",
    Reshape: "flattened",
    Softmax: "read by a softmax",
    LayerNorm: "read by a layer norm",
}
"""What is done to a width by what does not."""

_CHANNELWISE = {
    *(_aten.max_pool2d_with_indices, _aten.avg_pool2d, _aten._adaptive_avg_pool2d),
    *(_aten.adaptive_max_pool2d, _aten.reflection_pad2d, _aten.replication_pad2d),
    *(_aten.upsample_nearest2d, _aten._upsample_nearest_exact2d),
    *(_aten.upsample_bilinear2d, _aten.upsample_bicubic2d),
    _aten._prelu_kernel,  # on each number, which PyTorch's tags say of all others
}
"""PyTorch's operators that have no kind of node, and work on each channel by itself."""


@dataclass(frozen=True, slots=True)
class Width:
    """The channels that a convolution gives, as far as they were followed.

    Attributes:
        reading: Of the network.
        folded: Paths of the norms that are to be folded.
        nodes: Those whose channels are the convolution's, each by itself; by name.
    """

    reading: Reading
    folded: Collection[str]
    nodes: dict[str, Node]


def why_mixed(width: Width, node: Node) -> Why:
    """Say why a node that reads a width mixes its channels, or treats them differently."""
    if isinstance(node, _PASSING):
        return None
    check = _CHECKS.get(type(node))
    return check(width, node) if check else _MIXING[type(node)]


def _why_norm(width: Width, node: Node) -> Why:
    return None if node.path in width.folded else "read by a batch norm that cannot be folded"


def _why_grouped(width: Width, node: Node) -> Why:
    """Convolutions of groups, of which each may be one channel."""
    assert isinstance(node, Convolution)
    reading = width.reading
    if not node.is_channelwise:
        return "read by a convolution of groups"
    module = reading.modules.get(node.path)
    if not isinstance(module, nn.Conv2d) or not reading.is_own(node):
        return "read by a depthwise convolution that is no layer of its own numbers"
    why = reading.why_held(node.path) or why_special(module)
    return f"read by a depthwise convolution that must stay: {why}" if why else None


def _why_sliced(width: Width, node: Node) -> Why:  # noqa: ARG001
    assert isinstance(node, Slice)
    return "divided" if node.dim == 1 else None


def _why_combined(width: Width, node: Node) -> Why:
    """Combinations with itself, or with a number that is the same for every channel."""
    assert isinstance(node, Arithmetic)
    others = [width.reading.graph[name] for name in node.inputs if name not in width.nodes]
    if all(isinstance(one, Constant) and one.shape[1] == 1 for one in others):
        return None
    if any(isinstance(one, Constant) for one in others):
        return "combined with a constant for each channel"
    return "gated" if node.operator in ("mul", "div") else "added to another map"


def _why_opaque(width: Width, node: Node) -> Why:
    """PyTorch's operators on each number, or each channel, by itself."""
    assert isinstance(node, Opaque)
    if node.target is operator.getitem:
        return None
    packet = getattr(node.target, "overloadpacket", node.target)
    is_known = packet in _CHANNELWISE or torch.Tag.pointwise in getattr(node.target, "tags", ())
    if is_known and _reads_one_map(width, node):
        return None
    return f"read by {getattr(packet, '__name__', packet)}"


def _reads_one_map(width: Width, node: Opaque) -> bool:
    """Whether an operator reads one map and numbers that are the same for every channel."""
    refs = [leaf for leaf in (*node.arguments, *node.keywords.values()) if isinstance(leaf, Ref)]
    if len(refs) != 1 or len(node.inputs) != 1 or refs[0].view is not View.NCHW:
        return False
    channels = width.nodes[refs[0].name].shape[1:2]
    is_same_width = not node.shape or (len(node.shape) == 4 and node.shape[1:2] == channels)
    return is_same_width and all(tensor.numel() == 1 for tensor in node.tensors())


_CHECKS: Mapping[type[Node], Callable[[Width, Node], Why]] = {
    BatchNorm: _why_norm,
    Convolution: _why_grouped,
    Slice: _why_sliced,
    Arithmetic: _why_combined,
    Opaque: _why_opaque,
}
"""What depends on more than the kind of a node."""
