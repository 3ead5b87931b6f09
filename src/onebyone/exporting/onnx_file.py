"""A network as an ONNX file."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.onnx.errors import OnnxExporterError

from onebyone.errors import ModelError, summary
from onebyone.exporting.quiet import quiet

READS, GIVES = "images", "scores"
"""What the input and the output are called."""


def to_onnx(
    network: nn.Module,
    example: Tensor,
    *,
    any_batch: bool = False,
    facts: Mapping[str, str] | None = None,
) -> bytes:
    """Return a network as an ONNX file.

    By the exporter that reads `torch.export`. The older one leaves the padding of EfficientNet
    apart from the convolutions, which costs ONNX Runtime a fifth of its speed there.

    Args:
        network: In evaluation; it reads one tensor.
        example: `(N, C, H, W)`, what it will read.
        any_batch: Whether it may read any number of images; else as many as the example has.
        facts: Written into the file as its metadata.

    Raises:
        ModelError: If torch cannot write the network so.
        ModuleNotFoundError: If onnxscript, which torch exports with, is not installed.
    """
    import_module("onnxscript")
    options: dict[str, Any] = {"input_names": [READS]}
    if any_batch:
        options["dynamic_shapes"] = ({0: torch.export.Dim.DYNAMIC},)
    try:
        with quiet():
            program = torch.onnx.export(network, (example,), dynamo=True, verbose=False, **options)
    except OnnxExporterError as error:  # pages of advice; the reason is what it comes from
        raise ModelError(
            f"torch cannot write it as ONNX: {summary(error.__cause__ or error)}"
        ) from error
    assert program is not None
    outputs = program.model.graph.outputs
    if len(outputs) == 1:
        outputs[0].name = GIVES
    program.model.metadata_props.update(facts or {})
    return program.model_proto.SerializeToString()
