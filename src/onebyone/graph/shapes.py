"""Shapes of frequent operators' results, without PyTorch's own rules for them.

PyTorch has such rules for every operator, in Python, and the first use of one imports most of its
compiler: a second or more. Networks made only of the operators below never pay for it. A rule here
answers for the plain case and leaves any other, and every error, to PyTorch's.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from onebyone.graph.functions import FUNCTIONS
from onebyone.graph.windows import output_size

_aten = torch.ops.aten


def quick_result(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what an operator gives on the meta device, or None if that is for PyTorch to say."""
    rule = RULES.get(func)
    if rule is None or kwargs.keys() - {"alpha", "approximate"}:
        return None
    tensors = [leaf for leaf in args if isinstance(leaf, Tensor)]
    if any(tensor.dtype != torch.float32 for tensor in tensors):
        return None
    return rule(*args)


def _empty(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device="meta")


def _like(tensor: Tensor) -> Tensor:
    """Give a tensor of the same shape and memory order (`torch.empty_like` would import sympy)."""
    strides = tensor.stride()
    if tensor.is_contiguous() or 0 in strides:
        return _empty(*tensor.shape)
    dense, step = list(strides), 1
    for dim in sorted(range(tensor.dim()), key=lambda dim: (strides[dim], -dim)):
        dense[dim] = step
        step *= tensor.shape[dim]
    return torch.empty_strided(tensor.shape, dense, dtype=torch.float32, device="meta")


