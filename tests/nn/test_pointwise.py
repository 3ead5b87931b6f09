"""A 1x1 convolution is one matrix on the channels of every pixel."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from onebyone.nn import PointwiseConv2d

channels = st.sampled_from([1, 3, 7, 8, 9, 17, 33])
sides = st.integers(1, 9)


@given(channels, channels, sides, sides, st.integers(1, 3))
def test_it_is_a_matrix_product_at_every_pixel_read(in_channels, out_channels, h, w, stride):
    conv = PointwiseConv2d(in_channels, out_channels, stride=stride).double()
    x = torch.randn(2, in_channels, h, w, dtype=torch.float64)
    expected = torch.einsum("oc,nchw->nohw", conv.matrix, x[..., ::stride, ::stride])
    expected = expected + conv.bias[:, None, None]
    torch.testing.assert_close(conv(x), expected)


def test_groups_are_a_block_diagonal_matrix():
    conv = PointwiseConv2d(6, 4, groups=2, bias=False)
    full = torch.block_diag(conv.matrix[:2], conv.matrix[2:])
    x = torch.randn(1, 6, 3, 3)
    torch.testing.assert_close(conv(x), torch.einsum("oc,nchw->nohw", full, x))


def test_the_matrix_is_a_view_of_the_weight():
    conv = PointwiseConv2d(3, 5)
    with torch.no_grad():
        conv.matrix.fill_(2.0)
    assert (conv.weight == 2).all()


def test_the_mean_is_the_special_case_of_equal_weights():
    conv = PointwiseConv2d(4, 1, bias=False)
    with torch.no_grad():
        conv.matrix.fill_(1 / 4)
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(conv(x), x.mean(1, keepdim=True))
