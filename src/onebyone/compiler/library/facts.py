"""What a library tells of itself: its name, its tensors, and how images become its input."""

import math
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from onebyone.errors import ShapeError
from onebyone.graph import Graph, Ref, Shape, View


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Say how to feed a network and read its scores; empty where nobody knows.

    Args:
        mean: Of each channel, on a scale of 0 to 1.
        deviation: Of each channel, likewise.
        classes: A name for each score.
    """

    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that there are as many means as deviations."""
        if len(self.mean) != len(self.deviation):
            raise ShapeError(
                f"`mean` (={self.mean}) and `deviation` (={self.deviation}) must be as many"
            )


NOTHING_KNOWN = About()


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFacts:
    """A tensor of the interface.

    Args:
        name: Of the node that it is the value of.
        shape: As PyTorch sees it, in the smallest call.
        strides: Numbers between neighbours along each axis.
        per_image: Numbers for each image of a call; 0 if it is the same for any number of them.
        slot: Its place among those of the machine code.
    """

    name: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    per_image: int
    slot: int


def input_facts(graph: Graph, takes: Sequence[str], growing: Set[str]) -> tuple[TensorFacts, ...]:
    """Return the inputs that native code takes, in the order of the call.

    Those that are `growing` have a part for each image.
    """
    return tuple(
        TensorFacts(
            name=node.name,
            shape=node.shape,
            strides=_strides(node.shape),
            per_image=math.prod(node.shape[1:]) if node.name in growing else 0,
            slot=takes.index(node.name),
        )
        for node in graph.inputs
        if node.name in takes
    )


def output_facts(graph: Graph, gives: Sequence[str], growing: Set[str]) -> tuple[TensorFacts, ...]:
    """Return the outputs that native code gives, in the order of the result, each once.

    Those that are `growing` have a part for each image.
    """
    refs = {ref.name: ref for ref in reversed(graph.outputs)}
    names = dict.fromkeys(ref.name for ref in graph.outputs)
    return tuple(
        _output(refs[name], graph[name].shape, gives.index(name), grows=name in growing)
        for name in names
    )


def _output(ref: Ref, value: Shape, slot: int, *, grows: bool) -> TensorFacts:
    """Describe a value `(N, C, H, W)` as its reader sees it."""
    strides = _strides(value)
    axes = {View.NCHW: (0, 1, 2, 3), View.NHWC: (0, 2, 3, 1), View.NC: (0, 1)}[ref.view]
    return TensorFacts(
        name=ref.name,
        shape=tuple(value[axis] for axis in axes),
        strides=tuple(strides[axis] for axis in axes),
        per_image=math.prod(value[1:]) if grows else 0,
        slot=slot,
    )


def _strides(shape: Sequence[int]) -> tuple[int, ...]:
    found, step = [], 1
    for size in reversed(shape):
        found.append(step)
        step *= size
    return tuple(reversed(found))


def batch_of(shapes: Iterable[Shape]) -> int:
    """Return the images of a call; 1 where inputs do not agree, and a call is one of anything."""
    counts = {shape[0] for shape in shapes}
    return counts.pop() if len(counts) == 1 else 1


def treats_images_apart(graph: Graph, batch: int) -> bool:
    """Whether a call on several times as many images is several calls.

    So it is where each value has a part for each image: no operation of the graph's reads another
    image's part.
    """
    constants = {node.name for node in graph if node.kind == "constant"}
    return all(node.shape[0] == batch for node in graph if node.name not in constants)
