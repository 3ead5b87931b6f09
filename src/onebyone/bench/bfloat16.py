"""Any network in bfloat16, for the engines that are PyTorch."""

import torch
from torch import Tensor, nn

from onebyone.bench.folding import fold_network


class Bfloat16(nn.Module):
    """A network in bfloat16 that takes float32 images and gives float32 scores.

    Args:
        network: The network; it is changed.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.to(torch.bfloat16)

    def forward(self, images: Tensor) -> Tensor:
        """Run it."""
        return self.network(images.to(torch.bfloat16)).float()


def fold_to_bfloat16(model: nn.Module, example: Tensor) -> nn.Module:
    """Return a channels-last copy in bfloat16; its batch norms are folded before, in float32.

    Autocast rounds the weights anew at each call in eager mode, and hides the batch norms from
    inductor, which then computes them.
    """
    return Bfloat16(fold_network(model, example))
