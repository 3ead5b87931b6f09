"""The network that is measured, and the weights that it is measured with."""

from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor, nn

from onebyone.errors import WeightsError
from onebyone.models import default_weights, load_model

SEED = 0


@dataclass(frozen=True, slots=True)
class Subject:
    """A network to measure.

    Attributes:
        name: What the user calls it.
        network: The network, in evaluation mode.
        input_shape: Channels, height and width of its images.
    """

    name: str
    network: nn.Module
    input_shape: tuple[int, int, int]

    def images(self, batch: int) -> Tensor:
        """Return a batch of random images, the same at each call."""
        generator = torch.Generator().manual_seed(SEED)
        return torch.randn(batch, *self.input_shape, generator=generator)


def load_subject(name: str) -> Subject:
    """Build the network that a user names, as `load_model` does, with numbers worth computing.

    Checkpoints and files bring weights of their own. Networks that are named get random ones: the
    time does not depend on them, and nothing has to be fetched.

    Raises:
        OneByOneError: One of its kinds; see `load_model`.
    """
    try:
        network, card = load_model(name)
        size = card.preprocess.input_size
        subject = Subject(name, network, (3, size, size))
    except WeightsError:
        # timm prepares some networks' photos in ways that we do not have; these need no photos.
        if not name.startswith("timm:"):
            raise
        subject = _from_timm(name)
    if default_weights(name) is not None:
        draw_weights(subject.network, subject.images(2))
    return subject


@torch.no_grad()
def draw_weights(network: nn.Module, images: Tensor) -> None:
    """Draw a network's weights, and set its batch norms' statistics to those of the images.

    In a fresh network the batch norms do nothing, and the last one of a block may be all zero:
    engines could be wrong there, and nobody would see it.

    Side effects:
        Overwrites the weights, biases and statistics of `network`.
    """
    generator = torch.Generator().manual_seed(SEED)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            module.weight.normal_(std=(2 / fan_in) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.normal_(std=0.1, generator=generator)
    for norm in norms:
        if norm.affine:
            norm.weight.uniform_(0.5, 1.5, generator=generator)
            norm.bias.normal_(std=0.1, generator=generator)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # what is seen last is all that counts
        norm.train()
    network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _from_timm(name: str) -> Subject:
    network = import_module("timm").create_model(name.partition(":")[2])
    channels, height, width = network.pretrained_cfg["input_size"]
    return Subject(name, network.float().eval(), (channels, height, width))
