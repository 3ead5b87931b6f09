"""Fold the flattening of an image into the linear layers that read it."""

from collections.abc import Mapping
from dataclasses import replace

from onebyone.compiler.rewrites.everywhere import Uses, change_everywhere
from onebyone.graph.graph import Change, Convolution, Graph, Node, Reshape


def fold_flatten(graph: Graph) -> Graph:
    """Let a linear layer behind a flattening read the image as it lies, by a kernel of its size.

    Rewrite:  conv1x1(flatten(x))  -->  conv HxW(x), with the same weights seen as (N_out, C, H, W)
    Cost:     the same macs; one copy of the image less, as flattening puts channels outermost and
              images have them innermost

    The flattening goes when all its readers could do without.
    """
    return change_everywhere(graph, _find_change)


def _find_change(uses: Uses, flat: Node) -> Mapping[str, Change]:
    if not isinstance(flat, Reshape):
        return {}
    image = uses.graph[flat.inputs[0]]
    readers = [uses.graph[name] for name in uses.readers[flat.name]]
    changes: dict[str, Change] = {
        conv.name: replace(
            conv,
            inputs=(image.name, *conv.inputs[1:]),
            weight=conv.weight.detach().reshape(-1, *image.shape[1:]),
            stride=(1, 1),
            dilation=(1, 1),  # a kernel of one weight may have any; this one may not
        )
        for conv in readers
        if isinstance(conv, Convolution) and conv.is_pixelwise and flat.name not in conv.inputs[1:]
    }
    if changes and len(changes) == len(readers) and not uses.graph.is_output(flat.name):
        changes[flat.name] = None
    return changes
