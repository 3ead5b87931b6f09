"""Networks of the zoo, fitted to small images."""

import pytest
import torch

from onebyone.errors import ShapeError
from onebyone.models import ZOO, build_network, find_model
from onebyone.models.adapt import adapt_config

SMALL = {
    # Parameters in millions for 10 classes: He et al. (arXiv 1512.03385), table 6.
    "resnet20": 0.27,
    "resnet32": 0.46,
    "resnet44": 0.66,
    "resnet56": 0.85,
    "resnet110": 1.7,
    "resnet164": 1.7,  # He et al. (arXiv 1603.05027), table 4
}


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_have_the_papers_parameters(name):
    with torch.device("meta"):
        network = build_network(ZOO[name].config)
    params = sum(parameter.numel() for parameter in network.parameters())
    assert params / 1e6 == pytest.approx(SMALL[name], abs=0.05)
    assert network(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2", "googlenet", "resnet20"])
@pytest.mark.parametrize("side", [28, 32])
def test_a_network_for_photos_keeps_the_grid_of_small_images(name, side):
    config = adapt_config(find_model(name).config, in_channels=1, num_classes=10, image_size=side)
    with torch.device("meta"):
        network = build_network(config)
    images = torch.empty(2, 1, side, side, device="meta")
    assert network(images).shape == (2, 10)
    least = 4 if name != "resnet20" else 7
    assert network.forward_features(images).shape[-1] >= least - 1


def test_large_images_change_only_channels_and_classes():
    config = find_model("resnet50").config
    adapted = adapt_config(config, in_channels=3, num_classes=1000, image_size=224)
    assert adapted == config


def test_images_that_are_too_small_are_refused_with_the_least_size():
    config = find_model("inception_resnet_v2").config
    with pytest.raises(
        ShapeError, match=r"^images of 28 x 28 pixels are too small .* at least \d+"
    ):
        adapt_config(config, in_channels=3, num_classes=10, image_size=28)
