"""Every network of the zoo as native code, against float64."""

import copy

import pytest
import torch

from onebyone.bench.subject import draw_weights
from onebyone.compiler import compile_model
from onebyone.models import ZOO, create_model

SIZES = {"nin_cifar10": 32, "nin_imagenet": 131, "googlenet": 97, "inception_resnet_v2": 107}
"""Odd, and small, but large enough for the network."""


@pytest.mark.parametrize("name", ZOO)
def test_network_agrees_with_float64(name):
    size = SIZES.get(name, 67)
    # Weights that keep rounding errors small, in PyTorch as well.
    network = draw_weights(create_model(name), torch.randn(2, 3, size, size))
    x = torch.randn(2, 3, size, size)
    compiled = compile_model(network, x, threads=2)
    assert not compiled.fallbacks
    with torch.no_grad():
        expected = copy.deepcopy(network).double()(x.double())
        eager, got = network(x), compiled(x)
    assert got.dtype == torch.float32
    # Random networks magnify what rounding does, deep ones a hundredfold: PyTorch's own error says
    # how much. Sums in another order may be a little worse.
    allowed = max(1e-5, 2 * relative_rms(eager, expected))
    assert relative_rms(got, expected) <= allowed
    assert torch.equal(got.argmax(1), expected.argmax(1))


def relative_rms(got, expected):
    return float((got - expected).square().mean().sqrt() / expected.square().mean().sqrt())
