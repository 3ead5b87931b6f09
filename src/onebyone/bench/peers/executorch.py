"""ExecuTorch, with XNNPACK."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, fx, nn

from onebyone.bench.engine import Engine, Runner
from onebyone.bench.onnx_export import OnnxExport
from onebyone.exporting.quiet import silent

PACKAGE = "executorch"

_DELEGATE = "executorch_call_delegate"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network in ExecuTorch.

    Attributes:
        program: The loaded file.
        method: Its `forward`.
        portable: Operators that XNNPACK did not take; plain C++ on one thread has them.
    """

    program: Any
    method: Any
    portable: tuple[str, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """Run it; its output is overwritten by the next call."""
        return self.method.execute((images,))[0]


def engines(_export: OnnxExport) -> tuple[Engine, ...]:
    """Return the engine, in float32."""
    return (Engine("executorch", build, remark),)


def build(model: nn.Module, example: Tensor, threads: int) -> Runner:
    """Compile a network for ExecuTorch: all that XNNPACK takes runs there, in float32.

    Side effects:
        Sets the number of threads that ExecuTorch uses, in all of the process.
    """
    with silent():  # native code tells of files that a PC does not have
        partition = import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")
        exir = import_module("executorch.exir")
        runtime = import_module("executorch.runtime").Runtime.get()
        library = import_module("executorch.extension.pybindings._C")
        exported = torch.export.export(model, (example,))
        lowered = exir.to_edge_transform_and_lower(
            exported, partitioner=[partition.XnnpackPartitioner()]
        )
        portable = find_portable(lowered.exported_program().graph)
        content = lowered.to_executorch().buffer
        library._unsafe_reset_threadpool(threads)  # before it loads, as XNNPACK keeps what it finds
        program = runtime.load_program(content)
        loaded = Loaded(program, program.load_method("forward"), portable)
        loaded(example)
    return loaded


def find_portable(graph: fx.Graph) -> tuple[str, ...]:
    """Return the operators of a lowered network that were not given to XNNPACK."""
    calls = [node.target for node in graph.nodes if node.op == "call_function"]
    names = [getattr(target, "__name__", str(target)) for target in calls]
    return tuple(sorted({name for name in names if name not in (_DELEGATE, "getitem")}))


def remark(runner: Runner) -> str:
    """Say which operators XNNPACK did not take, if there are any."""
    portable = runner.portable if isinstance(runner, Loaded) else ()
    return f"not in XNNPACK: {', '.join(portable)}" if portable else ""
