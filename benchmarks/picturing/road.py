"""The road: what a network is at each station, a square for each thing in its order."""

from collections.abc import Sequence
from dataclasses import dataclass

from onebyone.compiler.jit import compile_module
from onebyone.compiler.kernels.kernel import Operation
from onebyone.compiler.module import emit_network
from onebyone.graph.words import kind_of

from .drawing import INK, PAPER, RULE, SHADE, SOFT, WIDTH, Drawing
from .kinds import COLOURS, kind_drawn
from .subject import Subject


@dataclass(frozen=True, slots=True)
class Road:
    """What there is at each station.

    Args:
        layers: Kind of each captured layer.
        nodes: Kind of each node that rewriting has left.
        groups: For each group its operations, and of each the kinds of what it computes.
        kernels: Kinds of operations that differ in their code.
        tiles: Sizes of register tiles, each a function of its own.
        code_bytes: Size of the object file.
        weight_bytes: Size of packed weights and tables.
        arena_bytes: Memory for values.
    """

    layers: tuple[str, ...]
    nodes: tuple[str, ...]
    groups: tuple[tuple[tuple[str, ...], ...], ...]
    kernels: int
    tiles: int
    code_bytes: int
    weight_bytes: int
    arena_bytes: int

    @property
    def operations(self) -> int:
        """How many operations there are."""
        return sum(map(len, self.groups))


def road_of(subject: Subject) -> Road:
    """Go the whole road and count."""
    plan, target = subject.plan, subject.target
    module = emit_network([plan], target)
    stages = [stage for one in plan.operations for stage in (one, *one.stages)]
    return Road(
        layers=tuple(map(kind_of, subject.captured)),
        nodes=tuple(map(kind_of, subject.rewritten)),
        groups=tuple(tuple(map(_kinds, group)) for group in plan.groups),
        kernels=len({stage.kernel.symbol for stage in stages}),
        tiles=sum(function.name.startswith("tile_") for function in module.functions),
        code_bytes=len(compile_module(module, target)),
        weight_bytes=4 * plan.constants.size,
        arena_bytes=4 * plan.arena_size,
    )


def _kinds(operation: Operation) -> tuple[str, ...]:
    return tuple(stage.what for stage in operation.stages or (operation,))


LEFT, SQUARE, STEP = 256, 12, 14
A_LINE = (WIDTH - LEFT - 20) // STEP
COLUMN = 16.3
"""Of a group."""

STATION = 92
"""From one station to the next."""


def draw_road(road: Road, name: str) -> str:
    """Draw the stations one below the other."""
    drawing = Drawing(508, f"{name} on its road from layers to one function")
    drawing.text(20, 32, f"{name}: from layers to one function", size=16, bold=True)
    stations = (
        ("capture", f"{len(road.layers)} layers", "as PyTorch ran them"),
        ("rewrite", f"{len(road.nodes)} nodes", "the same results in fewer steps"),
        (
            "choose, plan",
            f"{road.operations} operations, {len(road.groups)} groups",
            "a column is a group, in order",
        ),
        ("emit, compile", "1 function", f"of {road.kernels} kernels over {road.tiles} tiles"),
    )
    for number, (verb, what, how) in enumerate(stations):
        y = 64 + number * STATION
        drawing.text(20, y, verb, size=12, colour=SOFT, mono=True)
        drawing.text(20, y + 20, what, size=15, bold=True)
        drawing.note(20, y + 38, how)
        if number:
            drawing.line((20, y - 24), (WIDTH - 20, y - 24), colour=RULE)
    top = 64 - 10
    _squares(drawing, top, road.layers)
    _squares(drawing, top + STATION, road.nodes)
    _groups(drawing, top + 2 * STATION, road.groups)
    _results(drawing, top + 3 * STATION, road)
    _legend(drawing, top + 4 * STATION)
    return drawing.svg()


def _squares(drawing: Drawing, y: float, kinds: Sequence[str]) -> None:
    for number, kind in enumerate(kinds):
        _square(drawing, LEFT + number % A_LINE * STEP, y + number // A_LINE * STEP, kind)


def _groups(drawing: Drawing, y: float, groups: Sequence[Sequence[Sequence[str]]]) -> None:
    """Draw a column for each group; what runs by rows in one operation has a frame."""
    for number, group in enumerate(groups):
        x, top = LEFT + number * COLUMN, y
        for kinds in group:
            for place, kind in enumerate(kinds):
                _square(drawing, x, top + place * STEP, kind)
            if len(kinds) > 1:
                height = len(kinds) * STEP + 2
                drawing.box(x - 2, top - 2, SQUARE + 4, height, edge=INK, radius=3)
            top += len(kinds) * STEP + 4


def _square(drawing: Drawing, x: float, y: float, kind: str) -> None:
    colour = COLOURS[kind_drawn(kind)]
    drawing.box(x, y, SQUARE, SQUARE, fill=colour, edge=SOFT if colour == PAPER else "none")


def _results(drawing: Drawing, y: float, road: Road) -> None:
    shown = (
        (f"{road.code_bytes / 1e3:.0f} KB", "of machine code"),
        (f"{road.weight_bytes / 1e6:.1f} MB", "of packed weights and tables"),
        (f"{road.arena_bytes / 1e6:.1f} MB", "for all values"),
    )
    for number, (size, what) in enumerate(shown):
        x = LEFT + number * 208
        drawing.box(x, y, 196, 52, fill=SHADE, edge=RULE, radius=4)
        drawing.text(x + 12, y + 22, size, size=16, bold=True)
        drawing.note(x + 12, y + 41, what)


def _legend(drawing: Drawing, y: float) -> None:
    for number, (kind, colour) in enumerate(COLOURS.items()):
        x, row = LEFT + number % 3 * 208, y + number // 3 * 22
        drawing.box(x, row, SQUARE, SQUARE, fill=colour, edge=SOFT)
        drawing.text(x + 20, row + 11, kind, size=12.5)
    x, row = LEFT + 2 * 208, y + 44
    drawing.box(x - 2, row - 2, SQUARE + 4, SQUARE + 4, edge=INK, radius=3)
    drawing.text(x + 20, row + 11, "one operation, by rows", size=12.5)
