"""A network as ONNX, for the engines that read it."""

import torch
from torch import Tensor, nn

from onebyone.exporting.onnx_file import to_onnx


class OnnxExport:
    """Write networks as ONNX, and remember the last one: several engines ask for the same."""

    def __init__(self) -> None:
        self._model: nn.Module | None = None
        self._shape = torch.Size()
        self._content = b""

    def __call__(self, model: nn.Module, example: Tensor) -> bytes:
        """Return the ONNX file of a network, for images of the example's shape.

        Raises:
            ModelError: If torch cannot write the network so.
            ModuleNotFoundError: If onnxscript, which torch exports with, is not installed.
        """
        if model is not self._model or example.shape != self._shape:
            self._content = to_onnx(model, example)
            self._model, self._shape = model, example.shape
        return self._content
