"""Making networks whose every number has a say in the scores."""

import torch
from torch import nn


@torch.no_grad()
def randomize(network: nn.Module, input_size: int) -> None:
    """Draw all parameters, and set the batch norms' statistics to those of real activations.

    A fresh network is a weak witness: its batch norms are identities, and the last of each block
    may even be zero. Here each has its own scale and shift, and signals neither die nor explode.
    """
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            module.weight.normal_(std=(2 / fan_in) ** 0.5, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5, generator=generator)
            module.momentum = 1.0
        if getattr(module, "bias", None) is not None:
            module.bias.normal_(std=0.1, generator=generator)
    network.train()
    network(torch.randn(4, 3, input_size, input_size, generator=generator))
    network.eval()
