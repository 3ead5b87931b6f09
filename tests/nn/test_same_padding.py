import torch
from hypothesis import given
from hypothesis import strategies as st

from onebyone.nn import SamePaddingConv2d
from tests.helpers.oracles import timm


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 2, 3, 5]), st.integers(1, 3))
def test_it_pads_as_tensorflow_does(height, width, kernel_size, stride):
    ours = SamePaddingConv2d(2, 3, kernel_size, stride=stride).double()
    theirs = timm.layers.Conv2dSame(2, 3, kernel_size, stride=stride).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(1, 2, height, width, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x))


def test_at_stride_2_it_differs_from_symmetric_padding_on_even_sizes_only():
    same = SamePaddingConv2d(2, 3, 3, stride=2)
    symmetric = torch.nn.Conv2d(2, 3, 3, stride=2, padding=1)
    symmetric.load_state_dict(same.state_dict())
    odd, even = torch.randn(1, 2, 9, 9), torch.randn(1, 2, 8, 8)
    torch.testing.assert_close(same(odd), symmetric(odd))
    assert not torch.allclose(same(even), symmetric(even), atol=1e-2)
