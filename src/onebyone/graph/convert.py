"""From one operator call to nodes: a table, PyTorch's operator -> function that adds its nodes.

Such a function returns None where the operator's sizes, types or options have no node; then PyTorch
runs it (`Opaque`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from onebyone.graph.align import operands
from onebyone.graph.builder import NC, NCHW, NHWC, GraphBuilder, Seen
from onebyone.graph.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Concat,
    Convolution,
    Function,
    LayerNorm,
    Pad,
    Pool,
    Slice,
    Softmax,
    Upsample,
    Window,
)
from onebyone.graph.layout import Group, expanded, permuted, plain, regrouped, shape_of, whole
from onebyone.graph.trace import Call, Value
from onebyone.graph.windows import (
    adaptive_windows,
    average_windows,
    global_window,
    max_windows,
    unit_windows,
)

_aten = torch.ops.aten
_INFINITY = float("inf")


@dataclass(frozen=True, slots=True)
class Site:
    """One call, and all that its converter needs.

    Args:
        builder: Where nodes go.
        call: The call.
        seen: What is known of every `Value`.
        used: Those that someone reads.
        given: The call's arguments by name, defaults included.
    """

    builder: GraphBuilder
    call: Call
    seen: Mapping[Value, Seen]
    used: set[Value]
    given: Mapping[str, Any]

    def value(self, name: str) -> Seen | None:
        """Return the tensor of that name, if it depends on the inputs."""
        value = self.given.get(name)
        return self.seen[value] if isinstance(value, Value) else None

    def known(self, *names: str) -> bool:
        """Whether these arguments are real float32 tensors, or left out."""
        values = [self.given[name] for name in names]
        return all(
            v is None or (isinstance(v, Tensor) and v.dtype == torch.float32) for v in values
        )

    @property
    def result(self) -> Value:
        """The (first) tensor that comes out."""
        value = self.call.outputs[0]
        assert value is not None
        return value

    @property
    def is_single(self) -> bool:
        """Whether nobody reads more than the first result."""
        return not any(value in self.used for value in self.call.outputs[1:])


Converter = Callable[[Site], Seen | list[Seen] | None]


def convert(
    builder: GraphBuilder, call: Call, seen: Mapping[Value, Seen], used: set[Value]
) -> list[Seen | None]:
    """Add the nodes of a call, and return how each of its results is seen."""
    converter = CONVERTERS.get(call.target.overloadpacket)
    if converter is not None:
        result = converter(Site(builder, call, seen, used, _arguments(call)))
        if isinstance(result, Seen):
            return [result, *[None] * (len(call.outputs) - 1)]
        if result is not None:
            return [*result]
    return builder.call(call, seen)


def _arguments(call: Call) -> dict[str, Any]:
    """Return the arguments by name."""
    given: dict[str, Any] = {}
    for index, argument in enumerate(call.target._schema.arguments):
        if index < len(call.args):
            given[argument.name] = call.args[index]
        else:
            given[argument.name] = call.kwargs.get(argument.name, argument.default_value)
    return given


def _pair(values: list[int], default: list[int] | None = None) -> tuple[int, int]:
    """Return height and width of what PyTorch gives as `[both]` or `[height, width]`."""
    values = list(values) or list(default or ())
    return (values[0], values[-1])


# Views: no nodes at all


def _reshaped(site: Site) -> Seen | None:
    seen = site.value("self")
    if seen is None or not _keeps_type(site):
        return None
    layout = regrouped(seen.layout, site.result.shape)
    return None if layout is None else Seen(seen.node, layout)


def _same(site: Site) -> Seen | None:
    return site.value("self") if _keeps_type(site) else None


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


# Parts and wholes


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
    group = seen.layout[dim]
    if (start, stop, step) == (0, seen.shape[dim], 1):
        return seen
    if len(group) != 1 or group[0].dim < 1 or not site.builder.is_native(seen.node) or stop <= start:
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
    layout = seen.layout[:dim] + (kept,) + seen.layout[dim + 1 :]
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


# Layers with weights


def _convolution(site: Site) -> Seen | None:
    given, seen = site.given, site.value("input")
    if seen is None or given["transposed"] or not site.known("weight", "bias"):
        return None
    weight: Tensor = given["weight"]
    if weight.dim() != 4 or len(seen.layout) != 4 or not _is_float(site):
        return None
    height, width = _pair(given["padding"])
    node = Convolution(
        name="",
        inputs=(site.builder.native(seen),),
        shape=site.result.shape,
        weight=weight,
        bias=given["bias"],
        stride=_pair(given["stride"]),
        padding=(height, height, width, width),
        dilation=_pair(given["dilation"]),
        groups=given["groups"],
    )
    return site.builder.shown(site.builder.add(node).name, NCHW)


def _linear(site: Site) -> Seen | None:
    """Convert `mat1 @ mat2 + self`, as `addmm` has it."""
    given = site.given
    source = "mat1" if "mat1" in given else "self"
    seen, bias = site.value(source), given["self"] if source == "mat1" else None
    if seen is None or not site.known("mat2") or not _is_float(site):
        return None
    if given.get("alpha", 1) != 1 or given.get("beta", 1) != 1:
        return None
    weight: Tensor = given["mat2"]
    if bias is not None and not (isinstance(bias, Tensor) and bias.shape[-1:] == weight.shape[1:]):
        return None
    if bias is not None and (bias.dtype != torch.float32 or bias.numel() != weight.shape[1]):
        return None
    shown = site.builder.with_channels(seen, 1)
    if shown is None:
        return None
    n, _, h, w = site.builder.shape(shown.node)
    node = Convolution(
        name="",
        inputs=(shown.node,),
        shape=(n, weight.shape[1], h, w),
        weight=weight.t()[:, :, None, None],
        bias=None if bias is None else bias.reshape(-1),
    )
    name = site.builder.add(node, word="linear").name
    return Seen(name, (shown.layout[0], whole(1, weight.shape[1])))


def _batch_norm(site: Site) -> Seen | None:
    given, seen = site.given, site.value("input")
    names = ("weight", "bias", "running_mean", "running_var")
    if seen is None or given.get("training") or not site.known(*names) or not site.is_single:
        return None
    mean, var = given["running_mean"], given["running_var"]
    shown = site.builder.with_channels(seen, 1) if mean is not None and _is_float(site) else None
    if shown is None:
        return None
    node = BatchNorm(
        name="",
        inputs=(shown.node,),
        shape=site.builder.shape(shown.node),
        weight=torch.ones_like(var) if given["weight"] is None else given["weight"],
        bias=torch.zeros_like(mean) if given["bias"] is None else given["bias"],
        mean=mean,
        var=var,
        eps=given["eps"],
    )
    return Seen(site.builder.add(node).name, shown.layout)


def _layer_norm(site: Site) -> Seen | None:
    given, seen = site.given, site.value("input")
    is_channels = len(given["normalized_shape"]) == 1
    if seen is None or not is_channels or not site.known("weight", "bias") or not site.is_single:
        return None
    shown = site.builder.with_channels(seen, len(seen.layout) - 1) if _is_float(site) else None
    if shown is None:
        return None
    node = LayerNorm(
        name="",
        inputs=(shown.node,),
        shape=site.builder.shape(shown.node),
        weight=given["weight"],
        bias=given["bias"],
        eps=given["eps"],
    )
    return Seen(site.builder.add(node).name, shown.layout)


def _softmax(site: Site) -> Seen | None:
    seen = site.value("self")
    if seen is None or not _is_float(site) or site.given["half_to_float"] or not seen.layout:
        return None
    dim = site.given["dim"] % len(seen.layout)
    shape = site.builder.shape(seen.node)
    is_channels = site.builder.is_native(seen.node) and seen.layout[dim] == whole(1, shape[1])
    # Of PyTorch's own values only scores (N, C) are worth a view: attention is over other dimensions.
    shown = site.builder.with_channels(seen, dim) if is_channels or len(shape) == 2 else None
    if shown is None:
        return None
    node = Softmax(name="", inputs=(shown.node,), shape=site.builder.shape(shown.node))
    return Seen(site.builder.add(node).name, shown.layout)


# Functions of numbers


def _is_float(site: Site) -> bool:
    return site.result.dtype == torch.float32


def _activated(site: Site, function: Function) -> Seen | None:
    seen = site.value("self")
    shown = _any_native(site.builder, seen) if seen is not None and _is_float(site) else None
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
    """Return the converter of an activation function, whose parameters are arguments of these names."""

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


_Operator = Literal["add", "sub", "mul", "div", "maximum", "minimum"]


def _arithmetic(site: Site, operator: _Operator, *, is_swapped: bool = False) -> Seen | None:
    first, second = site.given["self"], site.given["other"]
    if not _is_float(site) or site.given.get("rounding_mode") is not None:
        return None
    if is_swapped:
        first, second = second, first
    alpha = site.given.get("alpha", 1)
    if alpha != 1:
        second = _combined(site, "mul", second, alpha) if isinstance(second, Value) else second * alpha
    if second is None:
        return None
    return _combined(site, operator, first, second)


def _combined(site: Site, operator: _Operator, a: Any, b: Any) -> Seen | None:
    aligned = operands(site.builder, (a, b), site.seen, site.result.shape)
    if aligned is None:
        return None
    names, layout = aligned
    shape = torch.broadcast_shapes(*map(site.builder.shape, names))
    node = Arithmetic(name="", inputs=names, shape=tuple(shape), operator=operator)
    return Seen(site.builder.add(node, word=operator).name, layout)


def _negated(site: Site) -> Seen | None:
    return _combined(site, "mul", site.given["self"], -1.0) if _is_float(site) else None


# Windows


def _pool(site: Site, operator: Literal["max", "avg"], windows: tuple[tuple[Window, ...], ...]) -> Seen:
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
    if not _is_image(site) or not site.is_single or _pair(given["dilation"]) != (1, 1):
        return None
    kernel = _pair(given["kernel_size"])
    stride, padding = _pair(given["stride"], given["kernel_size"]), _pair(given["padding"])
    windows = tuple(
        max_windows(size, kernel[i], stride[i], padding[i], ceil_mode=given["ceil_mode"])
        for i, size in enumerate(given["self"].shape[2:])
    )
    return _pool(site, "max", windows)


def _avg_pool(site: Site) -> Seen | None:
    given = site.given
    if not _is_image(site):
        return None
    kernel = _pair(given["kernel_size"])
    stride, padding = _pair(given["stride"], given["kernel_size"]), _pair(given["padding"])
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
    if seen is None or not dims or not _is_float(site) or site.given["self"].dtype != torch.float32:
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
    pad = list(site.given["pad"])
    if not _is_image(site) or any(pad[4:]) or min(pad) < 0:
        return None
    left, right, top, bottom = (pad + [0, 0])[:4]
    seen = site.value("self")
    assert seen is not None
    node = Pad(
        name="",
        inputs=(site.builder.native(seen),),
        shape=site.result.shape,
        padding=(top, bottom, left, right),
        value=float(site.given["value"] or 0),
    )
    return site.builder.shown(site.builder.add(node).name, NCHW)


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
        scale=None if None in scale else (float(scale[0]), float(scale[1])),
    )
    return site.builder.shown(site.builder.add(node).name, NCHW)


CONVERTERS: dict[Any, Converter] = {
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
    _aten.permute: _permuted,
    _aten.transpose: _transposed,
    _aten.t: _transposed,
    _aten.expand: _expanded,
    _aten.copy: _copied,
    _aten.channel_shuffle: _channel_shuffled,
    _aten.slice: _sliced,
    _aten.select: _selected,
    _aten.unbind: _unbound,
    _aten.split: _split,
    _aten.split_with_sizes: _split,
    _aten.cat: _concatenated,
    _aten.convolution: _convolution,
    _aten.addmm: _linear,
    _aten.mm: _linear,
    _aten.native_batch_norm: _batch_norm,
    _aten._native_batch_norm_legit_no_training: _batch_norm,
    _aten.native_layer_norm: _layer_norm,
    _aten._softmax: _softmax,
    _aten.relu: _named("relu"),
    _aten.relu6: _named("relu6"),
    _aten.silu: _named("silu"),
    _aten.hardswish: _named("hardswish"),
    _aten.hardsigmoid: _named("hardsigmoid"),
    _aten.sigmoid: _named("sigmoid"),
    _aten.tanh: _named("tanh"),
    _aten.leaky_relu: _named("leaky_relu", "negative_slope"),
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
