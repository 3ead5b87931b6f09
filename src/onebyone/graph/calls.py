"""What a trace is made of: values and the operator calls between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch._ops import OpOverload


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor that depends on the inputs.

    Args:
        shape: Of the tensor.
        dtype: Type of its numbers.
        is_contiguous: Whether they lay in the order of its indices, without gaps; an operator that
            the trace called may need that.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    is_contiguous: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One operator that was called.

    Args:
        target: Always one that changes none of its arguments.
        args: As PyTorch got them; a `Value` stands for a tensor that depends on the inputs.
        kwargs: The same, by name.
        outputs: A `Value` for each tensor that came out.
        has_many: Whether the operator returns a tuple or a list, and not one tensor.
        path: Module that called it, such as `layer1.0.conv1`.
    """

    target: OpOverload
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[Value | None, ...]
    has_many: bool
    path: str
