"""Operators that write into their arguments, and those that return the same instead."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """Go through the tensors in nested tuples, lists and dicts."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from tensors_in(item)
    elif isinstance(tree, dict):
        yield from tensors_in(list(tree.values()))


def written_tensors(
    func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> list[Tensor]:
    """Return the tensors whose numbers or shapes an operator changes."""
    return [
        tensor
        for index, name in _write_positions(func)
        for tensor in tensors_in(args[index] if index < len(args) else kwargs.get(name))
    ]


@cache
def only_reshapes(func: OpOverload) -> bool:
    """Whether an operator changes the shape of a tensor in place, and none of its numbers."""
    return torch.Tag.inplace_view in func.tags


@cache
def functional(func: OpOverload) -> OpOverload | None:
    """Return the operator that returns what another writes: relu for relu_."""
    schema = func._schema  # pyright: ignore[reportPrivateUsage]
    namespace, _, name = schema.name.partition("::")
    if not name.endswith("_") or name.endswith("__"):
        return None
    packet = getattr(getattr(torch.ops, namespace), name[:-1], None)
    overloads = [] if packet is None else [getattr(packet, one) for one in packet.overloads()]
    return next((one for one in overloads if _takes(one) == _takes(func)), None)


def _takes(func: OpOverload) -> list[tuple[str, str]]:
    """Return names and types of an operator's arguments."""
    schema = func._schema  # pyright: ignore[reportPrivateUsage]
    return [(argument.name, str(argument.type)) for argument in schema.arguments]


@cache
def _write_positions(func: OpOverload) -> tuple[tuple[int, str], ...]:
    """Return position and name of the arguments that an operator writes into."""
    arguments = enumerate(func._schema.arguments)  # pyright: ignore[reportPrivateUsage]
    return tuple(
        (i, a.name) for i, a in arguments if a.alias_info is not None and a.alias_info.is_write
    )
