"""What all rewrites share: apply one small change wherever it fits, until it fits nowhere."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onebyone.graph.graph import Change, Graph, Node


@dataclass(frozen=True, slots=True)
class Uses:
    """A graph, with who reads what in it.

    Args:
        graph: The graph.
        readers: For each node, the names of those who read it, once for each time they do.
        position: For each node, its place in the order of nodes.
    """

    graph: Graph
    readers: Mapping[str, list[str]]
    position: Mapping[str, int]

    @staticmethod
    def of(graph: Graph) -> "Uses":
        """Look at a graph."""
        return Uses(graph, graph.readers(), {name: i for i, name in enumerate(graph.nodes)})

    def is_read_once(self, name: str) -> bool:
        """Whether one node reads that value, once, and nobody else ever sees it."""
        return len(self.readers[name]) == 1 and not self.graph.is_output(name)

    def why_shared(self, name: str, reader: Node) -> str:
        """Return who sees a value besides one of its readers, in words; "" if nobody does."""
        place = self.graph[name].place
        if self.is_read_once(name):
            return ""
        if self.graph.is_output(name):
            return f"{place} is an output itself"
        others = [other for other in self.readers[name] if other != reader.name]
        return (
            f"{self.graph[others[0]].place} reads {place} too"
            if others
            else f"{place} is read twice"
        )


def change_everywhere(
    graph: Graph, find_change: Callable[[Uses, Node], Mapping[str, Change]]
) -> Graph:
    """Apply a change to every node that it fits, again and again until it fits none.

    Hence a rewrite that is applied for a second time changes nothing, and gives the same object
    back.

    Args:
        graph: The graph.
        find_change: Gives what to change around one node, for `Graph.with_changes`; nothing where
            it doesn't fit. It must name every node that is replaced or removed, and every
            application must bring the end nearer: fewer nodes, as a rule.
    """
    while True:
        uses = Uses.of(graph)
        changes: dict[str, Change] = {}
        for node in graph:
            found = find_change(uses, node)
            # Two changes that want the same node: the second has its turn in the next round.
            if changes.keys().isdisjoint(found):
                changes.update(found)
        if not changes:
            return graph
        graph = graph.with_changes(changes)
