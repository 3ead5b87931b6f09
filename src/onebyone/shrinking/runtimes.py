"""What a network will run on: how it is made ready there, and how one layer of it is timed."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from onebyone.bench.engine import Runner
from onebyone.bench.folding import to_channels_last
from onebyone.bench.onnx_export import OnnxExport
from onebyone.errors import check_choice
from onebyone.packages import require

RuntimeName = Literal["compiled", "eager", "onnxruntime"]

CALLS = 5
"""Calls whose time is taken together."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """One way to run networks.

    Attributes:
        prepare: Makes a network ready for inputs like an example, on so many threads.
        clock: Makes a layer ready likewise, and returns what tells the seconds of a call.
        versions: Packages that the times depend on.
    """

    prepare: Callable[[nn.Module, Tensor, int], Runner]
    clock: Callable[[nn.Module, Tensor, int], Callable[[], float]]
    versions: tuple[str, ...]


def find_runtime(name: str) -> Runtime:
    """Return a runtime by its name.

    Raises:
        UnknownNameError: If there is none of that name; says which there are.
        MissingPackageError: If a package is missing for it.
    """
    check_choice("runtime", name, get_args(RuntimeName))
    if name == "onnxruntime":
        require("timing networks in ONNX Runtime", "onnx", "onnxruntime", "onnxscript")
    return _RUNTIMES[name]


def _compile(network: nn.Module, example: Tensor, threads: int) -> Runner:
    from onebyone.compiler import compile_model

    return compile_model(network, example, threads=threads, keep=False)


def _clock_compiled(layer: nn.Module, example: Tensor, threads: int) -> Callable[[], float]:
    """Time what native code does for a layer.

    How numbers come in and go out is left out: within a network they need not be brought into
    another order.
    """
    from onebyone.compiler import compile_model

    compiled = compile_model(layer, example, threads=threads, keep=False)

    def seconds() -> float:
        layers = compiled.profile(example, rounds=CALLS).layers
        return sum(row.seconds for row in layers if row.layer.kind not in _IN_AND_OUT) / threads

    return seconds


_IN_AND_OUT = ("input", "output")


def _run_eager(network: nn.Module, example: Tensor, threads: int) -> Runner:  # noqa: ARG001
    network = to_channels_last(network)

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return network(images)

    return run


def _run_onnx(network: nn.Module, example: Tensor, threads: int) -> Runner:
    from onebyone.bench.peers.onnxruntime import load

    return load(OnnxExport()(network, example), threads)


def _clock(
    prepare: Callable[[nn.Module, Tensor, int], Runner],
) -> Callable[..., Callable[[], float]]:
    """Return what times layers by calling them."""

    def clock(layer: nn.Module, example: Tensor, threads: int) -> Callable[[], float]:
        run = prepare(layer, example, threads)

        def seconds() -> float:
            run(example)  # brings weights into the caches
            start = time.perf_counter()
            for _ in range(CALLS):
                run(example)
            return (time.perf_counter() - start) / CALLS

        return seconds

    return clock


_RUNTIMES: Mapping[str, Runtime] = {
    "compiled": Runtime(_compile, _clock_compiled, ("onebyone", "llvmlite")),
    "eager": Runtime(_run_eager, _clock(_run_eager), ("torch",)),
    "onnxruntime": Runtime(_run_onnx, _clock(_run_onnx), ("onnxruntime", "torch")),
}
