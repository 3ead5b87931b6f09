"""ONNX Runtime."""

from importlib import import_module

import torch
from torch import Tensor, nn

from onebyone.bench.engine import Engine, Runner
from onebyone.bench.onnx_export import OnnxExport

PACKAGE = "onnxruntime"
NEEDS = ("onnx", "onnxscript")

_ERRORS_ONLY = 3


def engines(export: OnnxExport) -> tuple[Engine, ...]:
    """Return the engine, in float32, for networks as they are exported."""

    def build(model: nn.Module, example: Tensor, threads: int) -> Runner:
        return load(export(model, example), threads)

    return (Engine(PACKAGE, build),)


def load(content: bytes, threads: int, *, level: str = "ORT_ENABLE_ALL") -> Runner:
    """Load an ONNX file into ONNX Runtime.

    With every optimisation, one operator after the other, and threads that spin for a while when
    they have nothing to do, which is the default and the faster setting. A plain `run` on arrays
    that share torch's memory takes as long as one with bound inputs and outputs.

    Args:
        content: The ONNX file.
        threads: Threads, the calling one included.
        level: Name of one of ONNX Runtime's levels of optimisation.
    """
    ort = import_module("onnxruntime")
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: images.numpy()})[0])

    return run
