"""LiteRT, formerly TensorFlow Lite, with XNNPACK."""

import copy
from importlib import import_module

import torch
from torch import Tensor, nn

from onebyone.bench.engine import Engine, Runner
from onebyone.bench.onnx_export import OnnxExport
from onebyone.errors import MissingPackageError
from onebyone.exporting.quiet import silent

PACKAGE = "ai-edge-litert"
CONVERTERS = ("litert-converter", "litert-torch")
"""What turns networks into its files.

No extra of ours can bring them: they ask for an xdsl that they do not import, which asks for a
typing-extensions from before pydantic's.
"""


def engines(_export: OnnxExport) -> tuple[Engine, ...]:
    """Return the engine, in float32."""
    return (Engine("litert", build),)


def build(model: nn.Module, example: Tensor, threads: int) -> Runner:
    """Convert a network for LiteRT, and load it.

    Raises:
        MissingPackageError: If it or its converter is not installed; says how both are.
    """
    with silent():  # progress, and what native code tells of itself
        try:
            import_module("ai_edge_litert")
            converter = import_module("litert_torch")
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                f"{(error.name or '').replace('_', '-')} is not installed: pip install "
                f"'onebyone[litert]', then pip install --no-deps {' '.join(CONVERTERS)}"
            ) from error
        converted = converter.convert(copy.deepcopy(model), (example,))
        return load(converted.model_content(), threads)


def load(content: bytes, threads: int) -> Runner:
    """Load a `.tflite` file into LiteRT, whose XNNPACK computes in float32 if it is not told else.

    The file is channels-last throughout, but for one transposition of its input.
    """
    interpreter = import_module("ai_edge_litert.interpreter").Interpreter(
        model_content=content, num_threads=threads
    )
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]

    def run(images: Tensor) -> Tensor:
        interpreter.set_tensor(source, images.numpy())
        interpreter.invoke()
        return torch.from_numpy(interpreter.get_tensor(result))

    return run
