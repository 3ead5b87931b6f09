"""From a network to its graph: `capture`."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from onebyone.errors import ShapeError
from onebyone.graph.builder import GraphBuilder, Seen
from onebyone.graph.calls import Call, Value
from onebyone.graph.convert import convert
from onebyone.graph.deciding import DecidingRecorder
from onebyone.graph.exact import exactly
from onebyone.graph.graph import Graph
from onebyone.graph.layout import shape_of
from onebyone.graph.memory import Geometry, share_numbers
from onebyone.graph.recorder import Recorder
from onebyone.graph.trace import Trace, trace


@dataclass(frozen=True, slots=True)
class Captured:
    """A network as a graph, and how its arguments and results are nested.

    Args:
        graph: What the network computes.
        in_spec: Nesting of `(args, kwargs)`.
        out_spec: Nesting of the result.
        in_leaves: The flattened arguments: a `Value` where the graph has an input, `CONSTANT` in
            place of known tensors, and what else there was.
        out_leaves: The flattened result: `SLOT` for each output of the graph, all else as it is.
        written: Inputs of the graph, by index, that the network writes into. What it leaves in them
            are the last outputs of the graph.
        dropouts: Names of the nodes whose values dropout is applied to. It does something in
            training only, and has no node.
    """

    graph: Graph
    in_spec: TreeSpec
    out_spec: TreeSpec
    in_leaves: tuple[Any, ...]
    out_leaves: tuple[Any, ...]
    written: tuple[int, ...] = ()
    dropouts: frozenset[str] = frozenset()
    _is_flat: bool = field(init=False, repr=False)
    """Whether the arguments are leaves, without nesting, as they mostly are."""
    _is_one: bool = field(init=False, repr=False)
    """Whether the result is one tensor."""

    def __post_init__(self) -> None:
        """Compare the nesting once; flattening takes as long as all else that a call does."""
        flat = tree_flatten(((SLOT,) * len(self.in_leaves), {}))[1]
        object.__setattr__(self, "_is_flat", self.in_spec == flat)
        is_one = (
            len(self.out_leaves) == 1 and self.out_leaves[0] is SLOT and self.out_spec.is_leaf()
        )
        object.__setattr__(self, "_is_one", is_one)

    def flatten(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None
    ) -> list[Tensor]:
        """Return the tensors that the graph's inputs take, in their order.

        Raises:
            ShapeError: If an argument differs in shape, type or nesting from what was captured.
        """
        leaves = self._leaves(args, kwargs)
        if leaves is None:
            raise ShapeError(
                "the arguments must be nested as in the example that the network was captured with"
            )
        found: list[Tensor] = []
        for index, (leaf, wanted) in enumerate(zip(leaves, self.in_leaves, strict=True)):
            if isinstance(wanted, Value):
                _check_input(index, leaf, wanted)
                found.append(leaf)
            elif wanted is not CONSTANT and exactly(leaf) != exactly(wanted):
                raise ShapeError(
                    f"argument {index} must be {wanted!r} as in the example that the network was "
                    f"captured with; got {leaf!r}; capture it again"
                )
        return found

    def _leaves(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None
    ) -> Sequence[Any] | None:
        """Return the flattened arguments, or None if their nesting is not that of the example."""
        if self._is_flat and not kwargs and all(type(leaf) is Tensor for leaf in args):
            return args if len(args) == len(self.in_leaves) else None
        leaves, spec = tree_flatten((args, dict(kwargs or {})))
        return leaves if spec == self.in_spec else None

    def unflatten(self, outputs: Sequence[Tensor]) -> Any:
        """Return the graph's outputs, nested as the network's result; constants are copied."""
        if self._is_one:
            return outputs[0]
        left = iter(outputs)
        leaves = [
            next(left) if leaf is SLOT else leaf.clone() if isinstance(leaf, Tensor) else leaf
            for leaf in self.out_leaves
        ]
        return tree_unflatten(leaves, self.out_spec)

    def check_apart(self, inputs: Sequence[Tensor]) -> None:
        """Check that no input shares memory with another that the network writes into.

        Raises:
            ShapeError: If one does; what the network then reads would depend on the order of its
                operators.
        """
        places = [Geometry.in_memory(tensor) for tensor in inputs]
        for index in self.written:
            for other, place in enumerate(places):
                if other != index and share_numbers(place, places[index]):
                    first, second = sorted((self._position(index), self._position(other)))
                    raise ShapeError(
                        f"arguments {first} and {second} share memory, and the network writes into "
                        f"argument {self._position(index)}; give it a copy (`x.clone()`)"
                    )

    def _position(self, index: int) -> int:
        """Return where an input of the graph stands among the flattened arguments."""
        values = (i for i, leaf in enumerate(self.in_leaves) if isinstance(leaf, Value))
        return list(values)[index]

    def write_back(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        """Leave in the inputs what the network leaves there; all outputs must be computed."""
        left = outputs[len(outputs) - len(self.written) :]
        for index, value in zip(self.written, left, strict=True):
            inputs[index].copy_(value)


class _Mark:
    """Stand in a tuple of leaves for a tensor that is elsewhere."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


