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
    if not isinstance(pad, Pad) or pad.value != 0 or uses.graph.is_output(pad.name):
        return {}
    changes: dict[str, Change] = {pad.name: None}
    for name in uses.readers[pad.name]:
        conv = uses.graph[name]
        if not isinstance(conv, Convolution) or pad.name in conv.inputs[1:]:
            return {}
        top, bottom, left, right = (a + b for a, b in zip(pad.padding, conv.padding, strict=True))
        inputs = (pad.inputs[0], *conv.inputs[1:])
        changes[name] = replace(conv, inputs=inputs, padding=(top, bottom, left, right))
    return changes
