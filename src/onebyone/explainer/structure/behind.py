"""What follows a convolution before any other layer: norm, activation, dropout."""

import operator
from collections.abc import Collection
from dataclasses import dataclass

from onebyone.explainer.structure.wiring import Wiring
from onebyone.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Convolution,
    LayerNorm,
    Node,
    Opaque,
    Pool,
    Reshape,
)
from onebyone.graph.functions import FUNCTIONS

_NORMS = ("group_norm", "instance_norm", "layer_norm", "batch_norm")
"""Words in the names of operators that are norms and have no kind of node."""

_ACTIVATIONS = ("elu", "celu", "selu", "prelu", "softplus", "mish", "softsign", "log_sigmoid")
"""Words in the names of operators that are activations and have no kind of node."""


@dataclass(frozen=True, slots=True)
class Behind:
    """What follows a convolution.

    Attributes:
        norm: Such as "batch norm"; None if what comes next is none.
        activation: Such as "relu6"; None if what comes next, or next after the norm, is none, or if
            something else reads the value as well.
        dropout: Whether values are dropped in training before the next layer, sum or
            concatenation; a pool may lie between, as in Network in Network.
    """

    norm: str | None
    activation: str | None
    dropout: bool


def look_behind(wiring: Wiring, node: Convolution, dropouts: Collection[str]) -> Behind:
    """Return what follows a convolution.

    Args:
        wiring: Of the captured graph.
        node: The convolution.
        dropouts: Names of the nodes whose values dropout is applied to, as `Captured.dropouts` has
            them: in evaluation it does nothing, and the graph has no node for it.
    """
    last: Node = node
    norm = None
    readers = _readers(wiring, node)
    if len(readers) == 1 and (norm := _norm(readers[0])) is not None:
        last = readers[0]
        while len(readers := _readers(wiring, last)) == 1 and _takes_result(readers[0]):
            last = readers[0]
    activation = _fused(last) or _activation(wiring, last)
    return Behind(norm, activation, dropout=_is_dropped(wiring, node, dropouts))


def _readers(wiring: Wiring, node: Node) -> list[Node]:
    return [wiring.graph[name] for name in dict.fromkeys(wiring.readers[node.name])]


def _norm(node: Node) -> str | None:
    if isinstance(node, BatchNorm):
        return "batch norm"
    if isinstance(node, LayerNorm):
        return "layer norm"
    if isinstance(node, Opaque):
        found = (word for word in _NORMS if word in str(node.target))
        return next(found, "").replace("_", " ") or None
    return None


def _takes_result(node: Node) -> bool:
    """Whether a node takes one of an operator's several results."""
    return isinstance(node, Opaque) and node.target is operator.getitem


def _fused(node: Node) -> str | None:
    """Return the activation that a node of a rewritten graph has taken in."""
    function = node.activation if isinstance(node, (Convolution, BatchNorm)) else None
    return None if function is None else function.name


def _activation(wiring: Wiring, node: Node) -> str | None:
    """Return the activation that all who read a value apply to it."""
    readers = _readers(wiring, node)
    names = {_activation_name(reader) for reader in readers}
    if len(names) == 1:
        return names.pop()
    if len(readers) == 2:
        gate, product = sorted(readers, key=lambda reader: isinstance(reader, Arithmetic))
        is_own = {*product.inputs} == {node.name, gate.name}
        is_product = isinstance(product, Arithmetic) and product.operator == "mul"
        if is_product and is_own and isinstance(gate, Activation):
            return FUNCTIONS[gate.function.name].self_gated
    return None


def _activation_name(node: Node) -> str | None:
    if isinstance(node, Activation):
        return node.function.name
    if isinstance(node, Opaque):
        word = str(node.target).removeprefix("aten.").split(".")[0].strip("_")
        return next((name for name in _ACTIVATIONS if word.removesuffix("_kernel") == name), None)
    return None


def _is_dropped(wiring: Wiring, node: Node, dropouts: Collection[str]) -> bool:
    if node.name in dropouts:
        return True
    return any(
        _is_dropped(wiring, reader, dropouts)
        for reader in _readers(wiring, node)
        if isinstance(reader, (BatchNorm, LayerNorm, Activation, Pool, Reshape))
    )
