"""The network that is measured, and the weights that it is measured with."""

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from onebyone.bench.accuracy import float64_output, relative_rms, run_network
from onebyone.bench.numerics import FP32, LARGEST_ERRORS
from onebyone.errors import ShapeError, located
from onebyone.models import default_weights, load_untrained

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
        """Return a batch of random images, the same at each call.

        Raises:
            ShapeError: If memory is too small for so many.
        """
        generator = torch.Generator().manual_seed(SEED)
        try:
            return torch.randn(batch, *self.input_shape, generator=generator)
        except (RuntimeError, TypeError) as error:  # TypeError: a number of more than 64 bits
            raise ShapeError(
                f"{self.name}: `batch` (={batch}) is more images {self.input_shape} than fit into "
                "memory; ask for fewer"
            ) from error


def load_subject(name: str) -> Subject:
    """Build the network that a user names, as `load_model` does, with numbers worth computing.

    Checkpoints and files bring weights of their own. Networks that are named get random ones: the
    time does not depend on them, and nothing has to be fetched.

    Raises:
        OneByOneError: One of its kinds; see `load_model`.
    """
    subject = Subject(name, *load_untrained(name))
    if default_weights(name) is not None:
        with located(name):
            drawn = draw_weights(subject.network, subject.images(2))
            # Networks with the norm behind the activation, such as ConvMixer, stay as they start.
            if is_steady(drawn, subject.images(1)):
                return replace(subject, network=drawn)
    return subject


@torch.no_grad()
def draw_weights(network: nn.Module, images: Tensor) -> nn.Module:
    """Return a copy with drawn weights, its batch norms' statistics those of the images.

    In a fresh network the batch norms do nothing, and the last one of a block may be all zero:
    engines could be wrong there, and nobody would see it. Here each has a scale and a shift of its
    own, and each output channel is positive more often than not, as in trained networks. With a
    mean of zero, a deep network is chaotic: it turns the rounding of its first layers, 1e-7, into
    1e-4 at the end of 150 of them, which would hide small faults.
    """
    network = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(SEED)
    modules = list(network.modules())
    norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
    for module in modules:
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            module.weight.normal_(std=(2 / fan_in) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.normal_(std=0.1, generator=generator)
        elif isinstance(module, nn.BatchNorm2d) and module.affine:
            module.weight.uniform_(0.2, 0.6, generator=generator)
            module.bias.normal_(mean=0.2, std=0.2, generator=generator)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # what is seen last is all that counts
        norm.train()
    run_network(network, images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    return network


def is_steady(network: nn.Module, images: Tensor) -> bool:
    """Return whether the rounding of float32 stays small on its way through a network."""
    error = relative_rms(run_network(network, images), float64_output(network, images))
    return error < LARGEST_ERRORS[FP32] / 10
