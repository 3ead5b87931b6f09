"""Folding changes no output and no argument."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from onebyone.errors import ShapeError
from onebyone.nn import (
    PointwiseConv2d,
    SamePaddingConv2d,
    fold_batch_norm,
    fold_into_conv,
    fold_pointwise,
)
from tests.helpers.checks import check_same

channels = st.sampled_from([1, 2, 7, 8, 9, 31])


def make_norm(num_features: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(num_features, eps=1e-3).double().eval()
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(norm.running_var, 0.1, 2.0)
    return norm


@given(channels, channels, st.sampled_from([1, 3]), st.integers(1, 2), st.booleans())
def test_batch_norm_folds_into_any_convolution(in_channels, out_channels, kernel, stride, bias):
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=1, bias=bias)
    conv = conv.double().eval()
    norm = make_norm(out_channels)
    x = torch.randn(2, in_channels, 6, 5, dtype=torch.float64)
    terms = in_channels * kernel**2 + 1
    check_same(nn.Sequential(conv, norm), fold_batch_norm(conv, norm), x, terms=terms)


@pytest.mark.parametrize(
    "conv", [PointwiseConv2d(6, 8, groups=2), SamePaddingConv2d(6, 8, 3, stride=2, groups=2)]
)
def test_batch_norm_folds_into_our_convolutions_and_keeps_their_kind(conv):
    conv = conv.double().eval()
    norm = make_norm(8)
    folded = fold_batch_norm(conv, norm)
    assert type(folded) is type(conv)
    x = torch.randn(2, 6, 6, 6, dtype=torch.float64)
    check_same(nn.Sequential(conv, norm), folded, x, terms=28)


@given(channels, channels, channels, st.booleans(), st.booleans(), st.integers(1, 2))
def test_two_linear_pointwise_layers_are_one(n_in, n_mid, n_out, bias1, bias2, stride):
    first = PointwiseConv2d(n_in, n_mid, stride=stride, bias=bias1).double()
    second = PointwiseConv2d(n_mid, n_out, stride=2, bias=bias2).double()
    folded = fold_pointwise(first, second)
    assert (folded.bias is None) == (not bias1 and not bias2)
    x = torch.randn(2, n_in, 9, 8, dtype=torch.float64)
    check_same(nn.Sequential(first, second), folded, x, terms=n_in * n_mid)


@given(
    channels,
    channels,
    channels,
    st.sampled_from([1, 2, 3]),
    st.integers(1, 2),
    st.integers(0, 1),
    st.booleans(),
    st.booleans(),
)
def test_a_pointwise_layer_folds_into_any_convolution(
    n_in, n_mid, n_out, kernel, stride, padding, bias1, bias2
):
    conv = nn.Conv2d(n_in, n_mid, kernel, stride, padding, bias=bias1).double()
    pointwise = PointwiseConv2d(n_mid, n_out, bias=bias2).double()
    folded = fold_into_conv(conv, pointwise)
    assert (folded.bias is None) == (not bias1 and not bias2)
    assert (folded.in_channels, folded.out_channels) == (n_in, n_out)
    x = torch.randn(2, n_in, 6, 5, dtype=torch.float64)
    check_same(nn.Sequential(conv, pointwise), folded, x, terms=n_in * kernel**2 * n_mid)


def test_what_a_pointwise_layer_folds_into_keeps_its_kind():
    conv, pointwise = SamePaddingConv2d(3, 8, 3, stride=2), PointwiseConv2d(8, 5)
    folded = fold_into_conv(conv, pointwise)
    assert type(folded) is SamePaddingConv2d
    x = torch.randn(2, 3, 6, 6)
    check_same(nn.Sequential(conv, pointwise), folded, x, terms=27 * 8)


def test_a_relu_in_between_is_what_makes_them_two():
    first, second = PointwiseConv2d(8, 8), PointwiseConv2d(8, 8)
    x = torch.randn(2, 8, 4, 4)
    with pytest.raises(AssertionError):
        check_same(
            nn.Sequential(first, nn.ReLU(), second), fold_pointwise(first, second), x, terms=64
        )


def test_folding_leaves_its_arguments_alone():
    conv, norm = nn.Conv2d(3, 4, 1).double().eval(), make_norm(4)
    before = copy.deepcopy((conv.state_dict(), norm.state_dict()))
    fold_batch_norm(conv, norm)
    fold_pointwise(PointwiseConv2d(5, 3).double(), conv)
    fold_into_conv(nn.Conv2d(5, 3, 3).double(), conv)
    for old, module in zip(before, (conv, norm), strict=True):
        for name, value in module.state_dict().items():
            assert torch.equal(value, old[name])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: fold_batch_norm(nn.Conv2d(3, 4, 1).eval(), nn.BatchNorm2d(5).eval()),
            r"^`norm.num_features` \(=5\) must be the convolution's `out_channels` \(=4\)$",
        ),
        (
            lambda: fold_batch_norm(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4).eval()),
            r"^`conv` and `norm` must be in evaluation mode; call .eval\(\) first$",
        ),
        (
            lambda: fold_batch_norm(
                nn.Conv2d(3, 4, 1).eval(), nn.BatchNorm2d(4, track_running_stats=False).eval()
            ),
            r"^`norm` keeps no statistics",
        ),
        (
            lambda: fold_pointwise(nn.Conv2d(3, 4, 3), PointwiseConv2d(4, 5)),
            r"^`first` \(Conv2d\(3, 4, .*\)\) must be a 1x1 convolution without padding$",
        ),
        (
            lambda: fold_pointwise(PointwiseConv2d(3, 4), PointwiseConv2d(4, 6, groups=2)),
            r"^`second.groups` \(=2\) must be 1$",
        ),
        (
            lambda: fold_pointwise(nn.Conv2d(3, 4, 1, stride=(1, 2)), PointwiseConv2d(4, 6)),
            r"^`first.stride` \(=\(1, 2\)\) must be the same in both directions$",
        ),
        (
            lambda: fold_pointwise(PointwiseConv2d(3, 4), PointwiseConv2d(5, 6)),
            r"^`first.out_channels` \(=4\) must be `second.in_channels` \(=5\)$",
        ),
        (
            lambda: fold_into_conv(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)),
            r"^`pointwise` \(Conv2d\(4, 5, .*\)\) must be a 1x1 convolution without padding$",
        ),
        (
            lambda: fold_into_conv(nn.Conv2d(3, 4, 3), PointwiseConv2d(4, 5, stride=2)),
            r"^`pointwise.stride` \(=\(2, 2\)\) must be 1$",
        ),
        (
            lambda: fold_into_conv(nn.Conv2d(4, 4, 3, groups=4), PointwiseConv2d(4, 5)),
            r"^`conv.groups` \(=4\) must be 1$",
        ),
        (
            lambda: fold_into_conv(nn.Conv2d(3, 4, 3), PointwiseConv2d(5, 6)),
            r"^`conv.out_channels` \(=4\) must be `pointwise.in_channels` \(=5\)$",
        ),
    ],
)
def test_layers_that_do_not_fold_are_refused(make, message):
    with pytest.raises(ShapeError, match=message):
        make()


def test_a_folded_layer_can_learn_as_the_one_before():
    conv, norm = nn.Conv2d(3, 4, 1, bias=False).eval(), nn.BatchNorm2d(4).eval()
    assert fold_batch_norm(conv, norm).bias.requires_grad
    conv.requires_grad_(requires_grad=False)
    assert not fold_batch_norm(conv, norm).bias.requires_grad
