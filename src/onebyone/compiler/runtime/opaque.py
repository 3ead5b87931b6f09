"""Operators that PyTorch runs, between native functions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from onebyone.compiler.runtime.native import show
from onebyone.graph import Opaque, Ref

T = TypeVar("T")


def call_opaque(node: Opaque, values: Mapping[str, Any]) -> Any:
    """Call PyTorch's operator on what its arguments refer to among these values."""
    if torch.is_autocast_enabled("cpu"):
        # It would convert some arguments, and what comes next was compiled for the network's types.
        with torch.autocast("cpu", enabled=False):
            return call_opaque(node, values)

    def known(leaf: Any) -> Any:
        return show_to(leaf, values[leaf.name]) if isinstance(leaf, Ref) else leaf

    keywords = {name: _changed(value, known) for name, value in node.keywords.items()}
    return node.target(*_changed(node.arguments, known), **keywords)


def show_to(ref: Ref, value: Any) -> Any:
    """Show a value the way its reader wants it."""
    if not isinstance(value, Tensor):
        return value
    shown = show(value, ref.view)
    return shown.contiguous() if ref.is_contiguous else shown


def with_own_tensors(steps: Sequence[T | Opaque]) -> list[T | Opaque]:
    """Return steps whose operators' weights and constants are copies, which nobody can change."""
    copies: dict[Any, Tensor] = {}

    def copied(leaf: Tensor) -> Tensor:
        # A weight that several operators read stays one.
        key = (leaf.data_ptr(), leaf.shape, leaf.stride(), leaf.dtype)
        if key not in copies:
            copies[key] = leaf.clone()
        return copies[key]

    return [step.with_tensors(copied) if isinstance(step, Opaque) else step for step in steps]


def _changed(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Rebuild nested tuples and lists with every leaf changed."""
    if isinstance(tree, (tuple, list)):
        return type(tree)(_changed(item, change) for item in tree)
    return change(tree)
