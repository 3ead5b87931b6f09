"""Functions of single numbers, and arithmetic."""

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from onebyone.graph.align import operands
from onebyone.graph.builder import GraphBuilder, Seen
from onebyone.graph.calls import Value
from onebyone.graph.functions import FUNCTIONS
from onebyone.graph.graph import (
    Activation,
    Arithmetic,
    Function,
)
from onebyone.graph.operators.site import Converter, Site, is_float
from onebyone.graph.shapes import broadcast

_aten = torch.ops.aten
_INFINITY = float("inf")
_Operator = Literal["add", "sub", "mul", "div", "maximum", "minimum"]


def _activated(site: Site, function: Function) -> Seen | None:
    seen = site.value("self")
    shown = _any_native(site.builder, seen) if seen is not None and is_float(site) else None
    if shown is None:
        return None
    shape = site.builder.shape(shown.node)
    node = Activation(name="", inputs=(shown.node,), shape=shape, function=function)
    return Seen(site.builder.add(node, word=function.name).name, shown.layout)


def _any_native(builder: GraphBuilder, seen: Seen) -> Seen | None:
    """Show a tensor, of which no dimension matters, by a node that others than PyTorch can read."""
    if builder.is_native(seen.node):
        return seen
    return builder.with_channels(seen, 1) if len(seen.layout) in (2, 4) else None


def _named(name: str, *parameters: str) -> Converter:
    """Return the converter of an activation function with parameters from these arguments."""

    def activate(site: Site) -> Seen | None:
        return _activated(site, Function(name, tuple(float(site.given[p]) for p in parameters)))

    return activate


def _gelu(site: Site) -> Seen | None:
    name = {"none": "gelu", "tanh": "gelu_tanh"}[site.given["approximate"]]
    return _activated(site, Function(name))


def _clamped(site: Site, low: str, high: str) -> Seen | None:
    bounds = site.given.get(low), site.given.get(high)
    if any(isinstance(bound, Tensor | Value) for bound in bounds):
        return None
    first = -_INFINITY if bounds[0] is None else float(bounds[0])
    last = _INFINITY if bounds[1] is None else float(bounds[1])
    named = {(0.0, 6.0): "relu6", (0.0, _INFINITY): "relu"}.get((first, last))
    return _activated(site, Function(named) if named else Function("clamp", (first, last)))


def _arithmetic(site: Site, operator: _Operator, *, is_swapped: bool = False) -> Seen | None:
    first, second = site.given["self"], site.given["other"]
    if not is_float(site) or site.given.get("rounding_mode") is not None:
        return None
    if is_swapped:
        first, second = second, first
    alpha = site.given.get("alpha", 1)
    if alpha != 1:
        second = _scaled(site, second, alpha)
    if second is None:
        return None
    return _combined(site, operator, first, second)


def _added_product(site: Site) -> Seen | None:
    """Convert `self + value * tensor1 * tensor2`."""
    given = site.given
    if not is_float(site) or given["value"] != 1:
        return None
    values = [given["tensor1"], given["tensor2"]]
    shape = broadcast(*(tuple(value.shape) for value in values))
    product = _combined(site, "mul", *values, shape=shape)
    return None if product is None else _combined(site, "add", given["self"], product)


def _scaled(site: Site, operand: Any, factor: float) -> Any:
    if not isinstance(operand, Value):
        return operand * factor
    return _combined(site, "mul", operand, factor, shape=operand.shape)


def _combined(
    site: Site, operator: _Operator, a: Any, b: Any, *, shape: tuple[int, ...] | None = None
) -> Seen | None:
    """Combine two values, tensors or numbers into one of that shape, or of the call's."""
    aligned = operands(site.builder, (a, b), site.seen, shape or site.result.shape)
    if aligned is None:
        return None
    names, layout = aligned
    full = broadcast(*map(site.builder.shape, names))
    assert full is not None
    node = Arithmetic(name="", inputs=names, shape=full, operator=operator)
    return Seen(site.builder.add(node, word=operator).name, layout)


def _negated(site: Site) -> Seen | None:
    return _combined(site, "mul", site.given["self"], -1.0) if is_float(site) else None


POINTWISE: dict[Any, Converter] = {
    **{
        getattr(_aten, function.operator): _named(name, *function.parameters)
        for name, function in FUNCTIONS.items()
        if function.operator
    },
    _aten.gelu: _gelu,
    _aten.hardtanh: partial(_clamped, low="min_val", high="max_val"),
    _aten.clamp: partial(_clamped, low="min", high="max"),
    _aten.clamp_min: partial(_clamped, low="min", high=""),
    _aten.clamp_max: partial(_clamped, low="", high="max"),
    _aten.add: partial(_arithmetic, operator="add"),
    _aten.sub: partial(_arithmetic, operator="sub"),
    _aten.rsub: partial(_arithmetic, operator="sub", is_swapped=True),
    _aten.mul: partial(_arithmetic, operator="mul"),
    _aten.div: partial(_arithmetic, operator="div"),
    _aten.maximum: partial(_arithmetic, operator="maximum"),
    _aten.minimum: partial(_arithmetic, operator="minimum"),
    _aten.neg: _negated,
    _aten.addcmul: _added_product,
}
