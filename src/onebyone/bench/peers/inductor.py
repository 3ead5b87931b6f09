"""PyTorch's own compiler."""

import copy

import torch
from torch import Tensor, nn

from onebyone.bench.engine import Engine, Runner
from onebyone.bench.folding import to_channels_last
from onebyone.bench.onnx_export import OnnxExport
from onebyone.exporting.quiet import quiet

PACKAGE = ""


def engine(_export: OnnxExport) -> Engine:
    """Return the engine."""
    return Engine("inductor", build)


def build(model: nn.Module, example: Tensor, threads: int) -> Runner:
    """Compile a network with inductor: weights frozen into the program, channels-last.

    Freezing folds the batch norms and lets oneDNN order the weights beforehand. Compiling takes
    from ten seconds to minutes.

    Side effects:
        Sets the number of threads that torch uses; forgets what else `torch.compile` has compiled
        in this process, because it gives up on a `forward` that it has met with too many networks.
    """
    torch.set_num_threads(threads)
    torch.compiler.reset()
    network = to_channels_last(copy.deepcopy(model).requires_grad_(False))
    with quiet():
        compiled = torch.compile(network, options={"freezing": True})

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return compiled(images)

    with quiet():
        run(example)
    return run
