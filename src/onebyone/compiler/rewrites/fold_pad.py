"""Fold borders of zeros into the convolutions that read them."""

from collections.abc import Mapping
from dataclasses import replace

from onebyone.compiler.rewrites.everywhere import Uses, change_everywhere
from onebyone.graph.graph import Change, Convolution, Graph, Node, Pad


def fold_pad(graph: Graph) -> Graph:
    """Let convolutions pad what a node before them has padded with zeros.

    Rewrite:  conv(pad(x))  -->  conv'(x), for every convolution that reads it
    Cost:     one copy of the image less

    Padding need not be the same on both sides: this is how networks that came from TensorFlow say
    it. Where others read the padded image as well, it has to be made, and nothing changes.
    """
    return change_everywhere(graph, _find_change)


def _find_change(uses: Uses, pad: Node) -> Mapping[str, Change]:
    if not isinstance(pad, Pad) or why_not_folded(uses, pad):
        return {}
    changes: dict[str, Change] = {pad.name: None}
    for name in uses.readers[pad.name]:
        conv = uses.graph[name]
        assert isinstance(conv, Convolution)
        top, bottom, left, right = (a + b for a, b in zip(pad.padding, conv.padding, strict=True))
        inputs = (pad.inputs[0], *conv.inputs[1:])
        changes[name] = replace(conv, inputs=inputs, padding=(top, bottom, left, right))
    return changes


def why_not_folded(uses: Uses, pad: Pad) -> str:
    """Return why a border is made on its own, in words; "" if it need not be."""
    if pad.value != 0:
        return f"not folded: convolutions pad with 0, not with {pad.value:g}"
    if uses.graph.is_output(pad.name):
        return "not folded: it is an output itself"
    for name in uses.readers[pad.name]:
        reader = uses.graph[name]
        if not isinstance(reader, Convolution) or pad.name in reader.inputs[1:]:
            return f"not folded: {reader.place} reads it and cannot pad"
    return ""
