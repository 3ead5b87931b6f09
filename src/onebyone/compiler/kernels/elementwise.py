"""Nodes that change each number on its own: one kernel, up to three operands."""

from dataclasses import dataclass
from typing import Any

from onebyone.compiler.emit.code import Code
from onebyone.compiler.emit.functions import apply_function
from onebyone.compiler.emit.record import Record
from onebyone.compiler.kernels.kernel import Kernel
from onebyone.compiler.kernels.rows import (
    RowWork,
    for_pixels,
    for_vectors,
    grid,
    has_tail,
    pixel_place,
)
from onebyone.compiler.plan.buffers import Place, Region
from onebyone.compiler.plan.builder import PlanBuilder, strides
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
                result = apply_function(
                    code, self.activation, _combine(code, self.operator, values)
                )
                code.store(result, code.at(places["target"], channel), mask)

            for_vectors(code, self, record, vector)

        for_pixels(code, record, pixel)


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementwiseWork(RowWork):
    """Numbers for `ElementwiseKernel`; strides are 0 where an operand repeats."""

    first: Place
    second: Place
    third: Place
    first_image: int
    first_row: int
    first_pixel: int
    second_image: int
    second_row: int
    second_pixel: int
    third_image: int
    third_row: int
    third_pixel: int
    columns: int


@dataclass(frozen=True, slots=True)
class _Operand:
    """A region, or a vector of one number a channel, with its strides; 0 where it repeats."""

    place: Place
    image: int = 0
    row: int = 0
    pixel: int = 0
    is_spread: bool = False
    is_contiguous: bool = False

    @staticmethod
    def of(region: Region, like: Shape) -> "_Operand":
        """Read a region as if it had the shape `like`: dimensions of size 1 repeat."""
        images, channels, rows, columns = region.shape
        buffer = region.buffer
        return _Operand(
            place=region.place(),
            image=buffer.image_stride if images == like[0] else 0,
            row=buffer.row_stride if rows == like[2] else 0,
            pixel=buffer.pixel_stride if columns == like[3] else 0,
            is_spread=channels == 1 and like[1] > 1,
            is_contiguous=region.is_contiguous and region.shape == like,
        )

    def fields(self, name: str) -> dict[str, int]:
        """Return the strides as fields of a work record."""
        return {f"{name}_image": self.image, f"{name}_row": self.row, f"{name}_pixel": self.pixel}


def _emit(
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
    first, second, third = [*operands, *[_Operand(target.place())] * (3 - len(operands))]
    kernel = ElementwiseKernel(
        operator=operator,
        spread=tuple(operand.is_spread for operand in operands),
        has_tail=has_tail(builder, loops["channels"]),
        activation=activation,
    )
    record = ElementwiseWork(
        target=target.place(),
        first=first.place,
        second=second.place,
        third=third.place,
        **strides(target, "target"),
        **first.fields("first"),
        **second.fields("second"),
        **third.fields("third"),
        **loops,
    )
    builder.add(node, kernel, record, chunks=record.chunks, target=target)


def lower_activation(builder: PlanBuilder, node: Activation) -> None:
    """Add the operation that applies a function."""
    source = _Operand.of(builder.region(node.inputs[0]), node.shape)
    _emit(builder, node, "copy", [source], node.function)


def lower_arithmetic(builder: PlanBuilder, node: Arithmetic) -> None:
    """Add the operation that combines two values."""
    operands = [_Operand.of(builder.region(name), node.shape) for name in node.inputs]
    _emit(builder, node, node.operator, operands, node.activation)


def lower_batch_norm(builder: PlanBuilder, node: BatchNorm) -> None:
    """Add the operation that scales and shifts each channel."""
    scale, shift = (builder.constants.shared(vector) for vector in node.scale_and_shift())
    source = _Operand.of(builder.region(node.inputs[0]), node.shape)
    _emit(builder, node, "affine", [source, _Operand(scale), _Operand(shift)], node.activation)


def lower_concat(builder: PlanBuilder, node: Concat) -> None:
    """Copy those inputs that have not been written into place."""
    copied = builder.placement.copied[node.name]
    elsewhere = {name for name, _ in copied}
    for source, target in copied:
        emit_copy(builder, node, source, target)
    in_place = (name for name in node.inputs if name not in elsewhere)
    found = [writer for name in in_place for writer in builder.writers[name]]
    builder.writers.setdefault(node.name, []).extend(found)
    if not copied:
        builder.views.append((node.name, "its inputs are written into place"))


def emit_copy(
    builder: PlanBuilder, node: Node, source: str, target: Region, *, row: int = 0, column: int = 0
) -> None:
    """Copy a value to a place in a node's region, its first pixel to `row` and `column`."""
    region = builder.region(source)
    operand = _Operand.of(region, region.shape)
    loops = grid(builder, node, region)
    record = ElementwiseWork(
        target=target.place(row, column),
        first=operand.place,
        second=operand.place,
        third=operand.place,
        **strides(target, "target"),
        **operand.fields("first"),
        **operand.fields("second"),
        **operand.fields("third"),
        **loops,
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
