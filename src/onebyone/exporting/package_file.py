"""A network as PyTorch's own package, `.pt2`: what `torch.export.load` reads."""

from collections.abc import Mapping
from io import BytesIO

import torch
from torch import Tensor, nn

from onebyone.errors import ModelError, summary
from onebyone.exporting.quiet import quiet


def to_package(
    network: nn.Module,
    example: Tensor,
    *,
    any_batch: bool = False,
    facts: Mapping[str, str] | None = None,
) -> bytes:
    """Return a network as a package.

    Args:
        network: In evaluation; it reads one tensor.
        example: `(N, C, H, W)`, what it will read.
        any_batch: Whether it may read any number of images; else as many as the example has.
        facts: Written beside it: what `torch.export.load(…, extra_files=…)` gives by name.

    Raises:
        ModelError: If torch cannot export the network.
    """
    shapes = ({0: torch.export.Dim.DYNAMIC},) if any_batch else None
    content = BytesIO()
    try:
        with quiet():
            program = torch.export.export(network, (example,), dynamic_shapes=shapes)
            torch.export.save(program, content, extra_files=dict(facts or {}))
    except Exception as error:
        raise ModelError(f"torch.export cannot write it: {summary(error)}") from error
    return content.getvalue()
