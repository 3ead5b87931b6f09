"""Exact merges of linear layers: what has no activation in between is one layer.

Every function returns a new layer and leaves its arguments alone.
"""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from onebyone.errors import ShapeError
from onebyone.nn.pointwise import PointwiseConv2d


def fold_batch_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """Fold the batch norm behind a convolution into the convolution.

    Rewrite:  norm(conv(x))  -->  conv'(x), with weight W g / s and bias (b - mean) g / s + beta,
              where s = sqrt(variance + eps)
    Cost:     one multiply-add less for each output number; `conv'` always has a bias

    Exact for inference, where the norm uses its stored statistics; hence both layers must be in
    evaluation mode.

    Raises:
        ShapeError: If the channel counts differ, a layer is in training mode, or the norm keeps no
            statistics.
    """
    if norm.num_features != conv.out_channels:
        raise ShapeError(
            f"`norm.num_features` (={norm.num_features}) must be the convolution's "
            f"`out_channels` (={conv.out_channels})"
        )
    if norm.running_mean is None:
        raise ShapeError("`norm` keeps no statistics (track_running_stats=False): nothing to fold")
    if conv.training or norm.training:
        raise ShapeError("`conv` and `norm` must be in evaluation mode; call .eval() first")
    folded = fuse_conv_bn_eval(conv, norm)
    if folded.bias is not None:  # PyTorch leaves the bias of a layer that had none fixed
        folded.bias.requires_grad_(conv.weight.requires_grad)
    return folded


@torch.no_grad()
def fold_pointwise(first: nn.Conv2d, second: nn.Conv2d) -> PointwiseConv2d:
    """Merge two 1x1 convolutions that have no activation between them into one.

    Rewrite:  conv(K -> R) ; conv(R -> N)  -->  conv(K -> N), with weight W2 W1, bias W2 b1 + b2
    Cost:     macs per pixel R (K + N)  -->  K N; cheaper exactly if R > K N / (K + N)

    This is why a 1x1 adds no non-linearity of its own.

    Raises:
        ShapeError: If a convolution is not 1x1 without padding and groups, or widths do not meet.
    """
    for name, conv in (("first", first), ("second", second)):
        if conv.kernel_size != (1, 1) or conv.padding not in ((0, 0), "valid", "same"):
            raise ShapeError(f"`{name}` ({conv}) must be a 1x1 convolution without padding")
        if conv.groups != 1:
            raise ShapeError(f"`{name}.groups` (={conv.groups}) must be 1")
        if conv.stride[0] != conv.stride[1]:
            raise ShapeError(
                f"`{name}.stride` (={conv.stride}) must be the same in both directions"
            )
    if first.out_channels != second.in_channels:
        raise ShapeError(
            f"`first.out_channels` (={first.out_channels}) must be "
            f"`second.in_channels` (={second.in_channels})"
        )
    folded = PointwiseConv2d(
        first.in_channels,
        second.out_channels,
        stride=first.stride[0] * second.stride[0],
        bias=first.bias is not None or second.bias is not None,
    ).to(first.weight)
    outer = second.weight.flatten(1)
    folded.matrix.copy_(outer @ first.weight.flatten(1))
    if folded.bias is not None:
        folded.bias.zero_()
        if first.bias is not None:
            folded.bias.add_(outer @ first.bias)
        if second.bias is not None:
            folded.bias.add_(second.bias)
    return folded.train(first.training)


@torch.no_grad()
def fold_into_conv(conv: nn.Conv2d, pointwise: nn.Conv2d) -> nn.Conv2d:
    """Fold the 1x1 behind a convolution, with no activation between them, into the convolution.

    Rewrite:  conv(K -> R, k x k) ; 1x1(R -> N)  -->  conv(K -> N, k x k),
              with weight sum over r of P[n, r] W[r], bias P b + c
    Cost:     macs per pixel R (k k K + N)  -->  k k K N; the 1x1 is for nothing if R = N

    Any stride and padding of the convolution stay as they are, and so does its kind.

    Raises:
        ShapeError: If `pointwise` is not 1x1 with stride 1 and without padding, if either has
            groups, or if widths do not meet.
    """
    if pointwise.kernel_size != (1, 1) or pointwise.padding not in ((0, 0), "valid", "same"):
        raise ShapeError(f"`pointwise` ({pointwise}) must be a 1x1 convolution without padding")
    if pointwise.stride != (1, 1):
        raise ShapeError(f"`pointwise.stride` (={pointwise.stride}) must be 1")
    for name, one in (("conv", conv), ("pointwise", pointwise)):
        if one.groups != 1:
            raise ShapeError(f"`{name}.groups` (={one.groups}) must be 1")
    if conv.out_channels != pointwise.in_channels:
        raise ShapeError(
            f"`conv.out_channels` (={conv.out_channels}) must be "
            f"`pointwise.in_channels` (={pointwise.in_channels})"
        )
    matrix = pointwise.weight.flatten(1)
    folded = copy.deepcopy(conv)
    folded.out_channels = pointwise.out_channels
    folded.weight = nn.Parameter(torch.einsum("nr,rkyx->nkyx", matrix, conv.weight))
    if conv.bias is not None or pointwise.bias is not None:
        bias = matrix.new_zeros(pointwise.out_channels)
        if conv.bias is not None:
            bias += matrix @ conv.bias
        if pointwise.bias is not None:
            bias += pointwise.bias
        folded.bias = nn.Parameter(bias)
    return folded
