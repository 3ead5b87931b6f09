"""PyTorch as it comes: one operation after the other."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from onebyone.bench.bfloat16 import fold_to_bfloat16
from onebyone.bench.engine import Engine, Runner
from onebyone.bench.folding import fold_network
from onebyone.bench.numerics import BF16
from onebyone.bench.onnx_export import OnnxExport

PACKAGE = ""


def engines(_export: OnnxExport) -> tuple[Engine, ...]:
    """Return the engine in float32 and in bfloat16."""
    bfloat16 = partial(build, fold=fold_to_bfloat16)
    return (Engine("eager", build), Engine("eager", bfloat16, numerics=BF16))


def build(
    model: nn.Module,
    example: Tensor,
    threads: int,
    fold: Callable[[nn.Module, Tensor], nn.Module] = fold_network,
) -> Runner:
    """Make a network ready in PyTorch: batch norms folded, channels-last, no gradients.

    Side effects:
        Sets the number of threads that torch uses, in all of the process.
    """
    torch.set_num_threads(threads)
    network = fold(model, example)

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return network(images)

    return run
