"""A library tried in this process, and what it must give elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from onebyone.compiler.library.facts import TensorFacts
from onebyone.compiler.library.plan import LibraryPlan
from onebyone.compiler.target import can_run
from onebyone.compiler.threads import usable_cores
from onebyone.graph import interpret
from onebyone.native import NativeNetwork, open_native

Results = Mapping[int, Sequence[Tensor]]
"""What a library gives, by the number of images that it was called with."""


@dataclass(frozen=True, slots=True)
class Golden:
    """Random numbers to run on, and what PyTorch gives for them in float64.

    Args:
        inputs: Of the smallest call.
        outputs: Of the smallest call.
        more: Inputs of the largest call that is tried, which begin with these.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    more: tuple[Tensor, ...]

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
    given = tuple(inputs[names.index(one.name)] for one in plan.inputs)
    most = max(plan.tried)
    return Golden(
        given,
        tuple(_as_in_memory(by_name[one.name], one.strides) for one in plan.outputs),
        tuple(map(partial(_grown, most, generator), plan.inputs, given)),
    )


def _grown(images: int, generator: torch.Generator, facts: TensorFacts, tensor: Tensor) -> Tensor:
    """Return an input with further images behind its own."""
    if not facts.per_image:
        return tensor
    more = torch.randn(images - len(tensor), *tensor.shape[1:], generator=generator)
    return torch.cat([tensor, more])


def first_images(
    images: int, facts: Sequence[TensorFacts], tensors: Sequence[Tensor]
) -> list[Tensor]:
    """Return the part of inputs or outputs that the first images have."""
    return [
        tensor[:images] if one.per_image else tensor
        for one, tensor in zip(facts, tensors, strict=True)
    ]


def _as_in_memory(tensor: Tensor, strides: tuple[int, ...]) -> Tensor:
    """Return a tensor with the strides of the interface."""
    found = torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype)
    return found.copy_(tensor)


def try_targets(plan: LibraryPlan, folder: Path, given: Golden) -> dict[str, Results]:
    """Return what each target that can run here gives; keep its bits for the self-test."""
    found: dict[str, Results] = {}
    for name in (one.target.name for one in plan.targets if can_run(one.target)):
        with open_native(folder, target=name, threads=usable_cores()) as network:
            found[name] = {
                images: _run(network, first_images(images, plan.inputs, given.more))
                for images in plan.tried
            }
        for index, tensor in enumerate(found[name][plan.batch]):
            write_numbers(folder / "selftest" / f"output{index}.{name}.f32", tensor)
    return found


def _run(network: NativeNetwork, inputs: Sequence[Tensor]) -> list[Tensor]:
    return [torch.from_numpy(one) for one in network.run([tensor.numpy() for tensor in inputs])]
