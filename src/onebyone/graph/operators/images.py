"""Operators that change height and width: pooling, padding, enlarging."""

from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch

from onebyone.graph.builder import NCHW, NHWC, Seen
from onebyone.graph.calls import Value
from onebyone.graph.graph import (
    Pad,
    Pool,
    Upsample,
    Window,
)
from onebyone.graph.layout import whole
from onebyone.graph.operators.site import Converter, Site, is_float, pair
from onebyone.graph.windows import (
    adaptive_windows,
    average_windows,
    global_window,
    max_windows,
    unit_windows,
)

_aten = torch.ops.aten


def _pool(
    site: Site, operator: Literal["max", "avg"], windows: tuple[tuple[Window, ...], ...]
) -> Seen:
    seen = site.value("self")
    assert seen is not None
    rows, columns = windows
    node = Pool(
        name="",
        inputs=(site.builder.native(seen),),
        shape=site.result.shape,
        operator=operator,
        rows=rows,
        columns=columns,
    )
    word = f"{operator}_pool"
    return site.builder.shown(site.builder.add(node, word=word).name, NCHW)


def _is_image(site: Site) -> bool:
    value = site.given["self"]
    return isinstance(value, Value) and len(value.shape) == 4 and value.dtype == torch.float32


def _max_pool(site: Site) -> Seen | None:
    given = site.given
    if not _is_image(site) or not site.is_single or pair(given["dilation"]) != (1, 1):
        return None
    kernel = pair(given["kernel_size"])
    stride, padding = pair(given["stride"], given["kernel_size"]), pair(given["padding"])
    windows = tuple(
        max_windows(size, kernel[i], stride[i], padding[i], ceil_mode=given["ceil_mode"])
        for i, size in enumerate(given["self"].shape[2:])
    )
    return _pool(site, "max", windows)


def _avg_pool(site: Site) -> Seen | None:
    given = site.given
    if not _is_image(site):
        return None
    kernel = pair(given["kernel_size"])
    stride, padding = pair(given["stride"], given["kernel_size"]), pair(given["padding"])
    divisor: int | None = given["divisor_override"]
    rows, columns = (
        average_windows(
            size,
            kernel[i],
            stride[i],
            padding[i],
            ceil_mode=given["ceil_mode"],
            count_padding=given["count_include_pad"],
        )
        for i, size in enumerate(given["self"].shape[2:])
    )
    if divisor is not None:
        rows = tuple(replace(window, count=divisor) for window in rows)
        columns = tuple(replace(window, count=1) for window in columns)
    return _pool(site, "avg", (rows, columns))


def _adaptive_pool(site: Site, operator: Literal["max", "avg"]) -> Seen | None:
    if not _is_image(site) or not site.is_single:
        return None
    sizes = zip(site.given["self"].shape[2:], site.result.shape[2:], strict=True)
    return _pool(site, operator, tuple(adaptive_windows(*pair) for pair in sizes))


def _reduced(site: Site, operator: Literal["max", "avg"]) -> Seen | None:
    """Convert a mean or a maximum over all rows, all columns or both."""
    seen = site.value("self")
    dims = site.given.get("dim")
    if seen is None or not dims or not is_float(site) or site.given["self"].dtype != torch.float32:
        return None
    dims = {dim % len(seen.layout) for dim in dims}
    if not site.builder.is_native(seen.node) and dims == {2, 3} and len(seen.layout) == 4:
        seen = site.builder.shown(site.builder.native(seen), NCHW)
    if not site.builder.is_native(seen.node):
        return None
    n, c, height, width = site.builder.shape(seen.node)
    rows, columns = whole(2, height), whole(3, width)
    reduced = {atom for dim in dims for atom in seen.layout[dim]}
    if not reduced <= {*rows, *columns}:
        return None
    windows = (
        global_window(height) if reduced.issuperset(rows) else unit_windows(height),
        global_window(width) if reduced.issuperset(columns) else unit_windows(width),
    )
    node = Pool(
        name="",
        inputs=(seen.node,),
        shape=(n, c, len(windows[0]), len(windows[1])),
        operator=operator,
        rows=windows[0],
        columns=windows[1],
    )
    name = site.builder.add(node, word=f"{operator}_pool").name
    kept = [() if dim in dims else group for dim, group in enumerate(seen.layout)]
    if not site.given["keepdim"]:
        kept = [group for dim, group in enumerate(kept) if dim not in dims]
    return Seen(name, tuple(kept))


def _padded(site: Site) -> Seen | None:
    seen, flat = site.value("self"), list(site.given["pad"])
    if seen is None or not _is_image(site) or min(flat) < 0:
        return None
    # PyTorch counts dimensions from the last one on, with what comes before and behind each.
    sides = {3 - i: (flat[2 * i], flat[2 * i + 1]) for i in range(len(flat) // 2)}
    padded = {dim for dim, both in sides.items() if any(both)}
    direct = [dims for dims in (NCHW, NHWC) if site.builder.is_direct(seen, dims)]
    dims = direct[0] if direct else NCHW
    if not padded <= set(dims[2:]):
        return None
    name = site.builder.native(seen, dims)
    (top, bottom), (left, right) = (sides.get(dim or 0, (0, 0)) for dim in dims[2:])
    n, c, height, width = site.builder.shape(name)
    node = Pad(
        name="",
        inputs=(name,),
        shape=(n, c, height + top + bottom, width + left + right),
        padding=(top, bottom, left, right),
        value=float(site.given["value"] or 0),
    )
    return site.builder.shown(site.builder.add(node).name, dims)


def _upsampled(site: Site, mode: Literal["nearest", "bilinear"]) -> Seen | None:
    given = site.given
    scale = given.get("scales_h"), given.get("scales_w")
    seen = site.value("self")
    if seen is None or not _is_image(site) or (None in scale and scale != (None, None)):
        return None
    node = Upsample(
        name="",
        inputs=(site.builder.native(seen),),
        shape=site.result.shape,
        mode=mode,
        align_corners=given.get("align_corners", False),
        scale=None if scale[0] is None or scale[1] is None else (float(scale[0]), float(scale[1])),
    )
    return site.builder.shown(site.builder.add(node).name, NCHW)


IMAGES: dict[Any, Converter] = {
    _aten.max_pool2d_with_indices: _max_pool,
    _aten.avg_pool2d: _avg_pool,
    _aten._adaptive_avg_pool2d: partial(_adaptive_pool, operator="avg"),
    _aten.adaptive_max_pool2d: partial(_adaptive_pool, operator="max"),
    _aten.mean: partial(_reduced, operator="avg"),
    _aten.amax: partial(_reduced, operator="max"),
    _aten.constant_pad_nd: _padded,
    _aten.upsample_nearest2d: partial(_upsampled, mode="nearest"),
    _aten.upsample_bilinear2d: partial(_upsampled, mode="bilinear"),
}
