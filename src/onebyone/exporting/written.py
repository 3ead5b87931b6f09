"""What was written, read again: whether it gives what the network gives."""

from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from onebyone.errors import ModelError, summary
from onebyone.exporting.formats import Format
from onebyone.exporting.quiet import quiet
from onebyone.packages import is_installed


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A file that was written.

    Attributes:
        out: The file.
        format: What it is.
        size_bytes: Of the file.
        shape: `(N, C, H, W)` of what it reads; N is 0 if it reads any number of images.
        deviation: Relative root mean square of what the file gives, read again, from what the
            network gives; None if it could not be run here.
    """

    out: Path
    format: Format
    size_bytes: int
    shape: tuple[int, ...]
    deviation: float | None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self) | {"out": str(self.out)}


def deviation_of(content: bytes, to: Format, network: nn.Module, images: Tensor) -> float | None:
    """Return how far a file gives something else than its network; of several outputs, the first.

    Args:
        content: Of the file.
        to: Its format.
        network: That it was made of.
        images: To run both on.

    Raises:
        ModelError: If the file does not run.
    """
    given = _run_onnx(content, images) if to == "onnx" else _run_package(content, images)
    if given is None:
        return None
    with torch.inference_mode():
        wanted = tree_leaves(network(images))[0].double()
    if torch.equal(given, wanted):
        return 0.0  # of zeros too, to which nothing is relative
    return float((given - wanted).norm() / wanted.norm())


def _run_onnx(content: bytes, images: Tensor) -> Tensor | None:
    if not is_installed("onnxruntime"):
        return None
    from onnxruntime import InferenceSession

    try:
        session = InferenceSession(content, providers=["CPUExecutionProvider"])
        (reads,) = session.get_inputs()
        found = session.run(None, {reads.name: images.numpy()})
    except Exception as error:  # its kinds have no root of their own
        raise ModelError(
            f"what torch wrote as onnx does not run in ONNX Runtime: {summary(error)}"
        ) from error
    return torch.from_numpy(found[0]).double()


def _run_package(content: bytes, images: Tensor) -> Tensor:
    with quiet(), torch.inference_mode():
        found = torch.export.load(BytesIO(content)).module()(images)
    return tree_leaves(found)[0].double()
