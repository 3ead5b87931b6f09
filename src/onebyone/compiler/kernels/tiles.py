"""The road of a chunk through its tiles of pixels and blocks of channels.

A line of pixels is cut into tiles of `pixels` and of one less; channels are cut into blocks, of
which the last may be narrower. Each of these sizes has a body of its own.
"""

from abc import ABC
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
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

    Pixels of an image are cut into tiles of `tile.pixels` and one less; channels of a group into
    blocks of `tile.vectors` registers and a last one of `last_vectors`, of whose last register
    `last_lanes` are stored.
    """

    tile: Tile
    has_smaller_tiles: bool
    last_vectors: int
    last_lanes: int

    def of_size(self, pixels: int, *, last: bool) -> Tile:
        """Return the tile of one size; of the last block of channels, or of the others."""
        tile = replace(self.tile, pixels=pixels)
        if last:
            tile = replace(tile, vectors=self.last_vectors, stored_lanes=self.last_lanes)
        return tile


def tiled(
    tiling: Tiling, target: Target, depth: int, *, has_residual: bool, activation: Function | None
) -> dict[str, Any]:
    """Return the fields of a `TiledKernel` for a tiling, and `depth` steps of K."""
    tile = Tile(
        pixels=tiling.pixels,
        vectors=tiling.vectors,
        stored_lanes=target.lanes,
        unroll=max(u for u in range(1, LARGEST_UNROLL + 1) if depth % u == 0),
        has_residual=has_residual,
        activation=activation,
    )
    return {
        "tile": tile,
        "has_smaller_tiles": tiling.larger_tiles < tiling.tiles,
        "last_vectors": tiling.last_vectors,
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
            kernel.tile.pixels,
            large,
            lambda pixels: body(kernel.of_size(pixels, last=last)),
        )

    if kernel.of_size(1, last=True) == kernel.of_size(1, last=False):
        of_block(last=False)
        return
    with code.builder.if_else(is_last) as (last, other):
        with last:
            of_block(last=True)
        with other:
            of_block(last=False)
