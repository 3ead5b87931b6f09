"""OpenVINO."""

from importlib import import_module

import torch
from torch import Tensor, nn

from onebyone.bench.peers.engine import Build, Runner
from onebyone.bench.peers.onnx_file import OnnxExport


def builder(export: OnnxExport) -> Build:
    """Return what makes networks ready for OpenVINO."""

    def build(model: nn.Module, example: Tensor, threads: int) -> Runner:
        return load(export(model, example), threads)

    return build


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
