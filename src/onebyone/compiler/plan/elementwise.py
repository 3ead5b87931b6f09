"""How nodes that change each number on its own run: one kernel, up to three operands."""

from dataclasses import dataclass
from math import prod

from onebyone.compiler.plan import operations as ops
from onebyone.compiler.plan.buffers import Place, Region
from onebyone.compiler.plan.lowering import (
    Lowering,
    grid,
    has_tail,
    parts_of_rows,
    strides,
)
from onebyone.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Concat,
    Function,
    Node,
    Shape,
)

HEAVY = {"gelu": 4, "gelu_tanh": 4, "sigmoid": 4, "silu": 4, "tanh": 4}
"""How much longer a function with an exponential takes than a multiply-add, about."""


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
    lowering: Lowering,
    node: Node,
    operator: str,
    operands: list[_Operand],
    activation: Function | None,
) -> None:
    """Combine operands number by number into the node's own region."""
    target = lowering.region(node.name)
    images, _, rows, columns = target.shape
    work = prod(target.shape) * HEAVY.get(activation.name if activation else "", 1)
    loops = grid(lowering, target, work)
    if target.is_contiguous and all(operand.is_contiguous for operand in operands):
        # Nothing repeats and nothing lies between: a row is one long pixel.
        parts, _ = parts_of_rows((images, 1, rows, columns), 1, work)
        loops |= {"channels": loops["channels"] * columns, "columns": 1}
        loops |= {"row_parts": parts, "channel_parts": 1}
    first, second, third = [*operands, *[_Operand(target.place())] * (3 - len(operands))]
    kernel = ops.ElementwiseKernel(
        operator=operator,
        spread=tuple(operand.is_spread for operand in operands),
        has_tail=has_tail(lowering, loops["channels"]),
        activation=activation,
    )
    record = ops.ElementwiseWork(
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
    lowering.emit(node, kernel, record, chunks=record.chunks, target=target)


def lower_activation(lowering: Lowering, node: Activation) -> None:
    """Add the operation that applies a function."""
    source = _Operand.of(lowering.region(node.inputs[0]), node.shape)
    _emit(lowering, node, "copy", [source], node.function)


def lower_arithmetic(lowering: Lowering, node: Arithmetic) -> None:
    """Add the operation that combines two values."""
    operands = [_Operand.of(lowering.region(name), node.shape) for name in node.inputs]
    _emit(lowering, node, node.operator, operands, node.activation)


def lower_batch_norm(lowering: Lowering, node: BatchNorm) -> None:
    """Add the operation that scales and shifts each channel."""
    scale, shift = (lowering.constants.shared(vector) for vector in node.scale_and_shift())
    source = _Operand.of(lowering.region(node.inputs[0]), node.shape)
    _emit(lowering, node, "affine", [source, _Operand(scale), _Operand(shift)], node.activation)


def lower_concat(lowering: Lowering, node: Concat) -> None:
    """Copy those inputs that have not been written into place."""
    copied = lowering.placement.copied[node.name]
    elsewhere = {name for name, _ in copied}
    for source, target in copied:
        emit_copy(lowering, node, source, target)
    in_place = (name for name in node.inputs if name not in elsewhere)
    found = [writer for name in in_place for writer in lowering.writers[name]]
    lowering.writers.setdefault(node.name, []).extend(found)
    if not copied:
        lowering.views.append((node.name, "its inputs are written into place"))


def emit_copy(
    lowering: Lowering, node: Node, source: str, target: Region, *, row: int = 0, column: int = 0
) -> None:
    """Copy a value to a place in a node's region, its first pixel to `row` and `column`."""
    region = lowering.region(source)
    operand = _Operand.of(region, region.shape)
    loops = grid(lowering, region, prod(region.shape))
    record = ops.ElementwiseWork(
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
    kernel = ops.ElementwiseKernel(
        operator="copy",
        spread=(False,),
        has_tail=has_tail(lowering, region.channels),
        activation=None,
    )
    lowering.emit(
        node, kernel, record, chunks=record.chunks, target=target, sources=(source,), note="copied"
    )
