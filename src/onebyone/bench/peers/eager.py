"""PyTorch as it comes: one operation after the other."""

import torch
from torch import Tensor, nn

from onebyone.bench.engine import Engine, Runner
from onebyone.bench.folding import fold_network
from onebyone.bench.onnx_export import OnnxExport

PACKAGE = ""


def engine(_export: OnnxExport) -> Engine:
    """Return the engine."""
    return Engine("eager", build)


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
