"""OpenVINO."""

from importlib import import_module

import torch
from torch import Tensor, nn

from onebyone.bench.engine import Engine, Runner
from onebyone.bench.onnx_export import OnnxExport

PACKAGE = "openvino"
NEEDS = ("onnx", "onnxscript")


def engine(export: OnnxExport) -> Engine:
    """Return the engine, for networks as they are exported."""

    def build(model: nn.Module, example: Tensor, threads: int) -> Runner:
        return load(export(model, example), threads)

    return Engine(PACKAGE, build)


def load(content: bytes, threads: int) -> Runner:
    """Load an ONNX file into OpenVINO, for one image after the other, in float32 throughout.

    Arrays are shared both ways and not copied.
    """
    ov = import_module("openvino")
    core = ov.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # it would take bfloat16 where the CPU has it
        "INFERENCE_NUM_THREADS": threads,
    }
    compiled = core.compile_model(core.read_model(content, b""), "CPU", settings)
    request = compiled.create_infer_request()

    def run(images: Tensor) -> Tensor:
        results = request.infer({0: images.numpy()}, share_inputs=True, share_outputs=True)
        return torch.from_numpy(results[0])

    return run
