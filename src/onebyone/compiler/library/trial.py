"""A library tried in this process, and what it must give elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from onebyone.compiler.library.plan import LibraryPlan
from onebyone.compiler.target import can_run
from onebyone.graph import interpret
from onebyone.native import open_native


@dataclass(frozen=True, slots=True)
class Golden:
    """Random numbers to run on, and what PyTorch gives for them in float64."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def deviation_of(self, outputs: Sequence[Tensor]) -> float:
        """Return how far results are from these: relative root mean square, of the worst."""
        return max(map(_deviation, outputs, self.outputs))

    def write(self, folder: Path) -> None:
        """Write them as `selftest.c` reads them: plain float32."""
        for kind, tensors in (("input", self.inputs), ("output", self.outputs)):
            for index, tensor in enumerate(tensors):
                write_numbers(folder / f"{kind}{index}.f32", tensor)


def _deviation(given: Tensor, wanted: Tensor) -> float:
    difference = float((given.double() - wanted).norm())
    return difference / float(wanted.norm()) if difference else 0.0


def write_numbers(file: Path, tensor: Tensor) -> None:
    """Write float32 numbers in the order in which they lie in memory."""
    ordered = tensor.permute(_outermost_first(tensor))
    file.write_bytes(ordered.float().contiguous().numpy().tobytes())


def _outermost_first(tensor: Tensor) -> list[int]:
    """Return axes in the order of their strides; those of size 1 stay where they are."""
    return sorted(range(tensor.dim()), key=lambda axis: -tensor.stride(axis))


def golden(plan: LibraryPlan) -> Golden:
    """Make up what a library is tried on."""
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(node.shape, generator=generator) for node in plan.graph.inputs]
    with torch.no_grad():
        results = interpret(plan.graph, inputs, dtype=torch.float64)
    names = [node.name for node in plan.graph.inputs]
    by_name = dict(
        zip(reversed([ref.name for ref in plan.graph.outputs]), reversed(results), strict=True)
    )
    return Golden(
        tuple(inputs[names.index(one.name)] for one in plan.inputs),
        tuple(_as_in_memory(by_name[one.name], one.strides) for one in plan.outputs),
    )


def _as_in_memory(tensor: Tensor, strides: tuple[int, ...]) -> Tensor:
    """Return a tensor with the strides of the interface."""
    found = torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype)
    return found.copy_(tensor)


def try_targets(plan: LibraryPlan, folder: Path, given: Golden) -> dict[str, list[Tensor]]:
    """Return what each target gives that this processor can run; keep its bits for the self-test.

    Raises:
        ModelError: If it is too far from what PyTorch gives.
    """
    found: dict[str, list[Tensor]] = {}
    for one in plan.targets:
        if not can_run(one.target):
            continue
        with open_native(folder, target=one.target.name) as network:
            results = network.run([tensor.numpy() for tensor in given.inputs])
        found[one.target.name] = [torch.from_numpy(result) for result in results]
        for index, tensor in enumerate(found[one.target.name]):
            write_numbers(folder / "selftest" / f"output{index}.{one.target.name}.f32", tensor)
    return found