def _pointwise(*operands: Any) -> Tensor | None:
    """Give the operands' common shape, in the memory order of one that has it."""
    tensors = [operand for operand in operands if isinstance(operand, Tensor)]
    shape = broadcast(*(tuple(tensor.shape) for tensor in tensors))
    if shape is None:
        return None
    for tensor in tensors:
        if tensor.shape == shape:
            return _like(tensor)
    return _empty(*shape)


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the shape of what combines tensors of these shapes; None if they don't fit.

    Example:
        >>> broadcast((2, 8, 5, 5), (8, 1, 1)), broadcast((2,), (3,))
        ((2, 8, 5, 5), None)
    """
    rank = max(map(len, shapes))
    sizes: list[int] = []
    for column in zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True):
        wanted = {*column} - {1} or {1}
        if len(wanted) > 1:
            return None
        sizes.append(*wanted)
    return tuple(sizes)


def _in_place(target: Tensor, *operands: Any) -> Tensor | None:
    result = _pointwise(target, *operands)
    return target if result is not None and result.shape == target.shape else None


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    _output_padding: Sequence[int],
    groups: int,
) -> Tensor | None:
    fits = x.dim() == weight.dim() == 4 and x.shape[1] == weight.shape[1] * groups
    if transposed or not fits or weight.shape[0] % groups or min(*stride, *dilation) < 1:
        return None
    if bias is not None and bias.shape != weight.shape[:1]:
        return None
    pixels = [
        (x.shape[2 + i] + 2 * padding[i] - dilation[i] * (weight.shape[2 + i] - 1) - 1) // stride[i]
        + 1
        for i in (0, 1)
        if len(stride) == len(padding) == len(dilation) == 2
    ]
    return _empty(x.shape[0], weight.shape[0], *pixels) if pixels and min(pixels) > 0 else None


def _batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    var: Tensor | None,
    training: bool,
    *_: float,
) -> tuple[Tensor, ...] | None:
    if training or x.dim() < 2 or mean is None or var is None:
        return None
    channels = x.shape[1:2]
    fits = all(t is None or t.shape == channels for t in (weight, bias, mean, var))
    return (_like(x), _empty(*channels), _empty(*channels)) if fits else None


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, _eps: float
) -> tuple[Tensor, ...] | None:
    if len(shape) != 1 or list(x.shape[-1:]) != list(shape):
        return None
    if any(t is not None and list(t.shape) != list(shape) for t in (weight, bias)):
        return None
    statistics = (*x.shape[:-1], 1)
    return _empty(*x.shape), _empty(*statistics), _empty(*statistics)


def _mm(x: Tensor, y: Tensor) -> Tensor | None:
    if x.dim() != 2 or y.dim() != 2 or x.shape[1] != y.shape[0]:
        return None
    return _empty(x.shape[0], y.shape[1])


def _addmm(bias: Tensor, x: Tensor, y: Tensor) -> Tensor | None:
    result = _mm(x, y)
    return result if result is not None and bias.shape == result.shape[1:] else None


def _softmax(x: Tensor, dim: int, half_to_float: bool) -> Tensor | None:
    return None if half_to_float or not -x.dim() <= dim < x.dim() else _empty(*x.shape)


def _reduced(x: Tensor, dims: Sequence[int] | None = None, keepdim: bool = False) -> Tensor | None:
    rank = x.dim()
    if not dims or not all(-rank <= dim < rank for dim in dims) or 0 in x.shape:
        return None
    reduced = {dim % rank for dim in dims}
    if len(reduced) < len(dims):
        return None
    sizes = [1 if i in reduced else size for i, size in enumerate(x.shape)]
    return _empty(*(size for i, size in enumerate(sizes) if keepdim or i not in reduced))


def _pooled(x: Tensor, kernel: Any, stride: Any, padding: Any, *, ceil_mode: bool) -> Tensor | None:
    """Give the shape of what pooling gives; its settings are `[both]` or `[height, width]`."""
    kernel, padding = list(kernel), list(padding)
    stride = list(stride) or kernel
    pads = all(0 <= 2 * p <= k for p, k in ((padding[0], kernel[0]), (padding[-1], kernel[-1])))
    if x.dim() != 4 or not pads or min(*kernel, *stride) < 1:
        return None
    pixels = [
        output_size(x.shape[2 + i], kernel[-i], stride[-i], padding[-i], ceil_mode=ceil_mode)
        for i in (0, 1)
    ]
    return _empty(*x.shape[:2], *pixels) if min(pixels) > 0 else None


def _max_pool(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor] | None:
    result = _pooled(x, kernel, stride, padding, ceil_mode=ceil_mode)
    if result is None or {*dilation} != {1}:
        return None
    return result, torch.empty(result.shape, dtype=torch.int64, device="meta")


def _avg_pool(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    *_: Any,
) -> Tensor | None:
    return _pooled(x, kernel, stride, padding, ceil_mode=ceil_mode)


def _resized(x: Tensor, size: Sequence[int] | None, *_: Any) -> Tensor | None:
    if size is None or x.dim() != 4 or len(size) != 2 or min(*size, *x.shape) < 1:
        return None
    return _empty(*x.shape[:2], *size)


def _concatenated(tensors: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    rank = tensors[0].dim()
    if not -rank <= dim < rank or any(t.dtype != torch.float32 or t.dim() != rank for t in tensors):
        return None
    dim %= rank
    others = {(*t.shape[:dim], *t.shape[dim + 1 :]) for t in tensors}
    if len(others) > 1:
        return None
    shape = list(tensors[0].shape)
    shape[dim] = sum(tensor.shape[dim] for tensor in tensors)
    return _empty(*shape)


_UNARY = (
    *(function.operator for function in FUNCTIONS.values() if function.operator),
    *("gelu", "hardtanh", "clamp", "clamp_min", "clamp_max", "neg"),
)
"""Operators of one tensor, and of numbers."""

_BINARY = ("add", "sub", "mul", "div")


def _overload(name: str, overload: str) -> OpOverload | None:
    return getattr(getattr(_aten, name, None), overload, None)


RULES: dict[OpOverload | None, Callable[..., Any]] = {
    **{_overload(name, "default"): _pointwise for name in _UNARY},
    **{_overload(f"{name}_", "default"): _in_place for name in _UNARY},
    **{_overload(name, "Tensor"): _pointwise for name in _BINARY},
    **{_overload(f"{name}_", "Tensor"): _in_place for name in _BINARY},
    _aten.rsub.Scalar: _pointwise,
    _aten.maximum.default: _pointwise,
    _aten.minimum.default: _pointwise,
    _aten.convolution.default: _convolution,
    _aten.native_batch_norm.default: _batch_norm,
    _aten.native_layer_norm.default: _layer_norm,
    _aten.mm.default: _mm,
    _aten.addmm.default: _addmm,
    _aten._softmax.default: _softmax,
    _aten.mean.dim: _reduced,
    _aten.amax.default: _reduced,
    _aten.max_pool2d_with_indices.default: _max_pool,
    _aten.avg_pool2d.default: _avg_pool,
    _aten._adaptive_avg_pool2d.default: _resized,
    _aten.upsample_nearest2d.default: _resized,
    _aten.upsample_bilinear2d.default: _resized,
    _aten.cat.default: _concatenated,
}
RULES.pop(None, None)
