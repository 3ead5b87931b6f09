"""How far a network is from being linear, and what its 1x1s have to do with it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onebyone.bench.measure import Watch, unwatched
from onebyone.errors import ModelError
from onebyone.explainer.samples import Images, check_images
from onebyone.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Convolution,
    Function,
    Graph,
    LayerNorm,
    Node,
    Opaque,
    interpret_nodes,
)
from onebyone.graph.functions import FUNCTIONS
from onebyone.graph.graph import Same

SEGMENTS = 4
"""Segments that are gone along, if there are images enough."""

FEWEST_STEPS = 8
MOST_STEPS = 1024
"""Parts that a segment is cut into: at first, and at most."""

SETTLED = 0.03
"""Growth of the count below which a segment is not cut any finer."""

MAX_WORK = 600 * 10**9
"""Multiply-adds that all segments may take. It is what cuts large networks' segments less finely,
by what they are and not by how fast the machine is."""

WORK_PER_UNIT = 200
"""Multiply-adds that take as long as what is done for each unit of an activation: it is moved by
convolution, norm and activation, compared and packed."""

Bits = NDArray[np.uint8]
Ends = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationLayer:
    """One layer of activations.

    Attributes:
        name: Of its node in the graph.
        path: Module that it came from.
        function: Such as "relu6".
        units: Numbers that it is applied to, for one image.
        behind_pointwise: Whether what it is applied to comes from a 1x1 convolution, through norms
            at most.
        changes: How often its units change from one linear piece to the next along a segment, the
            mean over segments; None where its function has no linear pieces (SiLU, GELU, and
            hardswish, which is curved between its breakpoints), and where nothing was gone along.
    """

    name: str
    path: str
    function: str
    units: int
    behind_pointwise: bool
    changes: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nonlinearity:
    """How often a network bends on the way from one image to another.

    Attributes:
        layers: In the order in which they run.
        segments: How many segments between images were gone along; 0 where only units were counted.
        steps: Parts that each segment was cut into; changes that undo each other within one part
            are not seen, and so the numbers of changes are a little too small.
        growth: Part of `changes` that was not seen yet with half as many steps: what is still not
            seen is of that order. None where nothing was gone along.
        changes: Changes of all units along a segment, mean; the network has about as many linear
            pieces on the way, and one more, besides those that max pooling makes. None where
            nothing was gone along, or no function has linear pieces.
        changes_without: The same for the network without the activations behind its 1x1s. None as
            well where its numbers get too large.
    """

    layers: tuple[ActivationLayer, ...]
    segments: int
    steps: int
    growth: float | None
    changes: float | None
    changes_without: float | None

    @property
    def units(self) -> int:
        """Numbers that activations are applied to, for one image."""
        return sum(layer.units for layer in self.layers)


def count_activations(graph: Graph) -> Nonlinearity:
    """Count the units of each layer of activations, and run nothing.

    Args:
        graph: As it was captured, or rewritten.
    """
    apart = _set_apart(graph)
    return Nonlinearity(
        layers=tuple(_layer(apart, bend, None) for bend in _bends(apart)),
        segments=0,
        steps=0,
        growth=None,
        changes=None,
        changes_without=None,
    )


def measure_nonlinearity(
    graph: Graph,
    images: Images,
    *,
    segments: int = SEGMENTS,
    most_steps: int | None = None,
    watch: Watch = unwatched,
) -> Nonlinearity:
    """Count how often units change from one linear piece to the next, from image to image.

    A segment runs straight from one image to the next, in the numbers that the network reads. It is
    cut into parts, twice as many each time, until the count of the first segment hardly grows; what
    is counted are the breakpoints that lie between what a unit is applied to at one end of a part
    and at the other. Each count is thus a lower bound, which more steps only raise. The piece that
    max pooling takes is not counted.

    Args:
        graph: As it was captured, for one image.
        images: Segments are those from the first to the second, the third to the fourth, and so on.
        segments: How many at most.
        most_steps: Parts that a segment is cut into at most; as many as `MAX_WORK` allows if None.
        watch: Shows a person how far it has come.

    Raises:
        ShapeError: If the images are not what the network reads.
        ModelError: If it computes numbers that are not finite.

    Source: Hanin and Rolnick, arXiv 1901.09021 and 1906.00904, which count exactly, in small
    networks.
    """
    check_images(graph, images)
    pairs = [(images[i], images[i + 1]) for i in range(0, len(images) - 1, 2)][:segments]
    apart = _set_apart(graph)
    bends = [bend for bend in _bends(apart) if bend.breakpoints is not None]
    if not pairs or not bends:
        return count_activations(graph)
    most_steps = most_steps or _affordable_steps(graph, len(pairs))
    try:
        walks: list[_Walk] = []
        for pair in watch(pairs, "counting bends"):
            if walks:
                walks.append(_walk(apart, bends, pair, walks[0].steps))
            else:
                walks.append(_settle(apart, bends, pair, most_steps))
    except OverflowError as error:
        raise ModelError(
            f"{error}: numbers that are not finite come here on these images; weights that were "
            "trained were wanted, and images prepared as for the training"
        ) from error
    changes = _mean([walk.changes for walk in walks])
    total = sum(changes.values())
    seen_before = sum(_mean([walk.seen_before for walk in walks]).values())
    return Nonlinearity(
        layers=tuple(_layer(apart, bend, changes.get(bend.name)) for bend in _bends(apart)),
        segments=len(pairs),
        steps=walks[0].steps,
        growth=1 - seen_before / total if total else 0.0,
        changes=total,
        changes_without=_changes_without(apart, pairs, walks[0].steps, watch),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bend:
    """One layer of activations, in a graph in which each is a node of its own.

    Attributes:
        name: Of its node.
        reads: Name of the node whose value it is applied to.
        function: What it is called.
        breakpoints: Where one linear piece ends and the next begins; None if it has no such pieces.
        behind_pointwise: Whether what it reads comes from a 1x1 convolution.
    """

    name: str
    reads: str
    function: str
    breakpoints: tuple[float, ...] | None
    behind_pointwise: bool


@dataclass(frozen=True, slots=True)
class _Walk:
    """What was counted along one segment, by the names of the layers.

    Attributes:
        steps: Parts that it was cut into.
        changes: Breakpoints crossed.
        seen_before: The same with half as many steps.
    """

    steps: int
    changes: Mapping[str, int]
    seen_before: Mapping[str, int]

    @property
    def growth(self) -> float:
        """Part of the changes that the second half of the steps has shown."""
        total = sum(self.changes.values())
        return 1 - sum(self.seen_before.values()) / total if total else 0.0


_OPAQUE: dict[str, tuple[str, tuple[float, ...] | None]] = {
    "prelu": ("prelu", (0.0,)),
    "_prelu_kernel": ("prelu", (0.0,)),
    "elu": ("elu", None),
    "celu": ("celu", None),
    "mish": ("mish", None),
    "softplus": ("softplus", None),
}
"""PyTorch's activations that the graph has no function for: their names, and breakpoints if any."""


