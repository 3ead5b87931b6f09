"""OpenVINO."""

from importlib import import_module

import torch
from torch import Tensor, nn

from onebyone.bench.engine import Engine, Runner
from onebyone.bench.numerics import BF16, FP32
from onebyone.bench.onnx_export import OnnxExport

PACKAGE = "openvino"
NEEDS = ("onnx", "onnxscript")


PRECISIONS = {FP32: "f32", BF16: "bf16"}
"""What it is told to compute with; untold, it would take bfloat16 where the CPU has it."""


def engines(export: OnnxExport) -> tuple[Engine, ...]:
    """Return the engine in each of its precisions, for networks as they are exported."""
    return tuple(_engine(export, numerics) for numerics in PRECISIONS)


def _engine(export: OnnxExport, numerics: str) -> Engine:
    def build(model: nn.Module, example: Tensor, threads: int) -> Runner:
        return load(export(model, example), threads, PRECISIONS[numerics])

    return Engine(PACKAGE, build, numerics=numerics)


def load(content: bytes, threads: int, precision: str) -> Runner:
    """Load an ONNX file into OpenVINO, for one image after the other, in one precision throughout.

    Images and scores are float32. Arrays are shared both ways and not copied.
    """
    ov = import_module("openvino")
    core = ov.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
    }
    compiled = core.compile_model(core.read_model(content, b""), "CPU", settings)
    request = compiled.create_infer_request()

    def run(images: Tensor) -> Tensor:
        results = request.infer({0: images.numpy()}, share_inputs=True, share_outputs=True)
        return torch.from_numpy(results[0])

    return run
