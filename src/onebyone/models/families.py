"""The kinds of network that can be built from a configuration."""

from onebyone.models.googlenet import GoogLeNet, GoogLeNetConfig
from onebyone.models.inception_resnet_v2 import InceptionResNetV2, InceptionResNetV2Config
from onebyone.models.mobilenet import MobileNet, MobileNetConfig
from onebyone.models.network import Network, NetworkConfig
from onebyone.models.nin import NiN, NiNConfig
from onebyone.models.resnet import ResNet, ResNetConfig

FAMILIES: dict[type[NetworkConfig], type[Network]] = {
    ResNetConfig: ResNet,
    InceptionResNetV2Config: InceptionResNetV2,
    GoogLeNetConfig: GoogLeNet,
    NiNConfig: NiN,
    MobileNetConfig: MobileNet,
}
"""The network that each configuration describes."""

CONFIGS: dict[str, type[NetworkConfig]] = {
    network.family: config for config, network in FAMILIES.items()
}
"""The configuration of each family, by the name that it has in checkpoints."""


def build_network(config: NetworkConfig) -> Network:
    """Build the network that a configuration describes, in evaluation mode, ready to be trained.

    Example:
        >>> from dataclasses import replace
        >>> from onebyone.models import find_model
        >>> narrow = replace(find_model("resnet50").config, hidden_channels=(32, 64, 128, 256))
        >>> build_network(narrow).layer1[0].conv1
        PointwiseConv2d(64, 32, kernel_size=(1, 1), stride=(1, 1), bias=False)
    """
    return FAMILIES[type(config)](config).eval()
