"""One operator call, and all that turning it into nodes needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from onebyone.graph.builder import GraphBuilder, Seen
from onebyone.graph.calls import Call, Value


@dataclass(frozen=True, slots=True)
class Site:
    """One call, and all that its converter needs.

    Args:
        builder: Where nodes go.
        call: The call.
        seen: What is known of every `Value`.
        used: Those that someone reads.
        given: The call's arguments by name, defaults included.
    """

    builder: GraphBuilder
    call: Call
    seen: Mapping[Value, Seen]
    used: set[Value]
    given: Mapping[str, Any]

    def value(self, name: str) -> Seen | None:
        """Return the tensor of that name, if it depends on the inputs."""
        value = self.given.get(name)
        return self.seen[value] if isinstance(value, Value) else None

    def known(self, *names: str) -> bool:
        """Whether these arguments are real float32 tensors, or left out."""
        values = [self.given[name] for name in names]
        return all(
            v is None or (isinstance(v, Tensor) and v.dtype == torch.float32) for v in values
        )

    @property
    def result(self) -> Value:
        """The (first) tensor that comes out."""
        value = self.call.outputs[0]
        assert value is not None
        return value

    @property
    def is_single(self) -> bool:
        """Whether nobody reads more than the first result."""
        return not any(value in self.used for value in self.call.outputs[1:])


Converter = Callable[[Site], Seen | list[Seen] | None]
"""Adds the nodes of a call; None where its sizes, types or options have no node."""


def is_float(site: Site) -> bool:
    """Whether what comes out is float32."""
    return site.result.dtype == torch.float32


def pair(values: list[int], default: list[int] | None = None) -> tuple[int, int]:
    """Return height and width of what PyTorch gives as `[both]` or `[height, width]`."""
    values = list(values) or list(default or ())
    return (values[0], values[-1])
