"""Operators that move no numbers: they change a layout, and add no nodes."""

from typing import Any

import torch

from onebyone.graph.builder import Seen
from onebyone.graph.calls import Value
from onebyone.graph.layout import expanded, permuted, regrouped
from onebyone.graph.operators.site import Converter, Site

_aten = torch.ops.aten


def _reshaped(site: Site) -> Seen | None:
    seen = site.value("self")
    if seen is None or not _keeps_type(site):
        return None
    layout = regrouped(seen.layout, site.result.shape)
    return None if layout is None else Seen(seen.node, layout)


def _same(site: Site) -> Seen | None:
    return site.value("self") if _keeps_type(site) else None


def _restrided(site: Site) -> Seen | None:
    """What the user's model calls moves nothing; the trace itself reads parts of a line with it."""
    return _same(site) if len(site.given["self"].shape) == len(site.given["size"]) != 1 else None


def _keeps_type(site: Site) -> bool:
    source = site.given["self"]
    return isinstance(source, Value) and source.dtype == site.result.dtype


def _permuted(site: Site) -> Seen | None:
    seen = site.value("self")
    if seen is None:
        return None
    rank = len(seen.layout)
    return Seen(seen.node, permuted(seen.layout, [dim % rank for dim in site.given["dims"]]))


def _transposed(site: Site) -> Seen | None:
    seen = site.value("self")
    if seen is None:
        return None
    order = list(range(len(seen.layout)))
    if len(order) > 1:
        first, second = site.given.get("dim0", 0), site.given.get("dim1", 1)
        order[first], order[second] = order[second], order[first]
    return Seen(seen.node, permuted(seen.layout, order))


def _expanded(site: Site) -> Seen | None:
    seen = site.value("self")
    return None if seen is None else Seen(seen.node, expanded(seen.layout, site.result.shape))


def _copied(site: Site) -> Seen | None:
    """What `a.copy_(b)` leaves in `a`."""
    source = site.given["src"]
    if not isinstance(source, Value) or source.dtype != site.result.dtype:
        return None
    seen = site.seen[source]
    return Seen(seen.node, expanded(seen.layout, site.result.shape))


def _channel_shuffled(site: Site) -> Seen | None:
    seen, groups = site.value("self"), site.given["groups"]
    if seen is None or len(seen.layout) != 4:
        return None
    n, c, h, w = seen.shape
    split = regrouped(seen.layout, (n, groups, c // groups, h, w))
    if split is None:
        return None
    dealt = regrouped(permuted(split, (0, 2, 1, 3, 4)), (n, c, h, w))
    return None if dealt is None else Seen(seen.node, dealt)


VIEWS: dict[Any, Converter] = {
    _aten.view: _reshaped,
    _aten._unsafe_view: _reshaped,
    _aten.reshape: _reshaped,
    _aten.unsqueeze: _reshaped,
    _aten.squeeze: _reshaped,
    _aten.clone: _same,
    _aten.contiguous: _same,
    _aten.alias: _same,
    _aten.detach: _same,
    _aten.lift_fresh: _same,
    _aten._to_copy: _same,
    _aten.as_strided: _restrided,
    _aten.permute: _permuted,
    _aten.transpose: _transposed,
    _aten.t: _transposed,
    _aten.expand: _expanded,
    _aten.copy: _copied,
    _aten.channel_shuffle: _channel_shuffled,
}
