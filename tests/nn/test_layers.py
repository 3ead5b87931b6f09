"""Shapes, sizes and parts of the layers and blocks."""

import pytest
import torch
from torch import nn

from onebyone.errors import ShapeError, UnknownNameError
from onebyone.nn import (
    BasicBlock,
    Bottleneck,
    ConvUnit,
    DepthwiseSeparable,
    Inception,
    InceptionResNetA,
    InceptionResNetB,
    InceptionResNetC,
    InceptionStem,
    InceptionWidths,
    InvertedResidual,
    MlpConv,
    PointwiseConv2d,
    ReductionA,
    ReductionB,
    SamePaddingConv2d,
)
from tests.helpers.checks import check_layer

# Parameters are counted by hand: k * k * in * out for a convolution, 2 * out for a batch norm,
# out for a bias.
LAYERS = [
    (PointwiseConv2d(6, 10), (2, 6, 7, 7), (2, 10, 7, 7), 6 * 10 + 10),
    (PointwiseConv2d(6, 10, stride=2, groups=2, bias=False), (2, 6, 7, 7), (2, 10, 4, 4), 30),
    (SamePaddingConv2d(6, 10, 3, stride=2), (2, 6, 8, 7), (2, 10, 4, 4), 9 * 60 + 10),
    (ConvUnit(6, 10), (2, 6, 7, 7), (2, 10, 7, 7), 60 + 20),
    (ConvUnit(6, 10, 3, norm=None), (2, 6, 7, 7), (2, 10, 7, 7), 9 * 60 + 10),
    (ConvUnit(6, 10, (1, 7)), (2, 6, 7, 7), (2, 10, 7, 7), 7 * 60 + 20),
    (ConvUnit(6, 10, 3, stride=2, padding=0), (2, 6, 7, 7), (2, 10, 3, 3), 9 * 60 + 20),
    (BasicBlock(8, 6, 8), (2, 8, 7, 7), (2, 8, 7, 7), 9 * 48 * 2 + 2 * 14),
    (BasicBlock(8, 6, 10, stride=2), (2, 8, 7, 7), (2, 10, 4, 4), 9 * 108 + 32 + 80 + 20),
    (Bottleneck(8, 4, 8), (2, 8, 7, 7), (2, 8, 7, 7), 32 + 9 * 16 + 32 + 2 * 16),
    (Bottleneck(8, 4, 12, stride=2), (2, 8, 7, 7), (2, 12, 4, 4), 32 + 144 + 48 + 40 + 96 + 24),
    (DepthwiseSeparable(8, 12, stride=2), (2, 8, 8, 8), (2, 12, 4, 4), 72 + 16 + 96 + 24),
    (InvertedResidual(4, 24, 4), (2, 4, 7, 7), (2, 4, 7, 7), 96 + 48 + 216 + 48 + 96 + 8),
    (
        InvertedResidual(4, 24, 6, 5, stride=2, padding="same"),
        (2, 4, 8, 8),
        (2, 6, 4, 4),
        96 + 48 + 25 * 24 + 48 + 144 + 12,
    ),
    (
        Inception(8, InceptionWidths(4, 3, 5, 2, 3, 2)),
        (2, 8, 7, 7),
        (2, 14, 7, 7),
        (32 + 8) + (24 + 6 + 135 + 10) + (16 + 4 + 54 + 6) + (16 + 4),
    ),
    (
        Inception(8, InceptionWidths(4, 3, 5, 2, 3, 2), kernel_size5=5, norm=None),
        (2, 8, 7, 7),
        (2, 14, 7, 7),
        (32 + 4) + (24 + 3 + 135 + 5) + (16 + 2 + 150 + 3) + (16 + 2),
    ),
    (
        InceptionResNetA(8, ((2,), (2, 3), (2, 3, 4)), scale=0.17),
        (2, 8, 7, 7),
        (2, 8, 7, 7),
        (16 + 4) + (16 + 4 + 54 + 6) + (16 + 4 + 54 + 6 + 108 + 8) + (9 * 8 + 8),
    ),
    (
        InceptionResNetB(8, ((2,), (2, 3, 4)), scale=0.1),
        (2, 8, 9, 9),
        (2, 8, 9, 9),
        (16 + 4) + (16 + 4 + 42 + 6 + 84 + 8) + (6 * 8 + 8),
    ),
    (
        InceptionResNetC(8, ((2,), (2, 3, 4)), scale=0.2, has_activation=False),
        (2, 8, 5, 5),
        (2, 8, 5, 5),
        (16 + 4) + (16 + 4 + 18 + 6 + 36 + 8) + (6 * 8 + 8),
    ),
    (
        InceptionStem(8, ((2,), (2, 3), (2, 3, 4), (5,))),
        (2, 8, 7, 7),
        (2, 14, 7, 7),
        (16 + 4) + (16 + 4 + 150 + 6) + (16 + 4 + 54 + 6 + 108 + 8) + (40 + 10),
    ),
    (
        ReductionA(8, ((2,), (2, 3, 4))),
        (2, 8, 7, 7),
        (2, 14, 3, 3),
        (144 + 4) + (16 + 4 + 54 + 6 + 108 + 8),
    ),
    (
        ReductionB(8, ((2, 3), (2, 3), (2, 3, 4))),
        (2, 8, 7, 7),
        (2, 18, 3, 3),
        2 * (16 + 4 + 54 + 6) + (16 + 4 + 54 + 6 + 108 + 8),
    ),
    (MlpConv(3, (6, 5, 4), 5, padding=2), (2, 3, 7, 7), (2, 4, 7, 7), 450 + 6 + 30 + 5 + 20 + 4),
]


