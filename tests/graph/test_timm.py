"""Other people's networks: captured, equal, and what of them is left to PyTorch."""

import pytest
import torch

from onebyone.graph import capture, verify
from tests.helpers.graphs import check_meaning, opaque_operators
from tests.helpers.oracles import timm, torchvision

NETWORKS = {
    "convnext_atto": (64, set()),
    "cspresnet50": (64, set()),
    "densenet121": (64, set()),
    "dla34": (64, set()),
    "eca_resnet33ts": (64, {"convolution", "sigmoid"}),
    "efficientnet_b0": (64, set()),
    "efficientvit_b0": (64, {"bmm", "slice", "split"}),
    "fastvit_t8": (64, set()),
    "ghostnet_100": (64, set()),
    "hgnetv2_b0": (64, set()),
    "hrnet_w18_small": (64, set()),
    "inception_next_tiny": (64, set()),
    "lcnet_050": (64, set()),
    "mixnet_s": (64, set()),
    "mobilenetv3_large_100": (64, set()),
    "mobilenetv4_conv_small": (64, set()),
    "mobilevitv2_050": (64, {"native_group_norm", "_softmax", "sum"}),
    "nf_regnet_b0": (64, set()),
    "poolformer_s12": (64, {"native_group_norm"}),
    "regnety_002": (64, set()),
    "repvgg_a0": (64, set()),
    "res2net50_14w_8s": (64, set()),
    "seresnet50": (64, set()),
    "starnet_s1": (64, set()),
    "swin_tiny_patch4_window7_224": (
        224,
        {"_softmax", "add", "addmm", "bmm", "gelu", "native_layer_norm", "roll"},
    ),
    "visformer_tiny": (224, {"bmm", "mul", "_softmax"}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_timm(name):
    size, opaque = NETWORKS[name]
    check_network(timm.create_model(name, pretrained=False).eval(), size, opaque)


@pytest.mark.parametrize("name", ["shufflenet_v2_x1_0", "squeezenet1_0"])
def test_a_network_of_torchvision(name):
    check_network(torchvision.models.get_model(name).eval(), 64, set())


def check_network(network, size, opaque):
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.1)
    x = torch.randn(2, 3, size, size)
    captured = capture(network, (x,))
    verify(captured.graph)
    assert opaque_operators(captured.graph) == opaque
    check_meaning(captured, network, (x,), {}, torch.float32)
