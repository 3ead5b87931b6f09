"""ncnn."""

import subprocess
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from onebyone.bench.engine import Engine, Runner
from onebyone.bench.onnx_export import OnnxExport
from onebyone.errors import EngineError

PACKAGE = "ncnn"
NEEDS = ("pnnx", "onnx", "onnxscript")

_HALF = (
    "use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic",
    "use_bf16_packed", "use_bf16_storage",
)  # fmt: skip
"""What would let it compute with 16 bits; the fp16s are on by default."""


def engines(export: OnnxExport) -> tuple[Engine, ...]:
    """Return the engine, in float32, for networks as they are exported for one image."""

    def build(model: nn.Module, example: Tensor, threads: int) -> Runner:
        for package in (PACKAGE, "pnnx"):  # what is missing is said before the export
            import_module(package)
        with TemporaryDirectory(prefix="onebyone-") as folder:
            files = convert(export(model, example[:1]), example[:1], Path(folder))
            return load(*files, threads)

    return (Engine(PACKAGE, build),)


def convert(content: bytes, example: Tensor, folder: Path) -> tuple[Path, Path]:
    """Turn an ONNX file into ncnn's two, layers and weights, with its converter, pnnx.

    Raises:
        EngineError: If that cannot.
    """
    program = import_module("pnnx").EXEC_PATH
    source, layers, weights = (folder / name for name in ("net.onnx", "net.param", "net.bin"))
    source.write_bytes(content)
    shape = ",".join(map(str, example.shape))
    # It writes several files more, beside the source.
    command = [program, source, f"inputshape=[{shape}]f32", "fp16=0"]
    done = subprocess.run(
        [*command, f"ncnnparam={layers}", f"ncnnbin={weights}"],
        cwd=folder,
        capture_output=True,
        check=False,
    )
    if done.returncode or not (layers.exists() and weights.exists()):
        raise EngineError(f"its converter, pnnx, gave up with status {done.returncode}")
    return layers, weights


def load(layers: Path, weights: Path, threads: int) -> Runner:
    """Load a network into ncnn, in float32 throughout.

    The rest is its default, and how its own benchmark has it: Winograd and matrix products for
    convolutions, activations packed by vectors, memory given back as soon as possible, threads of
    OpenMP. It takes one image at a time; a batch is one after the other.

    Raises:
        EngineError: If it has no such layers.
    """
    ncnn = import_module("ncnn")
    network = ncnn.Net()
    network.opt.num_threads = threads
    for option in _HALF:
        setattr(network.opt, option, False)
    if network.load_param(str(layers)) or network.load_model(str(weights)):
        raise EngineError("it cannot load what its converter, pnnx, has made of the network")
    [source], [result] = network.input_names(), network.output_names()

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(np.stack([run_one(image) for image in images.numpy()]))

    def run_one(image: Any) -> Any:
        extractor = network.create_extractor()
        extractor.input(source, ncnn.Mat(image))
        status, output = extractor.extract(result)
        if status:
            raise EngineError(f"it failed with status {status}")
        return np.array(output)

    return run