@pytest.mark.parametrize(
    ("layer", "in_shape", "out_shape", "params"), LAYERS, ids=lambda x: type(x).__name__
)
def test_layer_keeps_its_contract(layer, in_shape, out_shape, params):
    check_layer(layer, in_shape, out_shape, params=params)


def test_bottleneck_v1_steps_in_the_reduction_and_v15_in_the_3x3():
    v15 = Bottleneck(8, 4, 8, stride=2)
    v1 = Bottleneck(8, 4, 8, stride=2, stride_in="reduce")
    assert (v15.conv1.stride, v15.conv2.stride) == ((1, 1), (2, 2))
    assert (v1.conv1.stride, v1.conv2.stride) == ((2, 2), (1, 1))


def test_unit_has_only_the_parts_asked_for_in_order():
    full = ConvUnit(4, 8, 3, dropout=0.5)
    assert [name for name, _ in full.named_children()] == ["conv", "dropout", "bn", "act"]
    bare = ConvUnit(4, 8, norm=None, activation=None)
    assert [name for name, _ in bare.named_children()] == ["conv"]


def test_unit_has_a_bias_exactly_without_norm():
    assert ConvUnit(4, 8).conv.bias is None
    assert ConvUnit(4, 8, norm=None).conv.bias is not None


def test_unit_makes_pointwise_convolutions_of_its_1x1s():
    assert isinstance(ConvUnit(4, 8).conv, PointwiseConv2d)
    assert not isinstance(ConvUnit(4, 8, 3).conv, PointwiseConv2d)
    assert not isinstance(ConvUnit(4, 8, 1, padding=1).conv, PointwiseConv2d)


def test_filter_expansion_is_linear_and_scaled():
    block = InceptionResNetB(8, ((2,), (2, 3, 4)), scale=0.1, has_activation=False).eval()
    assert isinstance(block.conv2d, PointwiseConv2d)
    assert block.conv2d.bias is not None
    x = torch.randn(1, 8, 5, 5)
    with torch.no_grad():
        small = block(x) - x
        block.scale = 1.0
        torch.testing.assert_close((block(x) - x) * 0.1, small)


def test_projection_of_an_inverted_residual_is_linear():
    """Nothing clips what the projection gives: some outputs are negative, some above 6."""
    block = InvertedResidual(4, 24, 6).eval()
    with torch.no_grad():
        block.conv_pwl.matrix.mul_(100)
        y = block(torch.randn(1, 4, 8, 8))
    assert y.min() < 0
    assert y.max() > 6


def test_mlpconv_without_its_relus_is_linear_and_with_them_not():
    def is_additive(layer: nn.Module) -> bool:
        a, b, zero = torch.randn(1, 3, 6, 6), torch.randn(1, 3, 6, 6), torch.zeros(1, 3, 6, 6)
        with torch.no_grad():
            return torch.allclose(layer(a) + layer(b), layer(a + b) + layer(zero), atol=1e-4)

    layer = MlpConv(3, (8, 8, 8), 3)
    assert not is_additive(layer)
    for unit in layer:
        unit.act = nn.Identity()
    assert is_additive(layer)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: PointwiseConv2d(30, 16, groups=4),
            r"^`in_channels` \(=30\) must be divisible by `groups` \(=4\)$",
        ),
        (
            lambda: PointwiseConv2d(32, 15, groups=4),
            r"^`out_channels` \(=15\) must be divisible by `groups` \(=4\)$",
        ),
        (
            lambda: MlpConv(3, (), 5),
            r"^`out_channels` \(=\(\)\) must name at least the width of the k x k layer$",
        ),
        (
            lambda: InceptionResNetA(8, ((2,), (2, 3)), scale=1.0),
            r"^`widths` \(=\(\(2,\), \(2, 3\)\)\) must have one number for each kernel of "
            r"\(\(1,\), \(1, 3\), \(1, 3, 3\)\)$",
        ),
    ],
)
def test_widths_that_do_not_fit_are_named(make, message):
    with pytest.raises(ShapeError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: InvertedResidual(4, 8, 4, padding="SAME"),
            "`padding` (='SAME') must be 'symmetric' or 'same'",
        ),
        (
            lambda: Bottleneck(8, 4, 8, stride_in="v1.5"),
            "`stride_in` (='v1.5') must be '3x3' or 'reduce'",
        ),
    ],
)
def test_words_that_are_no_choice_are_refused(make, message):
    with pytest.raises(UnknownNameError) as error:
        make()
    assert str(error.value) == message
