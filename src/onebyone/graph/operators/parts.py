"""Operators that take a tensor apart, or put tensors together."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from onebyone.graph.builder import NC, NCHW, NHWC, Seen
from onebyone.graph.calls import Value
from onebyone.graph.graph import (
    Concat,
    Slice,
)
from onebyone.graph.layout import Group, whole
from onebyone.graph.operators.site import Converter, Site

_aten = torch.ops.aten


def _sliced(site: Site) -> Seen | None:
    seen = site.value("self")
    if seen is None:
        return None
    dim = site.given["dim"] % len(seen.layout)
    size = seen.shape[dim]
    start, stop, _ = slice(site.given["start"], site.given["end"]).indices(size)
    return _part(site, seen, dim, (start, stop, site.given["step"]))


def _selected(site: Site) -> Seen | None:
    seen = site.value("self")
    if seen is None:
        return None
    dim = site.given["dim"] % len(seen.layout)
    index = site.given["index"] % seen.shape[dim]
    part = _part(site, seen, dim, (index, index + 1, 1))
    return None if part is None else _dropped(part, dim)


def _unbound(site: Site) -> list[Seen] | None:
    seen = site.value("self")
    if seen is None:
        return None
    dim = site.given["dim"] % len(seen.layout)
    parts = [_part(site, seen, dim, (i, i + 1, 1)) for i in range(seen.shape[dim])]
    return None if None in parts else [_dropped(part, dim) for part in parts if part is not None]


def _split(site: Site) -> list[Seen] | None:
    seen = site.value("self")
    if seen is None:
        return None
    dim = site.given["dim"] % len(seen.layout)
    parts: list[Seen] = []
    start = 0
    for value in site.call.outputs:
        assert value is not None
        part = _part(site, seen, dim, (start, start + value.shape[dim], 1))
        if part is None:
            return None
        parts.append(part)
        start += value.shape[dim]
    return parts


def _dropped(seen: Seen, dim: int) -> Seen:
    return Seen(seen.node, seen.layout[:dim] + seen.layout[dim + 1 :])


def _part(site: Site, seen: Seen, dim: int, indices: tuple[int, int, int]) -> Seen | None:
    """Take indices `start .. stop - 1` by `step` along a dimension of a tensor.

    It can be done where that dimension is one of the node's channels, rows or columns, or the
    outermost factor of one: the first of three equal parts of the channels, for example.
    """
    start, stop, step = indices
    if (start, stop, step) == (0, seen.shape[dim], 1):
        return seen
    seen = site.builder.settled(seen)
    group = seen.layout[dim]
    if (
        len(group) != 1
        or group[0].dim < 1
        or not site.builder.is_native(seen.node)
        or stop <= start
    ):
        return None
    (atom,) = group
    shape = list(site.builder.shape(seen.node))
    is_outermost = atom.stride * atom.size == shape[atom.dim]
    if not is_outermost or (step > 1 and atom.stride > 1):
        return None
    count = -(-(stop - start) // step)
    shape[atom.dim] = count * atom.stride
    node = Slice(
        name="",
        inputs=(seen.node,),
        shape=tuple(shape),
        dim=atom.dim,  # pyright: ignore[reportArgumentType]
        start=start * atom.stride,
        stop=stop * atom.stride,
        step=step,
    )
    kept: Group = (replace(atom, size=count),) if count > 1 else ()
    layout = (*seen.layout[:dim], kept, *seen.layout[dim + 1 :])
    return Seen(site.builder.add(node).name, layout)


def _concatenated(site: Site) -> Seen | None:
    tensors: list[Value | Tensor] = site.given["tensors"]
    rank = len(site.result.shape)
    dim = site.given["dim"] % rank
    if site.result.dtype != torch.float32 or any(t.dtype != torch.float32 for t in tensors):
        return None
    alike = _channels_alike(site, tensors, dim)
    if alike is not None:
        names, (first, *_) = [seen.node for seen in alike], alike
        layout = list(first.layout)
    else:
        dims = {(4, 1): NCHW, (4, 3): NHWC, (2, 1): NC}.get((rank, dim))
        if dims is None:
            return None
        names = []
        for tensor in tensors:
            if isinstance(tensor, Value):
                names.append(site.builder.native(site.seen[tensor], dims))
            else:
                shown = tensor if rank == 4 else tensor[:, :, None, None]
                order = [d for d in dims if d is not None] if rank == 4 else range(4)
                names.append(site.builder.constant(shown.permute(*order)))
        layout = list(site.builder.shown(names[0], dims).layout)
    shapes = [site.builder.shape(name) for name in names]
    channels = sum(shape[1] for shape in shapes)
    n, _, h, w = shapes[0]
    node = site.builder.add(Concat(name="", inputs=tuple(names), shape=(n, channels, h, w)))
    layout[dim] = whole(1, channels)
    return Seen(node.name, tuple(layout))


def _channels_alike(site: Site, tensors: list[Value | Tensor], dim: int) -> list[Seen] | None:
    """Return the tensors if they differ only in channels, which are their dimension `dim`."""
    found: list[Seen] = []
    for tensor in tensors:
        if not isinstance(tensor, Value):
            return None
        seen = site.seen[tensor]
        if not site.builder.is_native(seen.node) or len(tensor.shape) <= dim:
            return None
        n, c, h, w = site.builder.shape(seen.node)
        if seen.layout[dim] != whole(1, c):
            return None
        found.append(seen)
        first = found[0]
        wanted = site.builder.shape(first.node)
        same_pixels = (n, h, w) == (wanted[0], *wanted[2:])
        if not same_pixels or _dropped(seen, dim).layout != _dropped(first, dim).layout:
            return None
    return found


PARTS: dict[Any, Converter] = {
    _aten.slice: _sliced,
    _aten.select: _selected,
    _aten.unbind: _unbound,
    _aten.split: _split,
    _aten.split_with_sizes: _split,
    _aten.cat: _concatenated,
}
