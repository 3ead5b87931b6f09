"""What became of each captured layer, with whom, and why not more."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onebyone.compiler.account import Account, Layer
from onebyone.graph import Constant, Convolution, Fate, Graph, Input, Node, Opaque
from onebyone.graph.graph import NOT_NEEDED
from onebyone.graph.words import joined, kind_of, operator_of, shorten

NAME_WIDTH = 40
KIND_WIDTH = 20
LINE_WIDTH = 100

VERDICTS = {
    "input": "input",
    "constant": "constant",
    "alone": "alone",
    "merged": "merged with others into one 1x1 convolution",
    "by rows": "run by rows with others",
    "fused": "fused into another",
    "free": "free",
    "in PyTorch": "in PyTorch",
}
"""What can become of a layer, and how the first line says it."""

HELP = {
    "input": "for values from other parts",
    "transform": "for inputs of Winograd convolutions",
    "border": "for zeros around images",
    "copy": "for copies",
    "output": "for values that go out",
}
"""What operations that compute no layer are for, by their kind."""


@dataclass(frozen=True, slots=True)
class LayerFate:
    """Say what became of one captured layer.

    Args:
        name: Of the captured node.
        place: Module that it came from, or the name.
        kind: What it is, in the words of the field.
        verdict: One of `VERDICTS`.
        operations: Names of the operations that compute it, as in a profile.
        detail: How, with whom, and why not more; "" where the verdict says it all.
    """

    name: str
    place: str
    kind: str
    verdict: str
    operations: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LayerFates:
    """What became of each layer; `print` it for a line or more a layer.

    Args:
        rows: One for each captured layer, in their order.
        operations: How many operations of native code there are.
        helpers: Of these, how many compute no layer, by their kind.
    """

    rows: tuple[LayerFate, ...]
    operations: int
    helpers: tuple[tuple[str, int], ...]

    def count(self, verdict: str) -> int:
        """Return how many layers have had that fate."""
        return sum(row.verdict == verdict for row in self.rows)

    def __str__(self) -> str:
        """Show the counts, then what became of each layer, at most 100 columns wide.

        What does not fit in a line goes on below, further to the right.
        """
        return "\n".join([*self._head(), "", *self._body()])

    def _head(self) -> list[str]:
        found = [(self.count(verdict), words) for verdict, words in VERDICTS.items()]
        counts = ", ".join(f"{count} {words}" for count, words in found if count)
        parts = [
            (self.operations - sum(count for _, count in self.helpers), "for these layers"),
            *((count, HELP[kind]) for kind, count in self.helpers),
        ]
        work = ", ".join(f"{count} {words}" for count, words in parts)
        return [
            line
            for text in (
                f"{len(self.rows)} layers: {counts}",
                f"{self.operations} operations of native code: {work}",
            )
            for line in textwrap.wrap(text, LINE_WIDTH, subsequent_indent="  ")
        ]

    def _body(self) -> list[str]:
        heads = [
            (shorten(row.place, NAME_WIDTH), shorten(row.kind, KIND_WIDTH), row.verdict)
            for row in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(*heads, strict=True)]
        lines: list[str] = []
        for head, row in zip(heads, self.rows, strict=True):
            begin = "".join(f"{word:<{width}}  " for word, width in zip(head, widths, strict=True))
            room = LINE_WIDTH - len(begin)
            words = " ".join(shorten(word, room) for word in row.detail.split())
            first, *others = textwrap.wrap(
                words, room, break_long_words=False, break_on_hyphens=False
            ) or [""]
            lines += [f"{begin}{first}".rstrip(), *(" " * len(begin) + one for one in others)]
        return lines


_NO_CODE = (Constant, Opaque)
"""Kinds whose values no operation computes."""


def tell_fates(graph: Graph, accounts: Sequence[Account]) -> LayerFates:
    """Say what became of the layers of a captured graph.

    Args:
        graph: As it was captured.
        accounts: What its native parts do.
    """
    return _Story.of(graph, _fates(graph, accounts), accounts).told()


def _fates(graph: Graph, accounts: Sequence[Account]) -> Mapping[str, Fate]:
    """Return the fates of all layers; a constant may be in several parts."""
    found: dict[str, list[Fate]] = {name: [] for name in graph.nodes}
    for account in accounts:
        for name, fate in account.changed.items():
            found[name].append(fate)
    return {
        node.name: _joined(found[node.name]) if found[node.name] else _unchanged(node)
        for node in graph
    }


def _joined(fates: Sequence[Fate]) -> Fate:
    nodes = tuple(dict.fromkeys(name for fate in fates for name in fate.nodes))
    return Fate(nodes, fates[0].why)


def _unchanged(node: Node) -> Fate:
    is_left = isinstance(node, (Input, Opaque))
    return Fate((node.name,)) if is_left else Fate((), NOT_NEEDED)


@dataclass(frozen=True, slots=True)
class _Story:
    """Hold who computes what.

    Args:
        graph: As it was captured.
        readers: For each of its nodes, who reads it.
        fates: What rewrites made of its nodes.
        mains: For each node that is left, the layers that it is; the others are fused into them.
        operations: For each node that is left, the operation that computes it.
        free: Nodes that cost nothing, and why.
        layers: All operations.
    """

    graph: Graph
    readers: Mapping[str, Sequence[str]]
    fates: Mapping[str, Fate]
    mains: Mapping[str, tuple[str, ...]]
    operations: Mapping[str, Layer]
    free: Mapping[str, str]
    layers: tuple[Layer, ...]

    @staticmethod
    def of(graph: Graph, fates: Mapping[str, Fate], accounts: Sequence[Account]) -> "_Story":
        computed: dict[str, list[str]] = {}
        for layer, fate in fates.items():
            for name in fate.nodes:
                computed.setdefault(name, []).append(layer)
        layers = tuple(layer for account in accounts for layer in account.layers)
        operations: dict[str, Layer] = {}
        for layer in layers:
            for stage in layer.stages or (layer,):
                # Parts that read a value from elsewhere have an operation of its name, too, later.
                if stage.name in computed and not isinstance(graph.nodes.get(stage.name), _NO_CODE):
                    operations.setdefault(stage.name, layer)
        return _Story(
            graph=graph,
            readers=graph.readers(),
            fates=fates,
            mains={name: _mains(graph, name, found) for name, found in computed.items()},
            operations=operations,
            free={name: why for account in accounts for name, why in account.views.items()},
            layers=layers,
        )

    def told(self) -> LayerFates:
        """Return a row for each layer, and counts of operations."""
        computing = {id(layer) for layer in self.operations.values()}
        helpers = Counter(layer.kind for layer in self.layers if id(layer) not in computing)
        return LayerFates(
            rows=tuple(map(self._row, self.graph)),
            operations=len(self.layers),
            helpers=tuple((kind, helpers[kind]) for kind in HELP if helpers[kind]),
        )

    def _row(self, node: Node) -> LayerFate:
        fate = self.fates[node.name]
        verdict, *details = self._verdict(node, fate)
        found = (self.operations[name].name for name in fate.nodes if name in self.operations)
        return LayerFate(
            name=node.name,
            place=node.place,
            kind=kind_of(node),
            verdict=verdict,
            operations=tuple(dict.fromkeys(found)),
            detail="; ".join(filter(None, [*details, self._output(node)])),
        )

    def _verdict(self, node: Node, fate: Fate) -> Sequence[str]:
        """Return the verdict, and details."""
        if isinstance(node, Constant):
            return "constant", "" if fate.nodes else self._taken_in(node) or _dropped(fate)
        if not fate.nodes:
            return "free", _dropped(fate)
        if isinstance(node, Opaque):
            return "in PyTorch", f"no native code for {operator_of(node)}"
        name = fate.nodes[0]
        mains = self.mains[name]
        if node.name not in mains:
            return "fused", f"into {self._hosts(node, fate)}"
        if name in self.free:
            return "free", self.free[name]
        if name not in self.operations:
            return "input", "read by PyTorch alone"
        if isinstance(node, Input):
            return "input", self.operations[name].note
        return self._computed(node, fate, mains)

    def _computed(self, node: Node, fate: Fate, mains: tuple[str, ...]) -> Sequence[str]:
        """Return the verdict on a layer that an operation computes, and details."""
        name = fate.nodes[0]
        operation = self.operations[name]
        stages = {stage.name: stage for stage in operation.stages}
        own = stages[name] if stages else operation
        neighbours = [stage for stage in stages if stage != name]
        rows = f"with {self._places(neighbours)} in {operation.note}" if stages else ""
        if len(mains) > 1:
            siblings = joined(self.graph[main].place for main in mains if main != node.name)
            rows = f"by rows {rows}" if rows else ""
            return "merged", f"with {siblings} into one {own.kind}", own.note, rows
        return "by rows" if stages else "alone", rows, own.note, fate.why

    def _hosts(self, node: Node, fate: Fate) -> str:
        """Return the places of the layers that a layer is fused into."""
        name, *others = fate.nodes
        if others or len(self.mains[name]) == 1:
            return self._places(fate.nodes)
        # Of those that were merged it is the one that it follows.
        found = node
        while found.name not in self.mains[name]:
            before = [one for one in found.inputs if name in self.fates[one].nodes]
            if not before:
                return self._places(fate.nodes)
            found = self.graph[before[0]]
        return found.place

    def _places(self, names: Sequence[str]) -> str:
        """Return the places of nodes that are left: of the layers that they are."""
        return " and ".join(
            joined(self.graph[main].place for main in self.mains[name]) for name in names
        )

    def _taken_in(self, node: Constant) -> str:
        """Return who does what the readers of a constant did, if anybody does; or ""."""
        readers = self.readers[node.name]
        nodes = dict.fromkeys(name for one in readers for name in self.fates[one].nodes)
        return f"part of {self._places(list(nodes))}" if nodes else ""

    def _output(self, node: Node) -> str:
        return "an output" if self.graph.is_output(node.name) else ""


def _dropped(fate: Fate) -> str:
    return f"dropped, as {fate.why}"


def _mains(graph: Graph, name: str, layers: list[str]) -> tuple[str, ...]:
    """Return which of a node's layers it is: that of its name, or those that were merged."""
    if name in layers:
        return (name,)
    return tuple(layer for layer in layers if isinstance(graph[layer], Convolution))
