"""The random start has the variance that the law asks for."""

import pytest
import torch
from torch import nn

from onebyone.nn import PointwiseConv2d, initialize_weights


@pytest.mark.parametrize(
    ("conv", "fan_out"),
    [
        (nn.Conv2d(64, 128, 3), 128 * 9),
        (PointwiseConv2d(256, 64), 64),
        (nn.Conv2d(512, 512, 5, groups=512), 25),
        (nn.Conv2d(256, 128, 3, groups=4), 32 * 9),
    ],
)
def test_convolutions_have_variance_two_over_fan_out(conv, fan_out):
    initialize_weights(conv)
    # The standard error of a variance over n normal numbers is sqrt(2 / n) of it.
    tolerance = 4 * (2 / conv.weight.numel()) ** 0.5
    assert conv.weight.var().item() == pytest.approx(2 / fan_out, rel=tolerance)
    assert not conv.bias.any()


def test_linear_layers_start_small_and_norms_as_the_identity():
    linear, norm = nn.Linear(300, 300), nn.BatchNorm2d(8)
    nn.init.normal_(norm.weight)
    initialize_weights(nn.Sequential(linear, norm))
    assert linear.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not linear.bias.any()
    assert torch.equal(norm.weight, torch.ones(8))


def test_the_gradient_keeps_its_size_through_a_deep_relu_network():
    layers = [nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()) for _ in range(12)]
    network = nn.Sequential(*layers)
    initialize_weights(network)
    x = torch.randn(4, 64, 16, 16, requires_grad=True)
    y = network(x)
    gradient = torch.randn_like(y)
    y.backward(gradient)
    assert 0.2 < (x.grad.std() / gradient.std()).item() < 5
