"""One block before and after: which layers went into which operation."""

from collections.abc import Sequence
from dataclasses import dataclass

from onebyone.graph import Convolution, Node, Shape
from onebyone.graph.words import kind_of

from .drawing import INK, PAPER, RULE, SHADE, SOFT, Drawing
from .kinds import COLOURS, kind_drawn
from .subject import Subject


@dataclass(frozen=True, slots=True)
class Layer:
    """A captured layer of the block.

    Args:
        name: Within the block.
        kind: In the words of the field.
        shape: Of its value.
        node: Index of the node that it went into.
        operation: What computes that, as an index.
        reads_outside: Whether it reads the block's own input beside what the block has computed.
    """

    name: str
    kind: str
    shape: Shape
    node: int
    reads_outside: bool


@dataclass(frozen=True, slots=True)
class Remaining:
    """A node that rewriting has left, and how it runs.

    Args:
        name: Within the block.
        kind: In the words of the field.
        macs: Its multiply-adds.
        taken: What it has taken in: "batch norm" and the like.
        operation: Index of the operation that computes it.
    """

    name: str
    kind: str
    macs: int
    taken: tuple[str, ...]
    operation: int


@dataclass(frozen=True, slots=True)
class Step:
    """An operation that computes nodes of the block.

    Args:
        group: Its place in the order of running, from 1.
        kinds: What it computes.
        chunks: Pieces for the threads.
        notes: How each is done.
    """

    group: int
    kinds: tuple[str, ...]
    chunks: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BlockFacts:
    """A block as layers, as nodes, and as operations.

    Args:
        path: Of its module.
        layers: Captured.
        nodes: That are left of them.
        steps: That compute these.
    """

    path: str
    layers: tuple[Layer, ...]
    nodes: tuple[Remaining, ...]
    steps: tuple[Step, ...]


def block_of(subject: Subject, path: str) -> BlockFacts:
    """Follow the layers of a module to nodes and operations.

    Raises:
        LookupError: If no layer is from there.
    """
    inside = [node for node in subject.captured if _is_inside(node, path)]
    if not inside:
        raise LookupError(f"no layer of {path!r}")
    fates = subject.rewritten.fates
    names = list(dict.fromkeys(name for node in inside for name in fates[node.name].nodes))
    steps: list[Step] = []
    place: dict[str, int] = {}
    for number, group in enumerate(subject.plan.groups, 1):
        for one in group:
            stages = one.stages or (one,)
            if any(stage.name in names for stage in stages):
                place |= {stage.name: len(steps) for stage in stages}
                kinds, notes = zip(*((stage.what, stage.note) for stage in stages), strict=True)
                steps.append(Step(number, kinds, one.chunks, notes))
    # A layer adds the block's input if that comes from outside, and something else from inside.
    known = {node.name for node in inside}
    layers = tuple(
        Layer(
            name=_within(node, path),
            kind=kind_of(node),
            shape=node.shape,
            node=names.index(fates[node.name].nodes[0]),
            reads_outside=len(node.inputs) > 1 and not known.issuperset(node.inputs),
        )
        for node in inside
    )
    return BlockFacts(
        path=path,
        layers=layers,
        nodes=tuple(
            _remaining(subject, name, path, number, layers, place[name])
            for number, name in enumerate(names)
        ),
        steps=tuple(steps),
    )


def _is_inside(node: Node, path: str) -> bool:
    return node.path == path or node.path.startswith(f"{path}.")


def _within(node: Node, path: str) -> str:
    return node.path.removeprefix(path).removeprefix(".") or node.name.removeprefix(f"{path}.")


def _remaining(
    subject: Subject, name: str, path: str, number: int, layers: Sequence[Layer], operation: int
) -> Remaining:
    node = subject.rewritten[name]
    macs = node.macs if isinstance(node, Convolution) else 0
    taken = tuple(layer.kind for layer in layers if layer.node == number)[1:]
    return Remaining(_within(node, path), kind_of(node), macs, taken, operation)


HEIGHT, PITCH, TOP = 36, 43, 84
LAYERS, NODES, STEPS = 62, 372, 668
LAYER_WIDTH, NODE_WIDTH, STEP_WIDTH = 216, 206, 212


