"""Who reads whom in a network, in the words that roles and blocks are told in."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch

from onebyone.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Concat,
    Constant,
    Convolution,
    Graph,
    LayerNorm,
    Node,
    Opaque,
    Pad,
    Pool,
    Shuffle,
    Softmax,
    Upsample,
)
from onebyone.graph.functions import FUNCTIONS

_CARRYING = (BatchNorm, LayerNorm, Activation, Softmax, Pad, Upsample, Shuffle)
"""Kinds of nodes that do something to a map, and leave it the same map."""

NodeT = TypeVar("NodeT", bound=Node)


@dataclass(frozen=True, slots=True)
class Residual:
    """Name the parts of a residual block.

    Attributes:
        sum: Where the two ways meet.
        fork: Where they part: the last node that both come from.
        branch: Nodes of the way that does more, in order.
        shortcut: Nodes of the other; none where it is the identity.
    """

    sum: str
    fork: str
    branch: tuple[str, ...]
    shortcut: tuple[str, ...]


class Wiring:
    """Answer where the values of a graph come from, and where they go.

    Args:
        graph: As it was captured.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.readers = graph.readers()
        self._names = tuple(graph.nodes)
        self._index = {name: index for index, name in enumerate(self._names)}
        self._ancestors: list[int] = []  # for each node a bit for each that it depends on, or is
        for index, node in enumerate(graph):
            bits = 1 << index
            for name in node.inputs:
                bits |= self._ancestors[self._index[name]]
            self._ancestors.append(bits)

    def nodes(self, names: Iterable[str], kind: type[NodeT]) -> Iterator[NodeT]:
        """Go through those nodes that are of one kind."""
        for name in names:
            node = self.graph[name]
            if isinstance(node, kind):
                yield node

    def depends(self, name: str, on: str) -> bool:
        """Whether a value is, or is computed from, another."""
        return bool(self._ancestors[self._index[name]] >> self._index[on] & 1)

    def fork(self, names: Iterable[str]) -> str | None:
        """Return the last node that all values come from, or None."""
        common = -1
        for name in names:
            common &= self._ancestors[self._index[name]]
        return self._names[common.bit_length() - 1] if common > 0 else None

    def between(self, fork: str, name: str) -> tuple[str, ...]:
        """Return the nodes on all ways from behind a fork to a node, itself included."""
        start, bits = self._index[fork], self._ancestors[self._index[name]]
        return tuple(
            other
            for index, other in enumerate(self._names[start + 1 : self._index[name] + 1], start + 1)
            if bits >> index & 1 and self._ancestors[index] >> start & 1
        )

    def carried(self, node: Node) -> str | None:
        """Return the input whose map goes through a node, or None if the node makes a new one.

        Norms, activations, pads, pools of windows, constants added or multiplied, and factors for
        each channel do something to a map and leave it that map. Convolutions, global pools, sums
        and concatenations of several make a new one.
        """
        if isinstance(node, _CARRYING) or (isinstance(node, Pool) and not node.is_global):
            return node.inputs[0]
        if isinstance(node, Arithmetic):
            first, second = node.inputs
            if self.is_factor(node, second):
                return first
            return second if self.is_factor(node, first) else None
        if isinstance(node, Concat):
            return node.inputs[0] if len(node.inputs) == 1 else None
        is_other = isinstance(node, Opaque) and _packet(node) is not torch.ops.aten.convolution
        return node.inputs[0] if is_other and node.inputs else None

    def is_factor(self, node: Arithmetic, name: str) -> bool:
        """Whether an input only scales or shifts the other, which has more pixels or no bound."""
        one = self.graph[name]
        if isinstance(one, Constant):
            return True
        others = [self.graph[other] for other in node.inputs if other != name]
        if any(one.shape[2:] == (1, 1) != other.shape[2:] for other in others):
            return True
        is_gate = isinstance(one, Softmax) or (
            isinstance(one, Activation) and FUNCTIONS[one.function.name].is_gate
        )
        return node.operator == "mul" and is_gate

    def source(self, node: Node) -> Node:
        """Return what made the map that a node reads: a convolution, sum, concatenation, input."""
        return self.way_back(node)[-1]

    def way_back(self, node: Node) -> list[Node]:
        """Return the nodes from a node's first input back to what made that map."""
        way = [self.graph[node.inputs[0]]]
        while (name := self.carried(way[-1])) is not None:
            way.append(self.graph[name])
        return way

    def followers(self, node: Node) -> tuple[Node, ...]:
        """Return the nodes that make something new of a node's map, in order.

        They are convolutions, global pools, sums, concatenations of several, ...
        """
        found: dict[str, Node] = {}
        waiting = [node.name]
        while waiting:
            name = waiting.pop()
            for reader in map(self.graph.__getitem__, self.readers[name]):
                carried = self.carried(reader)
                if carried == name:
                    waiting.append(reader.name)
                elif carried is None or not self.depends(carried, node.name):
                    found[reader.name] = reader
        return tuple(sorted(found.values(), key=lambda found: self._index[found.name]))

    @cached_property
    def residuals(self) -> tuple[Residual, ...]:
        """The residual blocks: sums of two ways from one fork, of which one does more."""
        sums = (node for node in self.graph if isinstance(node, Arithmetic))
        found = (self._residual(node) for node in sums if node.operator == "add")
        return tuple(residual for residual in found if residual is not None)

    def _residual(self, node: Arithmetic) -> Residual | None:
        fork = self.fork(node.inputs)
        if fork is None or self.carried(node) is not None:
            return None
        shortcut, branch = sorted(
            (self.between(fork, name) if name != fork else () for name in node.inputs),
            key=self._work,
        )
        if self._work(shortcut) == self._work(branch):
            return None
        return Residual(node.name, fork, branch, shortcut)

    def _work(self, names: Iterable[str]) -> tuple[int, int]:
        """Return how many convolutions of maps there are, and the weights of their kernels."""
        kernels = [
            node.weight[0, 0].numel()
            for node in self.nodes(names, Convolution)
            if not self.makes_factor(node)
        ]
        return len(kernels), sum(kernels)

    def makes_factor(self, node: Convolution) -> str | None:
        """Return where a convolution's value, through others alone, scales or shifts a map.

        Returns:
            Name of the product (or sum) of a map that does not come from the convolution with what
            it becomes; None if its value is used for anything else.
        """
        found: str | None = None
        waiting, seen = [node.name], {node.name}
        while waiting:
            name = waiting.pop()
            if self.graph.is_output(name):
                return None
            for reader in map(self.graph.__getitem__, self.readers[name]):
                carried = self._map_of(reader)
                if carried is not None and not self.depends(carried, node.name):
                    found = reader.name
                elif not self._passes_factor(reader, name, node):
                    return None
                elif reader.name not in seen:
                    seen.add(reader.name)
                    waiting.append(reader.name)
        return found

    def _map_of(self, node: Node) -> str | None:
        """Return the map of a product or sum of one with a factor."""
        if isinstance(node, Opaque):
            is_product = _packet(node) is torch.ops.aten.mul
            return node.inputs[0] if is_product and len(set(node.inputs)) > 1 else None
        return self.carried(node) if isinstance(node, Arithmetic) else None

    def _passes_factor(self, reader: Node, name: str, origin: Convolution) -> bool:
        """Whether a reader of what may become a factor makes it nothing else."""
        if isinstance(reader, Convolution):
            return reader.is_pointwise
        if isinstance(reader, Arithmetic):
            others = [other for other in reader.inputs if other != name]
            return all(
                isinstance(self.graph[other], Constant) or self._is_own(other, origin)
                for other in others
            )
        return isinstance(reader, (BatchNorm, LayerNorm, Activation, Softmax)) or (
            not isinstance(reader, (Pool, Concat)) and len(set(reader.inputs)) == 1
        )

    def _is_own(self, name: str, origin: Convolution) -> bool:
        """Whether a value is the origin's, activated or normalized: as in `x * sigmoid(x)`."""
        node = self.graph[name]
        while isinstance(node, (BatchNorm, LayerNorm, Activation)):
            node = self.graph[node.inputs[0]]
        return node is origin


def _packet(node: Opaque) -> object:
    return getattr(node.target, "overloadpacket", None)
