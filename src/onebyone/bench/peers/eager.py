"""PyTorch as it comes: one operation after the other."""

import torch
from torch import Tensor, nn

from onebyone.bench.peers.engine import Runner
from onebyone.bench.peers.folding import fold_network


def build(model: nn.Module, example: Tensor, threads: int) -> Runner:
    """Make a network ready in PyTorch: batch norms folded, channels-last, no gradients.

    Side effects:
        Sets the number of threads that torch uses, in all of the process.
    """
    torch.set_num_threads(threads)
    network = fold_network(model, example)

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return network(images)

    return run
