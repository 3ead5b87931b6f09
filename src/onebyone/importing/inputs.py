"""What a file's network reads: tensors whose sizes are known, once an image's size is given."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from onebyone.errors import ModelError, ShapeError

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

Size = tuple[int, int]
"""Height and width."""

COLOURS = (1, 3, 4)
"""How many channels images have: a last dimension of so many says that channels come last."""

BATCH = "batch"
"""What an open number of images is called, whatever the file calls it."""

SEED = 0


@dataclass(frozen=True, slots=True)
class Input:
    """A tensor that a network reads.

    Attributes:
        name: What the file calls it.
        shape: Its sizes; an open first one, the batch, is 1.
        dtype: Type of its numbers.
        any_batch: Whether the file leaves the first size open.
        channels_last: Whether it is an image as `(N, H, W, C)`, as TensorFlow has them.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    any_batch: bool
    channels_last: bool

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """Channels, height and width of an image in float32; None if it is something else."""
        if len(self.shape) != 4 or self.dtype != torch.float32:
            return None
        _, first, second, third = self.shape
        return (third, first, second) if self.channels_last else (first, second, third)

    def example(self) -> Tensor:
        """Return random numbers to try the network on, the same at each call."""
        generator = torch.Generator().manual_seed(SEED)
        if self.dtype.is_floating_point:
            return torch.randn(self.shape, generator=generator).to(self.dtype)
        return torch.randint(0, 2, self.shape, generator=generator).to(self.dtype)


def fix_inputs(model: "ModelProto", size: Size | None) -> tuple[Input, ...]:
    """Give the images that a file's network reads a size, in place, and return what it reads.

    Args:
        model: The file; the batch stays open where it is.
        size: Height and width for images whose size the file leaves open.

    Raises:
        ShapeError: If the file leaves sizes open and none are given, or none that can be, or if it
            has other sizes than those given.
        ModelError: If it reads something else than tensors of numbers.
    """
    known = {tensor.name for tensor in model.graph.initializer}
    given = [value for value in model.graph.input if value.name not in known]
    found = tuple(_fixed(value, size) for value in given)
    if not found:
        raise ModelError("its network reads nothing, and one that reads images was wanted")
    # What was inferred for open sizes may say less than what can be now.
    del model.graph.value_info[:]
    return found


def _fixed(value: "ValueInfoProto", size: Size | None) -> Input:
    kind = value.type.tensor_type
    dtype = _dtype(value)
    if not kind.HasField("shape"):
        raise ShapeError(
            f"its input {value.name!r} has no shape; export the network with one, such as "
            "(1, 3, 224, 224)"
        )
    sizes = [dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim]
    any_batch = bool(sizes) and sizes[0] is None
    channels_last = _is_channels_last(sizes)
    rows = 1 if channels_last else 2
    if len(sizes) == 4:
        sizes[rows : rows + 2] = _sized(value.name, sizes[rows : rows + 2], size)
    if any_batch:
        sizes[0] = 1
    shape = tuple(side for side in sizes if side is not None)
    if len(shape) < len(sizes):
        raise ShapeError(
            f"its input {value.name!r} is {shown(kind)}, and only the batch, height and width of "
            "images can be fixed here; export the network with the other sizes fixed"
        )
    for index, dim in enumerate(kind.shape.dim):
        if index or not any_batch:
            dim.dim_value = shape[index]
    if any_batch:
        kind.shape.dim[0].dim_param = BATCH
    return Input(value.name, shape, dtype, any_batch, channels_last)


def _sized(name: str, own: Sequence[int | None], size: Size | None) -> Size:
    """Return height and width: those of the file where it has them, else those given."""
    if None in own and size is None:
        sides = "x".join(str(side or "?") for side in own)
        raise ShapeError(
            f"its input {name!r} leaves the size of images open ({sides}); say it behind the "
            "file's name, such as net.onnx:224 or net.onnx:480x640 (height, width), or as "
            "from_onnx(path, size=(480, 640))"
        )
    height, width = (side or wanted for side, wanted in zip(own, size or own, strict=True))
    if size not in (None, (height, width)):
        raise ShapeError(
            f"its input {name!r} reads images of {height}x{width}, and {size[0]}x{size[1]} was "
            "asked for; leave the size away, or export the network with open sizes"
        )
    assert height is not None
    assert width is not None
    return height, width


def _is_channels_last(sizes: Sequence[int | None]) -> bool:
    return len(sizes) == 4 and sizes[3] in COLOURS and sizes[1] not in COLOURS


def _dtype(value: "ValueInfoProto") -> torch.dtype:
    from onnx import TensorProto
    from onnx.helper import tensor_dtype_to_np_dtype

    kind = value.type.tensor_type.elem_type
    if value.type.WhichOneof("value") == "tensor_type" and kind not in (0, TensorProto.STRING):
        name = tensor_dtype_to_np_dtype(kind).name
        if isinstance(dtype := getattr(torch, name, None), torch.dtype):
            return dtype
    raise ModelError(
        f"its input {value.name!r} is no tensor of numbers, and one that PyTorch has was wanted"
    )


def shown(kind: "object") -> str:
    """Return the shape of a tensor as the file has it, such as (batch, 3, ?, ?)."""
    dims = kind.shape.dim  # pyright: ignore[reportAttributeAccessIssue]
    words = (str(dim.dim_value) if dim.dim_value > 0 else dim.dim_param or "?" for dim in dims)
    return f"({', '.join(words)})"
