"""Winograd's first step: patches of inputs are transformed."""

from dataclasses import dataclass
from typing import Any

from onebyone.compiler.choose.filtering import Winograd
from onebyone.compiler.emit.code import Code
from onebyone.compiler.emit.record import Record
from onebyone.compiler.kernels.kernel import Kernel
from onebyone.compiler.kernels.rows import PixelWork, for_pixels, for_vectors, pixel_place
from onebyone.compiler.kernels.winograd.matrices import transform


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformKernel(Kernel):
    """Transform the inputs of each patch of outputs: one number for each multiplication."""

    way: Winograd
    has_tail: bool

    def write(self, code: Code, record: Record) -> None:
        """Transform one chunk: some rows of patches, and of them some channels."""
        strides = Strides(*record.numbers("source_line", "source_step", "target_product"))

        def patch(image: Any, row: Any, column: Any) -> None:
            source, target = (
                pixel_place(code, record, name, image, row, column) for name in ("source", "target")
            )
            for_vectors(
                code,
                self,
                record,
                lambda channel, mask: transform_vector(
                    code,
                    self.way,
                    code.at(source, channel),
                    code.at(target, channel),
                    strides,
                    mask,
                ),
            )

        for_pixels(code, record, patch)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformWork(PixelWork):
    """Numbers for `TransformKernel`; a pixel, for its loops and strides, is a patch.

    In the source, `source_line` and `source_step` lead to the next row and the next pixel; in the
    target, `target_product` to the next multiplication.
    """

    source_line: int
    source_step: int
    target_product: int


@dataclass(frozen=True, slots=True)
class Strides:
    """Numbers from row to row and from pixel to pixel of inputs; and between multiplications."""

    line: Any
    step: Any
    product: Any


def transform_vector(
    code: Code, way: Winograd, source: Any, target: Any, strides: Strides, mask: Any
) -> None:
    """Transform a vector of channels of a patch."""
    rows, columns = way.rows, way.columns
    _, _, down = rows.matrices()
    _, _, across = columns.matrices()

    def load(y: int, x: int) -> Any:
        offsets = code.mul(strides.line, y), code.mul(strides.step, x)
        return code.load(code.at(source, *offsets), mask)

    halfway = [
        transform(code, down, [load(y, x) for y in range(rows.inputs)])
        for x in range(columns.inputs)
    ]
    for y in range(rows.inputs):
        numbers = transform(code, across, [column[y] for column in halfway])
        for x, number in enumerate(numbers):
            offset = code.mul(strides.product, y * columns.inputs + x)
            code.store(number, code.at(target, offset), mask)
