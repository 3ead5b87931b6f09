"""A network as ONNX, for the engines that read it."""

from importlib import import_module

import torch
from torch import Tensor, nn
from torch.onnx.errors import OnnxExporterError

from onebyone.bench.peers.quiet import quiet
from onebyone.errors import ModelError, summary


class OnnxExport:
    """Write networks as ONNX, and remember the last one: several engines ask for the same."""

    def __init__(self) -> None:
        self._model: nn.Module | None = None
        self._shape = torch.Size()
        self._content = b""

    def __call__(self, model: nn.Module, example: Tensor) -> bytes:
        """Return the ONNX file of a network, for images of the example's shape.

        By the exporter that reads `torch.export`. The older one leaves the padding of EfficientNet
        apart from the convolutions, which costs ONNX Runtime a fifth of its speed there.

        Raises:
            ModelError: If torch cannot write the network so.
            ModuleNotFoundError: If onnxscript, which torch exports with, is not installed.
        """
        if model is not self._model or example.shape != self._shape:
            import_module("onnxscript")
            try:
                with quiet():
                    program = torch.onnx.export(model, (example,), dynamo=True, verbose=False)
            except OnnxExporterError as error:  # pages of advice; the reason is what it comes from
                raise ModelError(
                    f"torch cannot write it as ONNX: {summary(error.__cause__ or error)}"
                ) from error
            assert program is not None
            self._content = program.model_proto.SerializeToString()
            self._model, self._shape = model, example.shape
        return self._content
