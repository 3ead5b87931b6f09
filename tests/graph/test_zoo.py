"""Every network of the zoo is captured whole, and means what it meant."""

import pytest
import torch

from onebyone.models import build_network
from onebyone.models.registry import ZOO
from tests.helpers.graphs import check_capture
from tests.helpers.networks import randomize

# One network a family is enough for what the members share; sizes are the least they take.
SIZES = {
    "efficientnet_lite0": 64,
    "googlenet": 64,
    "googlenet_5x5": 64,
    "inception_resnet_v2": 96,
    "mobilenet_v2": 64,
    "nin_cifar10": 32,
    "nin_imagenet": 96,
    "resnet18": 64,
    "resnet50": 64,
}


@pytest.mark.parametrize("name", SIZES)
def test_a_network_of_the_zoo_needs_no_opaque_nodes(name):
    network = build_network(ZOO[name].config)
    randomize(network, SIZES[name])
    check_capture(network, torch.randn(2, 3, SIZES[name], SIZES[name]))


def test_names_are_modules_and_stay_the_same():
    network = build_network(ZOO["resnet18"].config).eval()
    graphs = [str(check_capture(network, torch.randn(1, 3, 32, 32))) for _ in range(2)]
    assert graphs[0] == graphs[1]
    assert "layer1.0.conv1 " in graphs[0]
