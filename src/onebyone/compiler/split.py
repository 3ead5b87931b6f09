"""A graph cut into parts: native code, and operators that PyTorch runs between."""

from collections.abc import Mapping
from dataclasses import dataclass

from onebyone.graph import Graph, Input, Node, Opaque, Ref


@dataclass(frozen=True, slots=True)
class Segment:
    """A graph without opaque nodes; its input number i takes the value `takes[i]`.

    Its outputs are shown as NCHW; output number i is the value `gives[i]`.
    """

    graph: Graph
    takes: tuple[str, ...]
    gives: tuple[str, ...]


Step = Segment | Opaque


def split_graph(graph: Graph) -> tuple[Step, ...]:
    """Return segments and opaque nodes in an order in which they can run.

    Each node gets the number of the earliest stage that it can run in; native code has the even
    stages and PyTorch the odd ones, so that a change between them happens as seldom as possible.
    """
    stages: dict[str, int] = {}
    for node in graph:
        earliest = max((stages[name] for name in node.inputs), default=0)
        parity = int(isinstance(node, Opaque))
        stages[node.name] = earliest + (earliest % 2 != parity)
    steps: list[Step] = []
    for stage in sorted({stages[node.name] for node in graph if not isinstance(node, Input)}):
        nodes = [
            node for node in graph if stages[node.name] == stage and not isinstance(node, Input)
        ]
        if stage % 2:
            steps += [node for node in nodes if isinstance(node, Opaque)]
        else:
            segment = _segment(graph, nodes, stages)
            if segment.gives:
                steps.append(segment)
    return tuple(steps)


def _segment(graph: Graph, nodes: list[Node], stages: Mapping[str, int]) -> Segment:
    inside = {node.name for node in nodes}
    takes = dict.fromkeys(name for node in nodes for name in node.inputs if name not in inside)
    wanted = {ref.name for ref in graph.outputs}
    for node in graph:
        if node.name not in inside:
            wanted |= inside & set(node.inputs)
    gives = [name for name in stages if name in inside and name in wanted]
    inputs = [
        Input(name=name, shape=graph[name].shape, path=graph[name].path, index=index)
        for index, name in enumerate(takes)
    ]
    outputs = [Ref(name) for name in gives]
    return Segment(Graph.of([*inputs, *nodes], outputs), tuple(takes), tuple(gives))


def is_native(graph: Graph) -> bool:
    """Whether no operator is left to PyTorch."""
    return not any(isinstance(node, Opaque) for node in graph)
