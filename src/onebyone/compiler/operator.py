"""A compiled network as an operator of PyTorch's own, for tensors that are not plain memory.

Native code reads memory. What a tensor is that has none, or whose sign is still to be changed, or
that a mode watches, PyTorch's dispatcher knows: it makes shapes of fake tensors, a call in a traced
program, or plain copies, and calls one of the functions below.
"""

# pyright: reportPrivateUsage=false
# What the dispatcher knows of a tensor has no public names.
import itertools
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch._C import DispatchKey, DispatchKeySet
from torch._C._functorch import peek_interpreter_stack

from onebyone.errors import CompileError


@dataclass(frozen=True, slots=True)
class ResultFacts:
    """What is known of a result before it has been computed."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype


class Network(Protocol):
    """A compiled network, as the dispatcher needs it."""

    def results(self) -> Sequence[ResultFacts]:
        """Return what is known of each result."""
        ...

    def run(self, tensors: list[Tensor]) -> list[Tensor]:
        """Run it on plain tensors; results are new ones."""
        ...


def _ordinary_keys() -> int:
    """Return what the dispatcher has to do for dense tensors on the CPU, a bit for each thing."""
    keys = 0
    for key in (
        DispatchKey.CPU,
        DispatchKey.ADInplaceOrView,
        DispatchKey.AutogradCPU,
        DispatchKey.AutocastCPU,
    ):
        keys |= DispatchKeySet(key).raw_repr()
    return keys


_STRANGE = ~_ordinary_keys()

_networks: weakref.WeakValueDictionary[int, Network] = weakref.WeakValueDictionary()
_numbers = itertools.count()


def register_network(network: Network) -> int:
    """Return a number by which `call_network` finds a network, as long as someone else keeps it."""
    number = next(_numbers)
    _networks[number] = network
    return number


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is what it says, numbers in the CPU's memory, and dense."""
    return not torch._C._dispatch_keys(tensor).raw_repr() & _STRANGE


def is_transformed() -> bool:
    """Whether a transform of `torch.func` is on, which hides what tensors are."""
    return bool(peek_interpreter_stack())


def is_watched() -> bool:
    """Whether a mode or a trace of PyTorch's follows what is called here."""
    return torch._C._len_torch_dispatch_stack() > 0 or bool(torch._C._get_tracing_state())


def call_network(number: int, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Call a network through PyTorch's dispatcher."""
    return torch.ops.onebyone.run.default(list(tensors), number)


def _run(inputs: list[Tensor], number: int) -> list[Tensor]:
    return _find(number).run(inputs)


def _shapes(inputs: list[Tensor], number: int) -> list[Tensor]:  # noqa: ARG001
    return [
        torch.empty_strided(result.shape, result.strides, dtype=result.dtype, device="meta")
        for result in _find(number).results()
    ]


def _find(number: int) -> Network:
    network = _networks.get(number)
    if network is None:
        raise CompileError(
            "the compiled network that a traced program calls is gone; keep it as long as the "
            "program, and trace the program anew in each process"
        )
    return network


_library = torch.library.Library("onebyone", "DEF")
_library.define("run(Tensor[] inputs, int network) -> Tensor[]")
_library.impl("run", _run, "CPU")
_library.impl("run", _shapes, "Meta")