CONSTANT = _Mark("CONSTANT")
SLOT = _Mark("SLOT")


def capture(
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    constants: Collection[int] = (),
) -> Captured:
    """Turn a network into a graph; the network stays as it is, and its weights are shared.

    Operators that have no kind of their own become `Opaque`. It holds for the example's shapes.

    Args:
        model: A module, a graph from `torch.compile` or `torch.export`, or any function.
        args: Example arguments; of tensors, only shape and type count.
        kwargs: The same, by name.
        constants: Which of the flattened tensors are known numbers all the same, such as the
            weights that `torch.compile` hands over as arguments.

    Raises:
        ModelError: If what the network does depends on the numbers in its input, if it is in
            training mode, or if it fails.
    """
    traced = trace(model, args, kwargs, constants=constants)
    with torch.no_grad():
        return _build(traced)


def capture_example(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None
) -> tuple[Captured, tuple[str, ...]]:
    """Turn what a network does for the numbers of one example into a graph.

    Where it looks at numbers to decide what to do, the graph has what it decided, and the numbers
    that it looked at are outputs too, behind its own. For other numbers it may be another graph.

    Args:
        model: As for `capture`; its weights must have numbers.
        args: Example arguments, whose numbers count.
        kwargs: The same, by name.

    Returns:
        The graph, and the places where the network looked at numbers or drew some at random.

    Raises:
        ModelError: If it is in training mode, or if it fails.
    """
    recorders: list[DecidingRecorder] = []

    def record(function: object) -> Recorder:
        recorders.append(DecidingRecorder(function))
        return recorders[0]

    traced = trace(model, args, kwargs, record=record)
    with torch.no_grad():
        return _build(traced), tuple(dict.fromkeys(recorders[0].decisions))


def _build(traced: Trace) -> Captured:
    builder = GraphBuilder(call.path for call in traced.calls)
    seen: dict[Value, Seen] = {}
    for index, value in enumerate(traced.inputs):
        seen[value] = builder.input(index, value)
    calls, used = _needed(traced)
    for call in calls:
        builder.path = call.path
        results = convert(builder, call, seen, used)
        for value, result in zip(call.outputs, results, strict=True):
            if value is not None and result is not None:
                assert shape_of(result.layout) == value.shape, call
                seen[value] = result
    builder.path = ""
    results = [leaf for leaf in traced.outputs if isinstance(leaf, Value)]
    given = (*results, *traced.looked, *traced.written.values())
    refs = [builder.read(value, seen) for value in given]
    return Captured(
        builder.finish(refs),
        traced.in_spec,
        traced.out_spec,
        in_leaves=tuple(
            CONSTANT if isinstance(leaf, Tensor) else leaf for leaf in traced.in_leaves
        ),
        out_leaves=tuple(map(_out_leaf, traced.outputs)),
        written=tuple(traced.inputs.index(value) for value in traced.written),
        dropouts=frozenset(seen[value].node for value in traced.dropped if value in seen),
    )


def _out_leaf(leaf: Any) -> Any:
    """Return the place of an output of the graph, a copy of numbers, or what else was returned."""
    if isinstance(leaf, Value):
        return SLOT
    return leaf.clone() if isinstance(leaf, Tensor) else leaf


def _needed(traced: Trace) -> tuple[list[Call], set[Value]]:
    """Return the calls that have a part in what comes out, and the values that someone reads."""
    used: set[Value] = set()

    def visit(tree: Any) -> None:
        if isinstance(tree, Value):
            used.add(tree)
        elif isinstance(tree, (tuple, list)):
            for item in tree:
                visit(item)

    visit((*traced.outputs, *traced.looked, *traced.written.values()))
    calls: list[Call] = []
    for call in reversed(traced.calls):
        if used.intersection(call.outputs):
            visit((call.args, *call.kwargs.values()))
            calls.append(call)
    return calls[::-1], used


def _check_input(index: int, leaf: Any, wanted: Value) -> None:
    if not isinstance(leaf, Tensor):
        raise ShapeError(f"argument {index} must be a tensor; got {type(leaf).__name__}")
    if tuple(leaf.shape) != wanted.shape or leaf.dtype != wanted.dtype:
        raise ShapeError(
            f"argument {index} must be {wanted.dtype} {wanted.shape} as in the example that the "
            f"network was captured with; got {leaf.dtype} {tuple(leaf.shape)}; capture it again"
        )