def draw_block(block: BlockFacts) -> str:
    """Draw layers at the left, nodes in the middle, operations at the right."""
    bottom = TOP + PITCH * len(block.layers)
    drawing = Drawing(bottom + 22, f"What became of the layers of {block.path}")
    drawing.text(20, 32, f"One block, {block.path}: which layer went where", size=16, bold=True)
    for x, words in (
        (LAYERS, f"captured: {len(block.layers)} layers"),
        (NODES, f"rewritten: {len(block.nodes)} nodes"),
        (STEPS, f"planned: {len(block.steps)} operations"),
    ):
        drawing.text(x, 64, words, size=14, bold=True)
    nodes = _spread([node.node for node in block.layers], len(block.nodes))
    steps = _spread([block.nodes[layer.node].operation for layer in block.layers], len(block.steps))
    for number, layer in enumerate(block.layers):
        _draw_layer(drawing, TOP + number * PITCH, layer, nodes[layer.node])
    for node, (top, end) in zip(block.nodes, nodes, strict=True):
        _draw_node(drawing, top, end, node)
        colour = COLOURS[kind_drawn(node.kind)]
        drawing.ribbon((NODES + NODE_WIDTH, top, end), (STEPS, top, end), fill=colour)
    for step, (top, end) in zip(block.steps, steps, strict=True):
        _draw_step(drawing, top, end, step)
    _draw_shortcut(drawing, block)
    return drawing.svg()


def _spread(places: Sequence[int], count: int) -> list[tuple[float, float]]:
    """Return top and end of each thing, as high as the layers that went into it."""
    rows = [[row for row, place in enumerate(places) if place == one] for one in range(count)]
    return [(TOP + PITCH * min(found), TOP + PITCH * max(found) + HEIGHT) for found in rows]


def _draw_layer(drawing: Drawing, y: float, layer: Layer, node: tuple[float, float]) -> None:
    colour = COLOURS[kind_drawn(layer.kind)]
    drawing.box(LAYERS, y, LAYER_WIDTH, HEIGHT, fill=SHADE, edge=RULE, radius=3)
    drawing.box(LAYERS, y, 7, HEIGHT, fill=colour)
    drawing.text(LAYERS + 16, y + 16, layer.kind, bold=True)
    _, channels, rows, columns = layer.shape
    drawing.text(LAYERS + 16, y + 30, layer.name, size=11.5, colour=SOFT, mono=True)
    shape = f"{channels} x {rows} x {columns}"
    drawing.text(LAYERS + LAYER_WIDTH - 8, y + 30, shape, size=11.5, colour=SOFT, anchor="end")
    drawing.ribbon((LAYERS + LAYER_WIDTH, y, y + HEIGHT), (NODES, *_share(y, node)), fill=colour)


def _share(y: float, node: tuple[float, float]) -> tuple[float, float]:
    """Return the part of a node's edge beside a layer."""
    return max(y, node[0]), min(y + HEIGHT, node[1])


def _draw_node(drawing: Drawing, top: float, end: float, node: Remaining) -> None:
    drawing.box(NODES, top, NODE_WIDTH, end - top, fill=PAPER, edge=INK, radius=4)
    drawing.box(NODES, top, 7, end - top, fill=COLOURS[kind_drawn(node.kind)])
    drawing.text(NODES + 18, top + 24, node.kind, size=14, bold=True)
    drawing.text(NODES + 18, top + 42, node.name, size=11.5, colour=SOFT, mono=True)
    for number, words in enumerate(map(_said, node.taken)):
        drawing.text(NODES + 18, top + 64 + 17 * number, words, size=12)
    drawing.note(NODES + 18, end - 9, f"{node.macs / 1e6:.1f} M multiply-adds")


def _said(kind: str) -> str:
    """Say how a layer is done within another."""
    return f"{kind}: {'in its weights' if kind == 'batch norm' else 'as its sums are stored'}"


def _draw_step(drawing: Drawing, top: float, end: float, step: Step) -> None:
    drawing.box(STEPS, top, STEP_WIDTH, end - top, fill=PAPER, edge=INK, radius=4, thickness=1.6)
    share = (end - top) / len(step.kinds)
    for number, kind in enumerate(step.kinds):
        drawing.box(STEPS, top + number * share, 7, share, fill=COLOURS[kind_drawn(kind)])
    title = step.kinds[0] if len(step.kinds) == 1 else f"{len(step.kinds)} layers, row by row"
    drawing.text(STEPS + 18, top + 24, title, size=14, bold=True)
    drawing.text(STEPS + 18, top + 46, f"group {step.group}", size=12)
    drawing.text(STEPS + 18, top + 63, f"{step.chunks} chunks for the threads", size=12)
    # One's note follows at once; those of several are named.
    for number, (kind, note) in enumerate(zip(step.kinds, step.notes, strict=True)):
        words = note if len(step.kinds) == 1 else f"{kind}: {note}"
        drawing.note(STEPS + 18, top + 80 + 17 * number, words)


def _draw_shortcut(drawing: Drawing, block: BlockFacts) -> None:
    """Draw what the block reads: its input, which may be added at its end."""
    x, y = LAYERS + LAYER_WIDTH / 2, TOP
    drawing.line((x, y - 14), (x, y), arrow=True)
    for number, layer in enumerate(block.layers):
        if layer.reads_outside:
            row = TOP + number * PITCH + HEIGHT / 2
            drawing.line((x, y - 10), (36, y - 10), (36, row), (LAYERS, row), arrow=True)
            middle = (y + row) / 2
            drawing.upright(29, middle, "the block's input, once more")
