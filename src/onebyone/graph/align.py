"""Bringing the operands of an arithmetic operator into one arrangement."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from onebyone.graph.builder import NC, NCHW, NHWC, Dims, GraphBuilder, Seen
from onebyone.graph.calls import Value
from onebyone.graph.graph import Shape
from onebyone.graph.layout import Atom, Layout, has_repeats, in_order, shape_of, without_repeats
from onebyone.graph.shapes import broadcast

Operand = Seen | Tensor


def operands(
    builder: GraphBuilder, pair: tuple[Any, Any], seen: Mapping[Value, Seen], shape: Shape
) -> tuple[tuple[str, str], Layout] | None:
    """Return the nodes that an arithmetic operator reads, and the layout of what it gives.

    Args:
        builder: Where constants and views go.
        pair: What PyTorch's operator was given: values, real tensors and numbers.
        seen: What is known of the values.
        shape: Of the operator's result.

    Returns:
        None if no such nodes can be had.
    """
    both = tuple(_operand(one, seen, len(shape)) for one in pair)
    for one in both:
        if not isinstance(one, Seen) or one.shape != shape or has_repeats(one.layout):
            continue
        if builder.is_native(one.node):
            names = [_like(builder, other, one) for other in both]
            if None not in names:
                return (str(names[0]), str(names[1])), one.layout
    candidates: dict[int, tuple[Dims, ...]] = {4: (NCHW, NHWC), 2: (NC,)}
    for dims in candidates.get(len(shape), ()):
        if any(isinstance(one, Seen) and builder.is_direct(one, dims) for one in both):
            break
    else:
        return None
    if not all(isinstance(one, Tensor) or builder.can_view(one) for one in both):
        return None
    first, second = (_arranged(builder, one, dims) for one in both)
    both_shapes = broadcast(builder.shape(first), builder.shape(second))
    assert both_shapes is not None
    layout = builder.layout(both_shapes, dims)
    # Where both operands repeat the same numbers, nothing is left to say how often.
    return ((first, second), layout) if shape_of(layout) == shape else None


def _operand(one: Any, seen: Mapping[Value, Seen], rank: int) -> Operand:
    """Return an operand with the result's number of dimensions, nothing repeated."""
    if isinstance(one, Value):
        one = seen[one]
    if isinstance(one, Seen):
        layout = without_repeats(one.layout)
        return Seen(one.node, ((),) * (rank - len(layout)) + layout)
    tensor = one if isinstance(one, Tensor) else torch.tensor(one, dtype=torch.float32)
    return tensor.reshape((1,) * (rank - tensor.dim()) + tuple(tensor.shape))


def _like(builder: GraphBuilder, operand: Operand, like: Seen) -> str | None:
    """Return a node that shows an operand in the arrangement of another's node, if there is one."""
    shape = builder.shape(like.node)
    if isinstance(operand, Tensor):
        return builder.constant(_spread(operand, like.layout, shape))
    if not builder.is_native(operand.node):
        return None
    sizes = zip(builder.shape(operand.node), shape, strict=True)
    fits = all(size in (1, full) for size, full in sizes)
    groups = zip(operand.layout, like.layout, strict=True)
    return operand.node if fits and all(a in ((), b) for a, b in groups) else None


def _spread(tensor: Tensor, layout: Layout, shape: Shape) -> Tensor:
    """Return a constant as `(N or 1, C or 1, H or 1, W or 1)` of the node that a layout shows."""
    every = [atom for group in layout for atom in group]
    varies = {
        atom: size > 1 for group, size in zip(layout, tensor.shape, strict=True) for atom in group
    }
    split = tensor.reshape([atom.size if varies[atom] else 1 for atom in every])
    atoms = in_order(layout)
    split = split.permute([every.index(atom) for atom in atoms])
    whole_dims = {atom.dim for atom in atoms if varies[atom]}
    split = split.expand([_size(atom, whole_dims, varies) for atom in atoms])
    return split.reshape([shape[dim] if dim in whole_dims else 1 for dim in range(len(shape))])


def _size(atom: Atom, whole_dims: set[int], varies: Mapping[Atom, bool]) -> int:
    return atom.size if varies[atom] or atom.dim in whole_dims else 1


def _arranged(builder: GraphBuilder, operand: Operand, dims: Dims) -> str:
    """Return a node that shows an operand with these dimensions as N, C, H and W."""
    if isinstance(operand, Seen):
        return builder.native(operand, dims)
    if dims is NC:
        return builder.constant(operand[:, :, None, None])
    return builder.constant(operand.permute([dim for dim in dims if dim is not None]))
