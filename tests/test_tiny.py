"""Is it alive? One layer, one model, one photo."""

import torch

import onebyone
from onebyone.nn import PointwiseConv2d
from tests.helpers.photos import COFFEE


def test_a_layer_a_model_a_photo():
    assert PointwiseConv2d(3, 5)(torch.zeros(1, 3, 2, 2)).shape == (1, 5, 2, 2)
    network = onebyone.create_model("efficientnet_lite0", weights="imagenet")
    prediction = onebyone.predict(network, network.card, onebyone.open_photo(COFFEE))
    assert prediction.top[0].label == "espresso"
