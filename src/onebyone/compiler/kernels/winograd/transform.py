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
        rows, columns = self.way.rows, self.way.columns
        line, step, product = record.numbers("source_line", "source_step", "target_product")
        _, _, down = rows.matrices()
        _, _, across = columns.matrices()

        def patch(image: Any, row: Any, column: Any) -> None:
            source = pixel_place(code, record, "source", image, row, column)
            target = pixel_place(code, record, "target", image, row, column)

            def vector(channel: Any, mask: Any) -> None:
                first = code.at(source, channel)
                halfway = [
                    transform(
                        code,
                        down,
                        [
                            code.load(code.at(first, code.mul(line, y), code.mul(step, x)), mask)
                            for y in range(rows.inputs)
                        ],
                    )
                    for x in range(columns.inputs)
                ]
                for y in range(rows.inputs):
                    numbers = transform(code, across, [column[y] for column in halfway])
                    for x, number in enumerate(numbers):
                        index = y * columns.inputs + x
                        code.store(number, code.at(target, channel, code.mul(product, index)), mask)

            for_vectors(code, self, record, vector)

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
