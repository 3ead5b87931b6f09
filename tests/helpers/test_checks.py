"""Each helper fails on a planted fault."""

import pytest
import torch
from torch import nn

from onebyone.models import build_network, find_model
from tests.helpers.checks import check_layer, check_network, check_same


def test_check_same_sees_a_small_difference():
    before = nn.Conv2d(30, 16, 1)
    after = nn.Conv2d(30, 16, 1)
    after.load_state_dict(before.state_dict())
    x = torch.randn(2, 30, 8, 8)
    check_same(before, after, x, terms=30)
    with torch.no_grad():
        after.bias += 1e-3
    with pytest.raises(AssertionError):
        check_same(before, after, x, terms=30)


@pytest.mark.parametrize(
    ("out_shape", "params"), [((2, 8, 5, 6), 40), ((2, 8, 5, 5), 41)], ids=["shape", "params"]
)
def test_check_layer_sees_a_wrong_promise(out_shape, params):
    with pytest.raises(AssertionError):
        check_layer(nn.Conv2d(4, 8, 1), (2, 4, 5, 5), out_shape, params=params)


def test_check_layer_sees_an_unused_parameter():
    layer = nn.Conv2d(4, 8, 1)
    layer.register_parameter("unused", nn.Parameter(torch.zeros(3)))
    with pytest.raises(AssertionError, match="unused"):
        check_layer(layer, (2, 4, 5, 5), (2, 8, 5, 5), params=43)


def test_check_layer_sees_images_that_mix():
    class Mixing(nn.Conv2d):
        def forward(self, input):
            return super().forward(input) + input.mean()

    with pytest.raises(AssertionError):
        check_layer(Mixing(4, 8, 1), (2, 4, 5, 5), (2, 8, 5, 5), params=40)


def test_check_network_sees_a_head_that_is_left_out():
    network = build_network(find_model("nin_cifar10").config)
    network.head_name = "stages.0.0.spatial.conv"
    with pytest.raises(AssertionError):
        check_network(network, 32)


def test_check_network_sees_training_mode():
    with pytest.raises(AssertionError):
        check_network(build_network(find_model("nin_cifar10").config).train(), 32)
