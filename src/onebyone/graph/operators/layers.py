"""Layers that look at channels: convolutions, linear layers, norms, softmax."""

from typing import Any

import torch
from torch import Tensor

from onebyone.graph.builder import NCHW, Seen
from onebyone.graph.graph import (
    BatchNorm,
    Convolution,
    LayerNorm,
    Softmax,
)
from onebyone.graph.layout import whole
from onebyone.graph.operators.site import Converter, Site, is_float, pair

_aten = torch.ops.aten


def _convolution(site: Site) -> Seen | None:
    given, seen = site.given, site.value("input")
    if seen is None or given["transposed"] or not site.known("weight", "bias"):
        return None
    weight: Tensor = given["weight"]
    if weight.dim() != 4 or len(seen.layout) != 4 or not is_float(site):
        return None
    height, width = pair(given["padding"])
    node = Convolution(
        name="",
        inputs=(site.builder.native(seen),),
        shape=site.result.shape,
        weight=weight,
        bias=given["bias"],
        stride=pair(given["stride"]),
        padding=(height, height, width, width),
        dilation=pair(given["dilation"]),
        groups=given["groups"],
    )
    return site.builder.shown(site.builder.add(node).name, NCHW)


def _linear(site: Site) -> Seen | None:
    """Convert `mat1 @ mat2 + self`, as `addmm` has it."""
    given = site.given
    source = "mat1" if "mat1" in given else "self"
    seen, bias = site.value(source), given["self"] if source == "mat1" else None
    if seen is None or not site.known("mat2") or not is_float(site):
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
        is_linear=True,
    )
    name = site.builder.add(node, word="linear").name
    return Seen(name, (shown.layout[0], whole(1, weight.shape[1])))


def _batch_norm(site: Site) -> Seen | None:
    given, seen = site.given, site.value("input")
    names = ("weight", "bias", "running_mean", "running_var")
    if seen is None or given.get("training") or not site.known(*names) or not site.is_single:
        return None
    mean: Tensor | None = given["running_mean"]
    var: Tensor | None = given["running_var"]
    if mean is None or var is None:
        return None  # statistics of the batch: batch norm without running ones
    shown = site.builder.with_channels(seen, 1) if is_float(site) else None
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
    shown = site.builder.with_channels(seen, len(seen.layout) - 1) if is_float(site) else None
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
    if seen is None or not is_float(site) or site.given["half_to_float"] or not seen.layout:
        return None
    dim = site.given["dim"] % len(seen.layout)
    shape = site.builder.shape(seen.node)
    is_channels = site.builder.is_native(seen.node) and seen.layout[dim] == whole(1, shape[1])
    # Of PyTorch's own values only scores (N, C) are worth a view: attention has other dimensions.
    shown = site.builder.with_channels(seen, dim) if is_channels or len(shape) == 2 else None
    if shown is None:
        return None
    node = Softmax(name="", inputs=(shown.node,), shape=site.builder.shape(shown.node))
    return Seen(site.builder.add(node).name, shown.layout)


LAYERS: dict[Any, Converter] = {
    _aten.convolution: _convolution,
    _aten.addmm: _linear,
    _aten.mm: _linear,
    _aten.native_batch_norm: _batch_norm,
    _aten._native_batch_norm_legit_no_training: _batch_norm,
    _aten.native_layer_norm: _layer_norm,
    _aten._softmax: _softmax,
}
