"""Graphs of one network, for inputs of several shapes: what is equal in them is there once."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from onebyone.compiler.key import tensor_digest
from onebyone.compiler.rewrites import rewrite_graph
from onebyone.graph import Captured, Graph


def rewrite_alike(graphs: Sequence[Graph]) -> list[Graph]:
    """Rewrite graphs of one network; what is equal in them is there once."""
    if len(graphs) == 1:
        return [rewrite_graph(graphs[0])]
    tensors = SharedTensors()
    return [tensors.shared(rewrite_graph(graph)) for graph in graphs]


@dataclass(slots=True)
class SharedTensors:
    """Tensors of graphs, in whose place others with the same numbers come.

    A network that is captured once more has the same parameters, but what it makes of them is new,
    as is what batch norms are folded into.
    """

    _known: dict[Any, Tensor] = field(default_factory=dict)
    """By what they say."""
    _places: dict[Any, Tensor] = field(default_factory=dict)
    """The same ones, by where they lie, so that most need not be read."""

    def captured(self, captured: Captured) -> Captured:
        """Return what was captured, with the tensors of earlier graphs."""
        return replace(captured, graph=self.shared(captured.graph))

    def shared(self, graph: Graph) -> Graph:
        """Return a graph with the tensors of earlier ones where they are equal, bit by bit."""
        nodes = {node.name: node.with_tensors(self._one) for node in graph}
        return Graph(nodes, graph.outputs, graph.changed)

    def _one(self, tensor: Tensor) -> Tensor:
        if tensor.is_meta or tensor.layout is not torch.strided:
            return tensor
        form = (tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.is_neg())
        place = (tensor.data_ptr(), *form)
        if place not in self._places:
            known = self._known.setdefault((tensor_digest(tensor), *form), tensor)
            if known is not tensor:
                return known
            self._places[place] = tensor
        return self._places[place]
