"""Every network of the zoo as native code, against float64."""

import copy

import pytest
import torch

from onebyone.compiler import compile_model
from onebyone.models import ZOO, create_model
from tests.helpers.networks import randomize

SIZES = {"nin_cifar10": 32, "nin_imagenet": 131, "googlenet": 97, "inception_resnet_v2": 107}
"""Odd, and small, but large enough for the network."""


@pytest.mark.parametrize("name", ZOO)
def test_network_agrees_with_float64(name):
    size = SIZES.get(name, 67)
    network = create_model(name)
    randomize(network, size)
    x = torch.randn(2, 3, size, size)
    compiled = compile_model(network, x, threads=2)
    assert not compiled.fallbacks
    with torch.no_grad():
        expected = copy.deepcopy(network).double()(x.double())
        got = compiled(x)
    assert got.dtype == torch.float32
    error = (got - expected).square().mean().sqrt()
    assert error <= 1e-5 * expected.square().mean().sqrt()