def _set_apart(graph: Graph) -> Graph:
    """Return the graph with a node of its own for each activation, which has the old name."""
    changes: dict[str, tuple[Node, ...]] = {}
    for node in graph:
        if isinstance(node, (Convolution, BatchNorm, Arithmetic)) and node.activation:
            before = replace(node, name=f"{node.name}.before", activation=None)
            changes[node.name] = (before, _activation(node, node.activation, before.name))
    return graph.with_changes(changes)


def _activation(node: Node, function: Function, reads: str) -> Activation:
    return Activation(
        name=node.name, inputs=(reads,), shape=node.shape, path=node.path, function=function
    )


def _bends(apart: Graph) -> list[_Bend]:
    """Return the layers of activations, in the order in which they run."""
    return [bend for node in apart if (bend := _bend(apart, node))]


def _bend(apart: Graph, node: Node) -> _Bend | None:
    if isinstance(node, Activation):
        function = str(node.function)
        pieces = FUNCTIONS[node.function.name].breakpoints
        breakpoints = pieces(node.function.parameters) if pieces else None
    elif isinstance(node, Opaque) and _operator(node) in _OPAQUE:
        function, breakpoints = _OPAQUE[_operator(node)]
    else:
        return None
    return _Bend(
        name=node.name,
        reads=node.inputs[0],
        function=function,
        breakpoints=breakpoints,
        behind_pointwise=_comes_from_pointwise(apart, node.inputs[0]),
    )


