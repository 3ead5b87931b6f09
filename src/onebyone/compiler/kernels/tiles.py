"""The road of a chunk through its tiles of pixels and blocks of channels.

A line of pixels is cut into tiles of `pixels` and of one less; channels are cut into blocks, of
which the last may be narrower. Each of these sizes has a body of its own.
"""

from abc import ABC
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from onebyone.compiler.choose.tiling import Tiling
from onebyone.compiler.emit.code import Code, int64
from onebyone.compiler.emit.record import Record
from onebyone.compiler.kernels.kernel import Kernel
from onebyone.compiler.target import Target
from onebyone.graph import Function

LARGEST_UNROLL = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A block of outputs that is kept in registers: pixels x vectors of channels.

    Args:
        pixels: Output pixels.
        vectors: Vector registers of output channels for each pixel.
        stored_lanes: Lanes of the last vector that are stored; it is no wider than they need.
        unroll: Steps of K that are written out.
    """

    pixels: int
    vectors: int
    stored_lanes: int
    unroll: int
    has_residual: bool
    activation: Function | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TiledKernel(Kernel, ABC):
    """Stand at the root of kernels that compute their outputs tile by tile.

    Pixels of an image are cut into tiles of `pixels` and `pixels - 1`; channels of a group into
    blocks of `vectors` registers and a last one of `last_vectors`, of whose last `stored_lanes` are
    stored.
    """

    pixels: int
    has_smaller_tiles: bool
    vectors: int
    last_vectors: int
    stored_lanes: int
    unroll: int
    has_residual: bool
    activation: Function | None


def tiled(tiling: Tiling, depth: int) -> dict[str, Any]:
    """Return the fields of a `TiledKernel` for a tiling, and `depth` steps of K."""
    return {
        "pixels": tiling.pixels,
        "has_smaller_tiles": tiling.larger_tiles < tiling.tiles,
        "vectors": tiling.vectors,
        "last_vectors": tiling.last_vectors,
        "unroll": max(u for u in range(1, LARGEST_UNROLL + 1) if depth % u == 0),
    }


def for_tiles(code: Code, record: Record, tiles: Any, body: Callable[[Any, Any], object]) -> None:
    """Run `body(tile, block)` for a chunk's tiles and blocks, in the order that the record says."""
    pixel_parts, block_parts = record.numbers("pixel_parts", "block_parts")
    pixel_part, block_part = (
        code.div(record.chunk, block_parts),
        code.rem(record.chunk, block_parts),
    )
    first_tile, last_tile = code.part(pixel_part, pixel_parts, tiles)
    first_block, last_block = code.part(block_part, block_parts, record.number("blocks"))

    def each_tile() -> AbstractContextManager[Any]:
        return code.loop(first_tile, last_tile, name="tile")

    def each_block() -> AbstractContextManager[Any]:
        return code.loop(first_block, last_block, name="block")

    inside = code.builder.icmp_signed("!=", record.number("blocks_inside"), int64(0))
    with code.builder.if_else(inside) as (blocks_inside, tiles_inside):
        with blocks_inside, each_tile() as tile, each_block() as block:
            body(tile, block)
        with tiles_inside, each_block() as block, each_tile() as tile:
            body(tile, block)


def first_pixel(code: Code, tile: Any, pixels: int, larger: Any) -> Any:
    """Return where a tile starts, if the first `larger` have `pixels` and the others one less."""
    return code.minimum(code.mul(tile, pixels), code.add(code.mul(tile, pixels - 1), larger))


def by_size(code: Code, pixels: int, is_large: Any | None, body: Callable[[int], object]) -> None:
    """Run `body(pixels)` with the size of a tile; all are large where `is_large` is None."""
    if is_large is None:
        body(pixels)
        return
    with code.builder.if_else(is_large) as (large, small):
        with large:
            body(pixels)
        with small:
            body(pixels - 1)


def by_tile(
    code: Code,
    kernel: TiledKernel,
    is_large: Any,
    is_last: Any,
    body: Callable[[Tile], object],
) -> None:
    """Run `body(tile)` with the tile that a size of tile and a block of channels call for."""
    large = is_large if kernel.has_smaller_tiles else None

    def of_block(*, last: bool) -> None:
        by_size(
            code,
            kernel.pixels,
            large,
            lambda pixels: body(kernel_tile(kernel, code.target, pixels, last=last)),
        )

    if (kernel.last_vectors, kernel.stored_lanes) == (kernel.vectors, code.lanes):
        of_block(last=False)
        return
    with code.builder.if_else(is_last) as (last, other):
        with last:
            of_block(last=True)
        with other:
            of_block(last=False)


def kernel_tile(kernel: TiledKernel, target: Target, pixels: int, *, last: bool) -> Tile:
    """Return the tile of one size; of the last block of channels, or of the others."""
    return Tile(
        pixels=pixels,
        vectors=kernel.last_vectors if last else kernel.vectors,
        stored_lanes=kernel.stored_lanes if last else target.lanes,
        unroll=kernel.unroll,
        has_residual=kernel.has_residual,
        activation=kernel.activation,
    )
