"""Depthwise convolutions: every channel with its own small kernel.

Channels fill the vectors. A row of outputs is done `pixels` at a time, and each input vector is
loaded once for all the outputs of those that it belongs to.
"""

from dataclasses import dataclass
from typing import Any

import torch

from onebyone.compiler.choose.tiling import cut_evenly
from onebyone.compiler.emit.code import Code
from onebyone.compiler.emit.functions import apply_function
from onebyone.compiler.emit.record import Record
from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.kernels.kernel import Kernel
from onebyone.compiler.kernels.operands import Operands, operands_of
from onebyone.compiler.kernels.rows import RowWork, channel_range
from onebyone.compiler.kernels.tiles import by_size, first_pixel
from onebyone.compiler.memory.buffers import Place, Strided
from onebyone.graph import Convolution, Function

UNROLLED_ROWS = 5
"""Kernels of at most so many rows are written out; taller ones loop over their rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthwiseKernel(Kernel):
    """Convolve every channel with its own small kernel, `pixels` outputs of a row at a time."""

    kernel_size: tuple[int, int]
    stride: int
    dilation: int
    pixels: int
    has_smaller_tiles: bool
    has_tail: bool
    has_residual: bool
    activation: Function | None

    def write(self, code: Code, record: Record) -> None:
        """Write one chunk: some rows, and of them some channels."""
        row_parts, channel_parts = record.numbers("row_parts", "channel_parts")
        rows, images, channels = record.numbers("rows", "images", "channels")
        begin, end = code.part(
            code.div(record.chunk, channel_parts), row_parts, code.mul(rows, images)
        )
        first, last = channel_range(code, record, channels)
        tiles, larger = record.numbers("tiles", "larger_tiles")
        with code.loop(begin, end, name="row") as index:
            image, row = code.div(index, rows), code.rem(index, rows)
            with code.loop(0, tiles, name="tile") as tile:
                places = _places(code, self, record, image, row, tile)

                def tiles_of(pixels: int, places: dict[str, Any] = places) -> None:
                    code.for_channels(
                        first,
                        last,
                        lambda c, mask: _emit_tile(code, self, record, places, pixels, c, mask),
                    )

                is_large = code.less(tile, larger) if self.has_smaller_tiles else None
                by_size(code, self.pixels, is_large, tiles_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthwiseWork(RowWork):
    """Numbers for `DepthwiseKernel`; weights are `(kernel height, kernel width, C)`."""

    source: Strided
    weights: Place
    bias: Place
    residual: Strided
    source_step: int
    tiles: int
    larger_tiles: int


def lower_depthwise(builder: PlanBuilder, node: Convolution) -> None:
    """Add the operation that computes a depthwise convolution."""
    operands = operands_of(builder, node)
    kernel, work, note = plan_depthwise(builder, node, operands)
    builder.add(
        node,
        kernel,
        work,
        chunks=work.chunks,
        target=operands.target,
        macs=node.macs,
        note=note,
    )


def plan_depthwise(
    builder: PlanBuilder, node: Convolution, operands: Operands
) -> tuple[DepthwiseKernel, DepthwiseWork, str]:
    """Return what computes all images, or a row of one for each chunk of a band; and a note."""
    choices = builder.choices[node.name]
    assert choices.tile is not None, node.name
    source, target, other = operands.source, operands.target, operands.other
    images, channels, rows, columns = node.shape
    pixels, larger, tiles = cut_evenly(columns, choices.tile.pixels)
    row_parts, channel_parts = (rows, 1) if choices.band else choices.parts
    kernel = DepthwiseKernel(
        kernel_size=node.kernel_size,
        stride=node.stride[0],
        dilation=node.dilation[0],
        pixels=pixels,
        has_smaller_tiles=larger < tiles,
        has_tail=channels % builder.target.lanes != 0,
        has_residual=operands.residual is not None,
        activation=node.activation,
    )
    bias = torch.zeros(channels, dtype=torch.float32) if node.bias is None else node.bias.detach()
    add = builder.constants.add
    work = DepthwiseWork(
        source=operands.first_source(node),
        weights=add(
            node.weight.numel(),
            lambda: node.weight.view(channels, -1).t(),
            *("depthwise", node.weight),
        ),
        bias=add(channels, lambda: bias, "channels", node.bias, channels),
        target=target.strided(),
        residual=other.strided(),
        source_step=source.buffer.row_stride * node.dilation[0],
        channels=channels,
        rows=rows,
        images=1 if choices.band else images,
        tiles=tiles,
        larger_tiles=larger,
        row_parts=row_parts,
        channel_parts=channel_parts,
    )
    return kernel, work, f"tile {pixels}x{builder.target.lanes}"


def _places(
    code: Code, kernel: DepthwiseKernel, record: Record, image: Any, row: Any, tile: Any
) -> dict[str, Any]:
    column = first_pixel(code, tile, kernel.pixels, record.number("larger_tiles"))
    places = {
        "source": code.at(
            record.pointer("source"),
            code.mul(image, record.number("source_image")),
            code.mul(row, code.mul(record.number("source_row"), kernel.stride)),
            code.mul(column, code.mul(record.number("source_pixel"), kernel.stride)),
        )
    }
    for name in ["target", "residual"] if kernel.has_residual else ["target"]:
        places[name] = code.at(
            record.pointer(name),
            code.mul(image, record.number(f"{name}_image")),
            code.mul(row, record.number(f"{name}_row")),
            code.mul(column, record.number(f"{name}_pixel")),
        )
    return places


def _emit_tile(
    code: Code,
    kernel: DepthwiseKernel,
    record: Record,
    places: dict[str, Any],
    pixels: int,
    channel: Any,
    mask: Any,
) -> None:
    height, width = kernel.kernel_size
    channels, source_pixel = record.numbers("channels", "source_pixel")
    weights = code.at(record.pointer("weights"), channel)
    bias = code.load(code.at(record.pointer("bias"), channel), mask)
    source = code.at(places["source"], channel)

    def kernel_row(index: Any, sums: list[Any]) -> list[Any]:
        start = code.at(source, code.mul(index, record.number("source_step")))
        first_weight = code.mul(code.mul(index, width), channels)
        row = [
            code.load(code.at(weights, first_weight, code.mul(channels, x)), mask)
            for x in range(width)
        ]
        for position in range((pixels - 1) * kernel.stride + (width - 1) * kernel.dilation + 1):
            users = [
                (pixel, x)
                for pixel in range(pixels)
                for x in range(width)
                if pixel * kernel.stride + x * kernel.dilation == position
            ]
            if not users:
                continue
            value = code.load(code.at(start, code.mul(source_pixel, position)), mask)
            for pixel, x in users:
                sums[pixel] = code.multiply_add(value, row[x], sums[pixel])
        return sums

    sums = [bias] * pixels
    if height <= UNROLLED_ROWS:
        for y in range(height):
            sums = kernel_row(code.add(y), sums)
    else:
        sums = code.accumulate(height, sums, kernel_row, name="y")

    def place(name: str, pixel: int) -> Any:
        return code.at(places[name], code.mul(record.number(f"{name}_pixel"), pixel), channel)

    if kernel.has_residual:
        others = [code.load(place("residual", pixel), mask) for pixel in range(pixels)]
        sums = [code.builder.fadd(*pair) for pair in zip(sums, others, strict=True)]
    for pixel, value in enumerate(apply_function(code, kernel.activation, sums)):
        code.store(value, place("target", pixel), mask)
