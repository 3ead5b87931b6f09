"""Nodes that change each number on its own: one kernel, up to three operands."""

from dataclasses import dataclass
from typing import Any

from onebyone.compiler.emit.code import Code
from onebyone.compiler.emit.functions import apply_function
from onebyone.compiler.emit.record import Record
from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.kernels.kernel import Kernel
from onebyone.compiler.kernels.rows import (
    RowWork,
    for_pixels,
    for_vectors,
    grid,
    has_tail,
    pixel_place,
)
from onebyone.compiler.memory.buffers import Place, Region, Strided
from onebyone.graph import Activation, Arithmetic, BatchNorm, Concat, Function, Node, Shape

ARITHMETIC = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementwiseKernel(Kernel):
    """Combine up to three operands number by number, then activate.

    Args:
        operator: `copy`, an `Arithmetic` operator, or `affine`: first * second + third.
        spread: For each operand, whether one number serves all channels.
    """

    operator: str
    spread: tuple[bool, ...]
    has_tail: bool
    activation: Function | None

    def write(self, code: Code, record: Record) -> None:
        """Write `target = activation(first operator second)`, or first * second + third."""
        names = ("first", "second", "third")[: len(self.spread)]

        def pixel(image: Any, row: Any, column: Any) -> None:
            places = {
                name: pixel_place(code, record, name, image, row, column)
                for name in (*names, "target")
            }
            spread = {
                name: code.broadcast(code.load_float(places[name]))
                for name, is_spread in zip(names, self.spread, strict=True)
                if is_spread
            }

            def vector(channel: Any, mask: Any) -> None:
                values = [
                    spread[name]
                    if name in spread
                    else code.load(code.at(places[name], channel), mask)
                    for name in names
                ]
                combined = _combine(code, self.operator, values)
                (result,) = apply_function(code, self.activation, [combined])
                code.store(result, code.at(places["target"], channel), mask)

            for_vectors(code, self, record, vector)

        for_pixels(code, record, pixel)


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementwiseWork(RowWork):
    """Numbers for `ElementwiseKernel`; strides are 0 where an operand repeats."""

    first: Strided
    second: Strided
    third: Strided
    columns: int


@dataclass(frozen=True, slots=True)
class _Operand:
    """A region, or a vector of one number a channel; its strides are 0 where it repeats."""

    start: Strided
    is_spread: bool = False
    is_contiguous: bool = False

    @staticmethod
    def of(region: Region, like: Shape) -> "_Operand":
        """Read a region as if it had the shape `like`: dimensions of size 1 repeat."""
        images, channels, rows, columns = region.shape
        place, image, row, pixel = region.strided()
        start = Strided(
            place,
            image if images == like[0] else 0,
            row if rows == like[2] else 0,
            pixel if columns == like[3] else 0,
        )
        return _Operand(
            start,
            is_spread=channels == 1 and like[1] > 1,
            is_contiguous=region.is_contiguous and region.shape == like,
        )

    @staticmethod
    def vector(place: Place) -> "_Operand":
        """Read a vector of one number a channel, the same at every pixel."""
        return _Operand(Strided(place, 0, 0, 0))


def _add(
    builder: PlanBuilder,
    node: Node,
    operator: str,
    operands: list[_Operand],
    activation: Function | None,
) -> None:
    """Combine operands number by number into the node's own region."""
    target = builder.region(node.name)
    loops = grid(builder, node, target)
    if target.is_contiguous and all(operand.is_contiguous for operand in operands):
        # Nothing repeats and nothing lies between: a row is one long pixel.
        loops |= {"channels": loops["channels"] * loops["columns"], "columns": 1}
    first, second, third = [one.start for one in (*operands, *[operands[0]] * (3 - len(operands)))]
    kernel = ElementwiseKernel(
        operator=operator,
        spread=tuple(operand.is_spread for operand in operands),
        has_tail=has_tail(builder, loops["channels"]),
        activation=activation,
    )
    record = ElementwiseWork(
        target=target.strided(), first=first, second=second, third=third, **loops
    )
    builder.add(node, kernel, record, chunks=record.chunks, target=target)


def lower_activation(builder: PlanBuilder, node: Activation) -> None:
    """Add the operation that applies a function."""
    source = _Operand.of(builder.region(node.inputs[0]), node.shape)
    _add(builder, node, "copy", [source], node.function)


def lower_arithmetic(builder: PlanBuilder, node: Arithmetic) -> None:
    """Add the operation that combines two values."""
    operands = [_Operand.of(builder.region(name), node.shape) for name in node.inputs]
    _add(builder, node, node.operator, operands, node.activation)


def lower_batch_norm(builder: PlanBuilder, node: BatchNorm) -> None:
    """Add the operation that scales and shifts each channel."""
    scale, shift = (builder.constants.shared(vector) for vector in node.scale_and_shift())
    source = _Operand.of(builder.region(node.inputs[0]), node.shape)
    _add(
        builder,
        node,
        "affine",
        [source, _Operand.vector(scale), _Operand.vector(shift)],
        node.activation,
    )


def lower_concat(builder: PlanBuilder, node: Concat) -> None:
    """Copy those inputs that have not been written into place."""
    copied = builder.placement.copied[node.name]
    elsewhere = {name for name, _ in copied}
    for source, target in copied:
        add_copy(builder, node, source, target)
    in_place = (name for name in node.inputs if name not in elsewhere)
    found = [writer for name in in_place for writer in builder.writers[name]]
    builder.writers.setdefault(node.name, []).extend(found)
    if not copied:
        builder.views.append((node.name, "its inputs are written into place"))


def add_copy(
    builder: PlanBuilder, node: Node, source: str, target: Region, *, row: int = 0, column: int = 0
) -> None:
    """Copy a value to a place in a node's region, its first pixel to `row` and `column`."""
    region = builder.region(source)
    start = region.strided()
    loops = grid(builder, node, region)
    record = ElementwiseWork(
        target=target.strided(row, column), first=start, second=start, third=start, **loops
    )
    kernel = ElementwiseKernel(
        operator="copy",
        spread=(False,),
        has_tail=has_tail(builder, region.channels),
        activation=None,
    )
    builder.add(
        node,
        kernel,
        record,
        chunks=record.chunks,
        target=target,
        sources=(source,),
        purpose="copy",
        note="copied",
    )


def _combine(code: Code, operator: str, values: list[Any]) -> Any:
    if operator == "copy":
        return values[0]
    if operator == "affine":
        return code.multiply_add(*values)
    if operator in ARITHMETIC:
        return getattr(code.builder, ARITHMETIC[operator])(*values)
    return code.binary(operator, *values)