def _operator(node: Opaque) -> str:
    packet = getattr(node.target, "overloadpacket", None)
    return getattr(packet, "__name__", "")


def _comes_from_pointwise(apart: Graph, name: str) -> bool:
    node = apart[name]
    while isinstance(node, (BatchNorm, LayerNorm)):
        node = apart[node.inputs[0]]
    is_sum = len(node.inputs) > 1  # a residual is added in the same node
    return isinstance(node, Convolution) and node.is_pointwise and not (node.is_linear or is_sum)


def _layer(apart: Graph, bend: _Bend, changes: float | None) -> ActivationLayer:
    node = apart[bend.name]
    return ActivationLayer(
        name=bend.name,
        path=node.path,
        function=bend.function,
        units=prod(node.shape[1:]),
        behind_pointwise=bend.behind_pointwise,
        changes=changes,
    )


def _affordable_steps(graph: Graph, segments: int) -> int:
    """Return a power of two times `FEWEST_STEPS`."""
    macs = sum(node.macs for node in graph if isinstance(node, Convolution))
    work = macs + WORK_PER_UNIT * count_activations(graph).units
    steps = FEWEST_STEPS
    while steps < MOST_STEPS and 2 * steps * segments * work <= MAX_WORK:
        steps *= 2
    return steps


def _settle(apart: Graph, bends: Sequence[_Bend], pair: Ends, most_steps: int) -> _Walk:
    """Go along a segment in more and more steps, until they show little more."""
    walk = _walk(apart, bends, pair, min(FEWEST_STEPS, most_steps))
    while walk.steps < most_steps and walk.growth > SETTLED:
        walk = _walk(apart, bends, pair, min(2 * walk.steps, most_steps))
    return walk


def _walk(apart: Graph, bends: Sequence[_Bend], pair: Ends, steps: int) -> _Walk:
    """Count the breakpoints that lie between one end of a part and the other, part by part.

    Raises:
        OverflowError: If numbers get too large, or are none.
    """
    start, end = pair
    last = before_last = _look(apart, bends, start)
    changes, seen_before = Counter[str](), Counter[str]()
    for step in range(1, steps + 1):
        here = _look(apart, bends, torch.lerp(start, end, step / steps))
        _count(changes, last, here)
        last = here
        if step % 2 == 0 or step == steps:
            _count(seen_before, before_last, here)
            before_last = here
    return _Walk(steps, changes, seen_before)


def _look(apart: Graph, bends: Sequence[_Bend], image: Tensor) -> dict[str, Bits]:
    """Return, for each layer, above which of its breakpoints its units are, a bit for each."""
    waiting: dict[str, list[_Bend]] = {}
    for bend in bends:
        waiting.setdefault(bend.reads, []).append(bend)
    found: dict[str, Bits] = {}
    values = interpret_nodes(apart, [image])
    while waiting:
        name, value = next(values)
        for bend in waiting.pop(name, ()):
            if not isfinite(float(value.sum())):
                raise OverflowError(apart[bend.name].place)
            above = torch.stack([value > bound for bound in bend.breakpoints or ()])
            found[bend.name] = np.packbits(above.numpy())
    return found


def _count(changes: "Counter[str]", before: Mapping[str, Bits], after: Mapping[str, Bits]) -> None:
    for name, bits in before.items():
        changes[name] += int(np.bitwise_count(bits ^ after[name]).sum(dtype=np.int64))


def _changes_without(apart: Graph, pairs: Sequence[Ends], steps: int, watch: Watch) -> float | None:
    """Return the changes of the network without its activations behind 1x1s."""
    removed = [bend for bend in _bends(apart) if bend.behind_pointwise]
    bare = apart.with_changes({bend.name: Same(bend.reads, "taken away") for bend in removed})
    left = [bend for bend in _bends(bare) if bend.breakpoints is not None]
    try:
        walks = [
            _walk(bare, left, pair, steps)
            for pair in watch(pairs, "counting bends without those behind 1x1s")
        ]
    except OverflowError:
        return None
    return sum(_mean([walk.changes for walk in walks]).values())


def _mean(counts: Sequence[Mapping[str, int]]) -> dict[str, float]:
    """Return the mean over segments, by layer."""
    return {name: sum(count[name] for count in counts) / len(counts) for name in counts[0]}
