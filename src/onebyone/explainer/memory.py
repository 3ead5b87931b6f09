"""How much memory the values of a network take while it runs, layer by layer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from operator import getitem

from torch._ops import OpOverload

from onebyone.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Constant,
    Graph,
    Input,
    LayerNorm,
    Node,
    Opaque,
    Reshape,
    Slice,
    Softmax,
)

FLOAT_BYTES = 4
"""Of a number; operators that compute with others are taken as if they didn't."""

_IN_PLACE = (BatchNorm, LayerNorm, Activation, Arithmetic, Softmax)
_VIEWS = (Slice, Reshape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The moment at which most memory is held.

    Attributes:
        bytes: What the values take that are held then.
        node: Name of the node that runs then, the first if there are several such moments.
        held: Names of the nodes whose values are held then, its own included; of values that share
            memory the first.
    """

    bytes: int
    node: str
    held: tuple[str, ...]


NOTHING_HELD = Peak(bytes=0, node="", held=())


def find_peak(graph: Graph) -> Peak:
    """Find the most memory that values must have at one time if nodes run in the graph's order.

    Convention: float32, and what follows.

    - Inputs belong to who calls: they are held throughout, and never written into.
    - A value is held from the node that gives it to the last that reads it; outputs to the end.
    - Norms, activations, softmax and arithmetic write into an input that nobody reads later, if it
      takes as much memory as their result. All others write to new memory.
    - Views take none: slices, flattening, PyTorch's own. What they show is held for their readers.
    - Weights and constants are not counted, nor what a layer needs for itself while it runs.

    PyTorch holds more where a function does not work in place, where the caller keeps a name for a
    value, and where an operator needs workspace; compiled code, which joins layers, often less.
    """
    lives = _find_lives(graph)
    most = NOTHING_HELD
    for step, node in enumerate(graph):
        held = [life for life in lives if life.first <= step <= life.last]
        size = sum(life.size for life in held)
        if size > most.bytes:
            most = Peak(bytes=size, node=node.name, held=tuple(life.name for life in held))
    return most


def is_view(node: Node) -> bool:
    """Whether a node only shows the numbers of its first input, or some of them, in another way."""
    if isinstance(node, Opaque):
        if not isinstance(node.target, OpOverload):
            return node.target is getitem
        schema = node.target._schema  # pyright: ignore[reportPrivateUsage]
        return any(result.alias_info is not None for result in schema.returns)
    return isinstance(node, _VIEWS)


@dataclass(frozen=True, slots=True)
class _Life:
    """Memory of `size` bytes, held from step `first` through step `last`."""

    name: str
    size: int
    first: int
    last: int


def _find_lives(graph: Graph) -> list[_Life]:
    """Return all memory that is held at some time, in the order in which it is first needed."""
    steps = {name: step for step, name in enumerate(graph.nodes)}
    last_reads = _last_reads(graph, steps)
    sizes = _sizes(graph)
    owners: dict[str, str] = {}
    last: dict[str, int] = {}
    for step, node in enumerate(graph):
        owner = _owner(node, step, owners=owners, last=last, sizes=sizes, graph=graph)
        owners[node.name] = owner
        last[owner] = max(last.get(owner, step), last_reads[node.name])
    return [
        _Life(name, sizes[name], 0 if isinstance(graph[name], Input) else steps[name], last[name])
        for name in last
        if not isinstance(graph[name], Constant)
    ]


def _owner(
    node: Node,
    step: int,
    *,
    owners: Mapping[str, str],
    last: Mapping[str, int],
    sizes: Mapping[str, int],
    graph: Graph,
) -> str:
    """Return the node whose memory a node's value is in: another's, or its own."""
    if is_view(node) and node.inputs:
        return owners[node.inputs[0]]
    if isinstance(node, _IN_PLACE):
        for owner in _read_once(node.inputs, owners):
            is_free = last[owner] == step and not isinstance(graph[owner], (Input, Constant))
            if is_free and sizes[owner] == sizes[node.name]:
                return owner
    return node.name


def _read_once(inputs: Sequence[str], owners: Mapping[str, str]) -> Iterator[str]:
    """Go through the memory that a node reads by one name: it may be overwritten as it is read."""
    distinct = [owners[name] for name in dict.fromkeys(inputs)]
    return (owner for owner in distinct if distinct.count(owner) == 1)


def _last_reads(graph: Graph, steps: Mapping[str, int]) -> dict[str, int]:
    """Return the step until which each value must be there."""
    end = len(steps)
    found = dict(steps)
    for node in graph:
        for name in node.inputs:
            found[name] = max(found[name], steps[node.name])
        if isinstance(node, Input):
            found[node.name] = end
    return found | {ref.name: end for ref in graph.outputs}


def _sizes(graph: Graph) -> dict[str, int]:
    """Return the bytes of each value; of a tuple of tensors, of those that are read."""
    sizes = {node.name: FLOAT_BYTES * prod(node.shape) for node in graph}
    parts: dict[str, int] = {}
    for node in graph:
        if isinstance(node, Opaque) and node.target is getitem:
            owner = node.inputs[0]
            parts[owner] = parts.get(owner, 0) + sizes[node.name]
    return sizes | parts
