"""Skip concats that are taken apart again."""

from collections.abc import Mapping

from onebyone.compiler.rewrites.everywhere import Uses, change_everywhere
from onebyone.graph.graph import Change, Concat, Graph, Node, Same, Slice


def skip_concat(graph: Graph) -> Graph:
    """Let those who read one input of a concat, by a slice of its channels, read it directly.

    Rewrite:  concat(x, y)[:, C_x:]  -->  y
    Cost:     nothing is computed less, but y may be written elsewhere than into the concat

    The concat is left to `drop_unused`.
    """
    return change_everywhere(graph, _find_change)


def _find_change(uses: Uses, node: Node) -> Mapping[str, Change]:
    if not isinstance(node, Slice) or (node.dim, node.step) != (1, 1):
        return {}
    concat = uses.graph[node.inputs[0]]
    if not isinstance(concat, Concat):
        return {}
    start = 0
    for name in concat.inputs:
        stop = start + uses.graph[name].shape[1]
        if (start, stop) == (node.start, node.stop):
            return {
                node.name: Same(name, f"it gives {uses.graph[name].place}, which is read instead")
            }
        start = stop
    return {}
