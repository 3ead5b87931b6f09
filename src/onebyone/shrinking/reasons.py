"""Why a layer must stay as it is, in a few words for people."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.modules.conv import (
    _ConvNd,  # pyright: ignore[reportPrivateUsage]
    _ConvTransposeNd,  # pyright: ignore[reportPrivateUsage]
)
from torch.nn.utils.parametrize import is_parametrized

from onebyone.shrinking.calls import Use
from onebyone.shrinking.layers import Layers, weight_of

Why = str | None
"""A few words that say why not; None where nothing is in the way."""

_DTYPES = (torch.float32, torch.float64)


def why_other_kind(module: nn.Module) -> Why:
    """Say what a layer is, if it is no 2-d convolution of all channels."""
    if not isinstance(module, _ConvNd):
        return "linear layer"
    if isinstance(module, _ConvTransposeNd):
        return "transposed convolution"
    if not isinstance(module, nn.Conv2d):
        return f"{len(module.kernel_size)}-d convolution"
    if module.groups == 1:
        return None
    is_depthwise = module.groups == module.in_channels
    return "depthwise convolution" if is_depthwise else f"convolution of {module.groups} groups"


def why_fixed(layers: Layers, path: str) -> Why:
    """Say why nothing else may take a layer's place, whatever the layer computes."""
    return next(filter(None, (reason(layers, path) for reason in _FIXED)), None)


def _why_whole(layers: Layers, path: str) -> Why:  # noqa: ARG001
    return None if path else "the network is nothing else"


def _why_kept(layers: Layers, path: str) -> Why:
    return "named in `keep`" if layers.is_kept(path) else None


def _why_shared(layers: Layers, path: str) -> Why:
    others = layers.other_names(path)
    return f"the same layer as {others[0]}" if others else None


def _why_computed(layers: Layers, path: str) -> Why:
    """Weights that are made of others, by a parametrisation or by hooks as weight norm had them."""
    module = layers[path]
    if is_parametrized(module):
        return "its weight is parametrised"
    is_held = "weight" in module._parameters  # pyright: ignore[reportPrivateUsage]
    return None if is_held else "its weight is computed from others"


def _why_hooked(layers: Layers, path: str) -> Why:
    return "has a hook, which would be lost" if path in layers.hooked else None


def _why_tied(layers: Layers, path: str) -> Why:
    others = layers.other_holders(path)
    return f"shares its weight with {others[0]}" if others else None


_FIXED: tuple[Callable[[Layers, str], Why], ...] = (
    _why_whole,
    _why_kept,
    _why_shared,
    _why_computed,
    _why_hooked,
    _why_tied,
)


def why_derived(module: nn.Conv2d) -> Why:
    """Say why a convolution may compute something else than `nn.Conv2d` does."""
    methods = ("forward", "_conv_forward", "__call__")
    is_plain = all(getattr(type(module), one) is getattr(nn.Conv2d, one) for one in methods)
    if is_plain and not {*methods} & {*vars(module)}:
        return None
    return f"{type(module).__name__} computes in its own way"


def why_special(module: nn.Conv2d) -> Why:
    """Say why a convolution has settings that another in its place would not have."""
    if module.padding_mode != "zeros":
        return f"pads by {module.padding_mode!r}, not with zeros"
    if isinstance(module.padding, str):
        return f"pads by a word, {module.padding!r}"
    dtype = weight_of(module).dtype
    return None if dtype in _DTYPES else f"its weight is {str(dtype).removeprefix('torch.')}"


def why_bound(use: Use, *, runs: bool) -> Why:
    """Say why nothing else may take a layer's place after what the network does with it.

    Args:
        use: What it does.
        runs: Whether the layer has a part in what comes out.
    """
    if use.asked:
        return f"the network asks for its `{use.asked[0]}`"
    if not use.shapes:
        return "the network calls it by another way than its name" if runs else "does not run"
    return f"runs {len(use.shapes)} times" if len(use.shapes) > 1 else None
