"""The inner loop of one tile: machine code as it is, and what each line does."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from onebyone.compiler.emit.numbers import PTR
from onebyone.compiler.jit import assembly
from onebyone.compiler.kernels.dense.kernel import tile_symbol
from onebyone.compiler.module import emit_network

from .drawing import BEND, DEPTHWISE, POINTWISE, RULE, SOFT, Drawing
from .subject import Subject


@dataclass(frozen=True, slots=True)
class Weights:
    """A register of the panel: channels of `vector`, at a step of K."""

    step: int
    vector: int


@dataclass(frozen=True, slots=True)
class Number:
    """One number of a pixel, in all lanes of a register."""

    step: int
    pixel: int


@dataclass(frozen=True, slots=True)
class Sum:
    """Sums of a pixel and a vector of channels, to which a step of K is added."""

    step: int
    pixel: int
    vector: int


@dataclass(frozen=True, slots=True)
class Advance:
    """What happens once a turn; in words."""

    words: str


Deed = Weights | Number | Sum | Advance


@dataclass(frozen=True, slots=True)
class Instruction:
    """A line of machine code.

    Args:
        text: As LLVM writes it.
        deed: What it does.
        register: Vector register that it writes to; "" if it writes to none.
    """

    text: str
    deed: Deed
    register: str


@dataclass(frozen=True, slots=True)
class InnerLoop:
    """The inner loop of a tile.

    Args:
        path: Of a convolution that has the tile.
        pixels: Of the tile.
        vectors: Registers of channels of each pixel.
        lanes: Numbers in a register.
        depth: Steps of K in all.
        unroll: Steps in one turn of the loop.
        instructions: Of one turn.
    """

    path: str
    pixels: int
    vectors: int
    lanes: int
    depth: int
    unroll: int
    instructions: tuple[Instruction, ...]

    def count(self, kind: type[Deed]) -> int:
        """Return how many instructions do a thing of that kind."""
        return sum(isinstance(one.deed, kind) for one in self.instructions)

    def registers(self) -> dict[str, tuple[int, int]]:
        """Return pixel and vector of the sums in each register that holds some."""
        return {
            one.register: (one.deed.pixel, one.deed.vector)
            for one in self.instructions
            if isinstance(one.deed, Sum)
        }


def inner_loop_of(subject: Subject, name: str) -> InnerLoop:
    """Compile for AVX-512 or AVX2, and read the inner loop of a convolution's tile.

    Raises:
        LookupError: If no convolution of that name runs alone, or its loop is not found.
        ValueError: If an instruction of the loop does something else than is said here.
    """
    kernel, work = subject.tiled(name)
    text = assembly(emit_network([subject.plan], subject.target), subject.target)
    lines = _largest_loop(_function(text, tile_symbol(kernel.tile, [PTR] * 12)))
    reader = Reader(kernel.tile.vectors, subject.target.lanes)
    return InnerLoop(
        path=subject.operation(name).path,
        pixels=kernel.tile.pixels,
        vectors=kernel.tile.vectors,
        lanes=subject.target.lanes,
        depth=work.depth,
        unroll=kernel.tile.unroll,
        instructions=tuple(map(reader.read, lines)),
    )


def _function(text: str, symbol: str) -> list[str]:
    """Return the lines of a function, without directives."""
    _, found, rest = text.partition(f"\n{symbol}:\n")
    if not found:
        raise LookupError(f"the code has no function {symbol!r}")
    body, _, _ = rest.partition("\n.Lfunc_end")
    lines = (line.split("#")[0].strip() for line in body.splitlines())
    return [line for line in lines if line and (line.endswith(":") or not line.startswith("."))]


def _largest_loop(lines: Sequence[str]) -> list[str]:
    """Return the loop without another inside that multiplies most, from label to jump."""
    found: list[list[str]] = []
    for start, line in enumerate(lines):
        if line.endswith(":"):
            body = lines[start + 1 :]
            ends = [i for i, one in enumerate(body) if re.match(rf"j\w+\s+{line[:-1]}$", one)]
            if ends and not any(one.endswith(":") for one in body[: ends[0]]):
                found.append(list(body[: ends[0] + 1]))
    if not found:
        raise LookupError("the tile has no inner loop; it goes through K in one turn")
    return max(found, key=lambda loop: sum(line.startswith("vfmadd") for line in loop))


_LOAD = re.compile(r"vmov[ua]ps\s+(-?\d*)\((%r\w+)\), %([xyz]mm\d+)$")
_SPREAD = re.compile(r"vbroadcastss\s+(-?\d*)\((%r\w+),(%r\w+),4\), %([xyz]mm\d+)$")
_ADD = re.compile(r"vfmadd231ps\s+%([xyz]mm\d+), %([xyz]mm\d+), %([xyz]mm\d+)$")


@dataclass(slots=True)
class Reader:
    """Follow what registers hold, from instruction to instruction of one turn.

    A turn begins at its first panel row and its first number: what is `step` 0 here.

    Args:
        vectors: Registers of a row of the panel.
        lanes: Numbers of a register.
        bases: What the loop's general registers are for: "weights" or "numbers".
        pixels: Registers with the places of pixels, in their order.
        holds: What each vector register holds just now.
    """

    vectors: int
    lanes: int
    bases: dict[str, str] = field(default_factory=dict)
    pixels: list[str] = field(default_factory=list)
    holds: dict[str, Weights | Number] = field(default_factory=dict)

    def read(self, line: str) -> Instruction:
        """Say what an instruction does."""
        text = re.sub(r"\s+", " ", line)
        if found := _LOAD.match(line):
            offset, base, register = found.groups()
            self.bases[base] = "weights"
            deed: Deed = Weights(*divmod(int(offset or 0) // (4 * self.lanes), self.vectors))
            self.holds[register] = deed
        elif found := _SPREAD.match(line):
            offset, base, place, register = found.groups()
            self.bases[base] = "numbers"
            if place not in self.pixels:
                self.pixels.append(place)
            deed = Number(int(offset or 0) // 4, self.pixels.index(place))
            self.holds[register] = deed
        elif found := _ADD.match(line):
            *factors, register = found.groups()
            deed = self._sum([self.holds[one] for one in factors], text)
        elif line.startswith("v"):
            raise ValueError(f"{text!r}: neither loads weights or a number, nor multiplies")
        else:
            return Instruction(text, self._advance(line), "")
        return Instruction(text, deed, register)

    def _sum(self, factors: Sequence[Weights | Number], text: str) -> Sum:
        """Return what is added to: the factors are weights and a number of the same step."""
        match sorted(factors, key=lambda one: isinstance(one, Number)):
            case [Weights(step, vector), Number(other, pixel)] if step == other:
                return Sum(step, pixel, vector)
            case _:
                raise ValueError(f"{text!r} multiplies {factors[0]} by {factors[1]}")

    def _advance(self, line: str) -> Advance:
        verb, _, operands = line.partition("\t")
        moved = self.bases.get(operands.rpartition(", ")[2])
        if verb.startswith("prefetch"):
            return Advance("bring later weights nearer")
        if verb == "addq" and moved:
            return Advance(f"go on to the next {moved}")
        if verb.startswith("j"):
            return Advance("if not: once more from the top")
        if verb.startswith("cmp"):
            return Advance("are all channels done?")
        return Advance("count the turn")


LINE, TOP = 18, 106
CODE, MEANING, MAP = 34, 292, 640
COLOURS = {Weights: DEPTHWISE, Number: BEND, Sum: POINTWISE, Advance: SOFT}


def draw_inner_loop(loop: InnerLoop, shown: int = 22) -> str:
    """Draw the first instructions and the last ones, and what lies in which register."""
    rows = _rows(loop, shown)
    drawing = Drawing(TOP + LINE * len(rows) + 74, f"The inner loop of a tile of {loop.path}")
    drawing.text(
        20, 32, f"The inner loop of {loop.path}, as the processor runs it", size=16, bold=True
    )
    drawing.text(20, 54, _counted(loop), size=12.5, colour=SOFT)
    drawing.text(CODE, TOP - 18, "machine code", bold=True)
    drawing.text(MEANING, TOP - 18, "what it does", bold=True)
    for number, row in enumerate(rows):
        y = TOP + LINE * number
        if isinstance(row, str):
            drawing.text(CODE, y + 13, row, size=12.5, colour=SOFT)
            continue
        drawing.box(20, y + 1, 6, LINE - 2, fill=COLOURS[type(row.deed)])
        drawing.text(CODE, y + 13, row.text, size=12, mono=True)
        is_code = not isinstance(row.deed, Advance)
        drawing.text(MEANING, y + 13, _meaning(loop, row), size=12, mono=is_code)
    _draw_registers(drawing, loop)
    y = TOP + LINE * len(rows) + 22
    drawing.line((20, y - 8), (880, y - 8), colour=RULE)
    for number, words in enumerate(_notes(loop)):
        drawing.text(20, y + 14 + 18 * number, words, size=12.5)
    return drawing.svg()


def _rows(loop: InnerLoop, shown: int) -> list[Instruction | str]:
    last = [one for one in loop.instructions if isinstance(one.deed, Advance)]
    first = list(islice(_others(loop), shown))
    left = len(loop.instructions) - len(first) - len(last)
    return [*first, f"… and {left} more of the same kinds …", *last]


def _others(loop: InnerLoop) -> Iterator[Instruction]:
    return (one for one in loop.instructions if not isinstance(one.deed, Advance))


def _counted(loop: InnerLoop) -> str:
    kinds = Counter(type(one.deed) for one in loop.instructions)
    return (
        f"{len(loop.instructions)} instructions a turn: {kinds[Weights]} load weights, "
        f"{kinds[Number]} load a number of a pixel, {kinds[Sum]} multiply and add, "
        f"{kinds[Advance]} go on. {loop.depth // loop.unroll} turns."
    )


def _meaning(loop: InnerLoop, instruction: Instruction) -> str:
    match instruction.deed:
        case Weights(step, vector):
            return f"{instruction.register} = {_weights(loop, step, vector)}"
        case Number(step, pixel):
            return f"{instruction.register} = x[{pixel}, {_k(step)}], {loop.lanes} times"
        case Sum(step, pixel, vector):
            target = f"sum[{pixel}, {_lanes(loop, vector)}]"
            return f"{target} += x[{pixel}, {_k(step)}] * {_weights(loop, step, vector)}"
        case Advance(words):
            return words


def _weights(loop: InnerLoop, step: int, vector: int) -> str:
    return f"panel[{_k(step)}, {_lanes(loop, vector)}]"


def _k(step: int) -> str:
    return f"k+{step}" if step else "k"


def _lanes(loop: InnerLoop, vector: int) -> str:
    return f"{vector * loop.lanes}:{(vector + 1) * loop.lanes}"


def _draw_registers(drawing: Drawing, loop: InnerLoop) -> None:
    """Draw the tile, each register at the place of its sums, and what the others are for."""
    cell, row, top = 68, 25, TOP + 42
    drawing.text(MAP, TOP - 18, "where the tile's sums are", bold=True)
    for vector in range(loop.vectors):
        x = MAP + 30 + vector * cell + cell / 2 - 1
        drawing.text(x, TOP + 12, "channels", size=11.5, colour=SOFT, anchor="middle")
        drawing.text(x, TOP + 28, _lanes(loop, vector), size=11.5, colour=SOFT, anchor="middle")
    for register, (pixel, vector) in loop.registers().items():
        x, y = MAP + 30 + vector * cell, top + pixel * row
        drawing.box(x, y, cell - 2, row - 2, fill=POINTWISE, opacity=0.25)
        drawing.text(x + cell / 2 - 1, y + 16, register, size=12, anchor="middle", mono=True)
    for pixel in range(loop.pixels):
        drawing.text(
            MAP + 22, top + pixel * row + 16, str(pixel), size=11.5, colour=SOFT, anchor="end"
        )
    bottom = top + loop.pixels * row
    for number, words in enumerate(_others_said(loop)):
        drawing.text(MAP, bottom + 24 + 18 * number, words, size=12.5)


def _others_said(loop: InnerLoop) -> tuple[str, ...]:
    sums = loop.registers()
    others = {one.register for one in loop.instructions if one.register} - set(sums)
    return (
        f"{len(sums)} registers hold sums all along;",
        f"{len(others)} others take weights and numbers",
        "in turn. Nothing goes to memory",
        f"before all {loop.depth} channels are added.",
        "",
        f"x: pixels of the tile, {loop.depth} channels",
        f"panel: weights, {loop.depth} x {loop.vectors * loop.lanes}",
        f"k: {loop.unroll} more in each turn",
    )


def _notes(loop: InnerLoop) -> tuple[str, ...]:
    kind = next(iter(loop.registers()))[:3]
    return (
        f"A register ({kind}) holds {loop.lanes} numbers. "
        "vfmadd231ps a, b, c is c += a * b, for all of them at once.",
        "vmovups loads a register of weights; "
        "vbroadcastss loads one number and repeats it in all lanes.",
    )
