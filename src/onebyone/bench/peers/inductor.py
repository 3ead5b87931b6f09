"""PyTorch's own compiler."""

import copy

import torch
from torch import Tensor, nn

from onebyone.bench.bfloat16 import fold_to_bfloat16
from onebyone.bench.engine import Engine, Runner
from onebyone.bench.folding import to_channels_last
from onebyone.bench.numerics import BF16
from onebyone.bench.onnx_export import OnnxExport
from onebyone.exporting.quiet import quiet

PACKAGE = ""


def engines(_export: OnnxExport) -> tuple[Engine, ...]:
    """Return the engine in float32 and in bfloat16, to be built in this order."""
    return (Engine("inductor", build), Engine("inductor", build_bfloat16, numerics=BF16))


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
    return _compile(to_channels_last(copy.deepcopy(model).requires_grad_(False)), example)


def build_bfloat16(model: nn.Module, example: Tensor, threads: int) -> Runner:
    """Compile a network's copy in bfloat16, its batch norms folded beforehand, as `build` does.

    Nothing is forgotten here, because the network in float32 may be waiting for its turn; when it
    was built, there was room.

    Side effects:
        Sets the number of threads that torch uses.
    """
    torch.set_num_threads(threads)
    return _compile(fold_to_bfloat16(model, example).requires_grad_(False), example)


def _compile(network: nn.Module, example: Tensor) -> Runner:
    with quiet():
        compiled = torch.compile(network, options={"freezing": True})

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return compiled(images)

    with quiet():
        run(example)
    return run
