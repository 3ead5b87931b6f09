"""Merge 1x1 convolutions that read the same value."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from onebyone.compiler.rewrites.everywhere import Uses, change_everywhere
from onebyone.graph.graph import Change, Concat, Convolution, Graph, Node, Slice
from onebyone.graph.words import joined


def merge_parallel_pointwise(graph: Graph) -> Graph:
    """Compute sibling 1x1 convolutions, such as the reductions of an inception block, as one.

    Rewrite:  conv_a(x) ; conv_b(x)  -->  y = conv_ab(x) ; y[:, :a] ; y[:, a:]
    Cost:     the same macs; x is read once and not once for each, and a product with more columns
              fills registers better

    Siblings are two or more 1x1 convolutions of one group without padding and residual, that have
    the same input, stride and activation. A slice of channels costs nothing: whoever reads it steps
    over the other channels. Two kinds of siblings stay alone, as their slices would have to be
    copied: outputs of the graph, and values that a concat reads, since a convolution alone can
    write straight to its place in the concat's value.
    """
    return change_everywhere(graph, _find_change)


def _find_change(uses: Uses, node: Node) -> Mapping[str, Change]:
    """Merge all siblings when the first of them is seen: its place is the earliest."""
    if not isinstance(node, Convolution) or not _can_merge(uses, node):
        return {}
    siblings = _siblings(uses, node)
    if len(siblings) < 2 or siblings[0] is not node:
        return {}
    merged = _merged(siblings)
    slices: list[Slice] = []
    start = 0
    for conv in siblings:
        stop = start + conv.weight.shape[0]
        slices.append(
            Slice(
                name=conv.name,
                inputs=(merged.name,),
                shape=conv.shape,
                path=conv.path,
                dim=1,
                start=start,
                stop=stop,
            )
        )
        start = stop
    changes: dict[str, Change] = {one.name: one for one in slices}
    changes[node.name] = (merged, slices[0])
    return changes


def why_not_merged(uses: Uses, conv: Convolution) -> str:
    """Return why a 1x1 convolution with siblings stays on its own, in words; "" without any."""
    siblings = [other for other in _pointwise_readers(uses, conv.inputs[0]) if other is not conv]
    if not siblings or not conv.is_pixelwise:
        return ""
    obstacle = _obstacle(uses, conv)
    if obstacle:
        return f"not merged with {_place(siblings[0])}, as it {obstacle}"
    reasons = [
        f"{_place(other)}, which {_obstacle(uses, other) or _difference(other, conv)}"
        for other in siblings
    ]
    return f"not merged with {', nor with '.join(reasons)}"


def _place(conv: Convolution) -> str:
    """Return where a convolution came from, for people; it may be a merged one already."""
    return joined(conv.place.split(" + "))


def _siblings(uses: Uses, node: Convolution) -> list[Convolution]:
    """Return those that can be merged with a convolution, itself among them, in order."""
    return [
        conv
        for conv in _pointwise_readers(uses, node.inputs[0])
        if _can_merge(uses, conv) and not _difference(conv, node)
    ]


def _pointwise_readers(uses: Uses, name: str) -> list[Convolution]:
    readers = [uses.graph[reader] for reader in dict.fromkeys(uses.readers[name])]
    return [
        conv
        for conv in readers
        if isinstance(conv, Convolution) and conv.is_pixelwise and conv.inputs[0] == name
    ]


def _can_merge(uses: Uses, conv: Convolution) -> bool:
    return conv.is_pixelwise and not _obstacle(uses, conv)


def _obstacle(uses: Uses, conv: Convolution) -> str:
    """Return what keeps a convolution from being merged with any other: what it does; or ""."""
    if len(conv.inputs) > 1:
        return "adds a residual"
    if uses.graph.is_output(conv.name):
        return "is an output itself"
    readers = (uses.graph[name] for name in uses.readers[conv.name])
    concat = next((reader for reader in readers if isinstance(reader, Concat)), None)
    return f"is written straight into {concat.place}" if concat else ""


def _difference(conv: Convolution, other: Convolution) -> str:
    """Return what a convolution has that its sibling has not, if that keeps them apart; or ""."""
    if conv.stride != other.stride:
        return "has another stride"
    return "has another activation" if conv.activation != other.activation else ""


@torch.no_grad()
def _merged(siblings: list[Convolution]) -> Convolution:
    """Return the convolution that computes all siblings' channels, in order."""
    first = siblings[0]
    bias = None
    if any(conv.bias is not None for conv in siblings):
        bias = torch.cat([_bias(conv) for conv in siblings])
    weight = torch.cat([conv.weight for conv in siblings])
    n, _, *size = first.shape
    return replace(
        first,
        name="+".join(conv.name for conv in siblings),
        path=" + ".join(conv.path for conv in siblings if conv.path),
        shape=(n, weight.shape[0], *size),
        weight=weight,
        bias=bias,
    )


def _bias(conv: Convolution) -> torch.Tensor:
    return conv.weight.new_zeros(conv.weight.shape[0]) if conv.bias is None else conv.bias
