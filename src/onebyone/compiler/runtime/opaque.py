"""Operators that PyTorch runs, between native functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from onebyone.compiler.runtime.native import show
from onebyone.graph import Opaque, Ref


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


@dataclass(slots=True)
class OwnTensors:
    """Copies of operators' weights and constants, which nobody else can change."""

    _copies: dict[Any, Tensor] = field(default_factory=dict)

    def copied(self, node: Opaque) -> Opaque:
        """Return an operator with copies; a weight that several operators read stays one."""
        return node.with_tensors(self._copy)

    def _copy(self, tensor: Tensor) -> Tensor:
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if place not in self._copies:
            self._copies[place] = tensor.clone()
        return self._copies[place]


def _changed(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Rebuild nested tuples and lists with every leaf changed."""
    if isinstance(tree, (tuple, list)):
        return type(tree)(_changed(item, change) for item in tree)
    return change(tree)
