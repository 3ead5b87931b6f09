"""A graph cut into parts: native code, and operators that PyTorch runs between."""

from collections.abc import Sequence
from dataclasses import dataclass

from onebyone.graph import Constant, Graph, Input, Node, Opaque, Ref


@dataclass(frozen=True, slots=True)
class Segment:
    """A graph without opaque nodes; its input number i takes the value `takes[i]`.

    Its outputs are shown as NCHW; output number i is the value `gives[i]`.
    """

    graph: Graph
    takes: tuple[str, ...]
    gives: tuple[str, ...]


Part = Segment | Opaque


def split_graph(graph: Graph) -> tuple[Part, ...]:
    """Return segments and opaque nodes in an order in which they can run.

    Each node gets the number of the earliest stage that it can run in; native code has the even
    stages and PyTorch the odd ones, so that a change between them happens as seldom as possible.
    Each segment has its own copy of the constants that it reads.
    """
    stages: dict[str, int] = {}
    for node in graph:
        earliest = max((stages[name] for name in node.inputs), default=0)
        parity = int(isinstance(node, Opaque))
        stages[node.name] = earliest + (earliest % 2 != parity)
    inner = [node for node in graph if not isinstance(node, Input)]
    parts: list[Part] = []
    for stage in sorted({stages[node.name] for node in inner}):
        nodes = [node for node in inner if stages[node.name] == stage]
        if stage % 2:
            parts += [node for node in nodes if isinstance(node, Opaque)]
        elif (segment := _segment(graph, nodes)).gives:
            parts.append(segment)
    return tuple(parts)


def _segment(graph: Graph, nodes: Sequence[Node]) -> Segment:
    own = {node.name: node for node in nodes}
    outside = (node for node in graph if node.name not in own)
    wanted = {ref.name for ref in graph.outputs}.union(*(_taken(graph, node) for node in outside))
    gives = tuple(name for name in own if name in wanted)
    read = dict.fromkeys(name for node in nodes for name in node.inputs)
    constants = {name: graph[name] for name in read if isinstance(graph[name], Constant)}
    takes = tuple(name for name in read if name not in own | constants)
    inputs = [
        Input(name=name, shape=graph[name].shape, path=graph[name].path, index=index)
        for index, name in enumerate(takes)
    ]
    kept = {
        name: node
        for name, node in own.items()
        if name in wanted or not isinstance(node, Constant)  # the others are for other parts
    }
    inside = (constants | kept).values()
    return Segment(Graph.of([*inputs, *inside], map(Ref, gives)), takes, gives)


def _taken(graph: Graph, reader: Node) -> list[str]:
    """Return the values that a node takes from elsewhere; native code has constants of its own."""
    if isinstance(reader, Opaque):
        return list(reader.inputs)
    return [name for name in reader.inputs if not isinstance(graph[name], Constant)]
