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
from onebyone.compiler.memory.formats import FP32, Format
from onebyone.compiler.target import Target
from onebyone.graph import Function

LARGEST_UNROLL = 8

LINE_FLOATS = 16
"""Of a cache line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A block of outputs that is kept in registers: pixels x vectors of channels.

    Args:
        pixels: Output pixels.
        vectors: Vector registers of output channels for each pixel.
        stored_lanes: Lanes of the last vector that are stored; it is no wider than they need.
        of_pairs: Whether a step of K is a pair of bfloat16, and no number of float32.
        has_odd: Whether there is half a pair behind the last step.
        unroll: Steps of K that are written out.
        fetched_lines: Cache lines of later weights that are fetched in each of these.
        is_part: Whether it goes through a part of K, and its sums wait in memory for the next.
    """

    pixels: int
    vectors: int
    stored_lanes: int
    of_pairs: bool
    has_odd: bool
    unroll: int
    fetched_lines: int
    has_residual: bool
    activation: Function | None
    is_part: bool = False


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
    tiling: Tiling,
    target: Target,
    depth: int,
    *,
    fetchers: int,
    has_residual: bool,
    activation: Function | None,
    of_pairs: bool = False,
    has_odd: bool = False,
    weights: Format = FP32,
    is_part: bool = False,
) -> dict[str, Any]:
    """Return the fields of a `TiledKernel` for a tiling, and `depth` steps of K.

    While so many tiles (`fetchers`) read a panel of weights, they fetch the one behind it, of which
    a line has as many numbers as their format says.
    """
    unroll = max(u for u in range(1, LARGEST_UNROLL + 1) if depth % u == 0)
    lines = -(-unroll * tiling.vectors * target.lanes // line_numbers(weights))
    tile = Tile(
        pixels=tiling.pixels,
        vectors=tiling.vectors,
        stored_lanes=target.lanes,
        of_pairs=of_pairs,
        has_odd=has_odd,
        unroll=unroll,
        fetched_lines=-(-lines // fetchers) if fetchers else 0,
        has_residual=has_residual,
        activation=activation,
        is_part=is_part,
    )
    return {
        "tile": tile,
        "has_smaller_tiles": tiling.larger_tiles < tiling.tiles,
        "last_vectors": tiling.last_vectors,
    }


def line_numbers(numbers: Format) -> int:
    """Return how many numbers of a format a cache line has."""
    return LINE_FLOATS * numbers.per_float


def fetched_floats(tile: Tile, depth: int) -> int:
    """Return how many floats a tile fetches in all, in `depth` steps of K."""
    return depth // tile.unroll * tile.fetched_lines * LINE_FLOATS


@dataclass(frozen=True, slots=True)
class Part:
    """The tiles and blocks of a chunk: `tiles[0] .. tiles[1] - 1`, and likewise the blocks."""

    tiles: tuple[Any, Any]
    blocks: tuple[Any, Any]

    def each_tile(self, code: Code) -> AbstractContextManager[Any]:
        """Run what is written inside for each tile."""
        return code.loop(*self.tiles, name="tile")

    def each_block(self, code: Code) -> AbstractContextManager[Any]:
        """Run what is written inside for each block of channels."""
        return code.loop(*self.blocks, name="block")


def part_of_chunk(code: Code, record: Record, tiles: Any) -> Part:
    """Return the part that a chunk has of `tiles` and of all blocks.

    Where threads share pixels out, the next chunk has other blocks of the same pixels; else other
    pixels of the same blocks, whose weights are near.
    """
    b = code.builder
    pixel_parts, block_parts = record.numbers("pixel_parts", "block_parts")
    by_pixels = _is_set(code, record, "shares_pixels")
    inner = b.select(by_pixels, block_parts, pixel_parts)
    slow, fast = code.div(record.chunk, inner), code.rem(record.chunk, inner)
    pixel_part, block_part = b.select(by_pixels, slow, fast), b.select(by_pixels, fast, slow)
    return Part(
        tiles=code.part(pixel_part, pixel_parts, tiles),
        blocks=code.part(block_part, block_parts, record.number("blocks")),
    )


def for_tiles(code: Code, record: Record, part: Part, body: Callable[[Any, Any], object]) -> None:
    """Run `body(tile, block)` for a chunk's tiles and blocks, in the order that the record says."""
    inside = _is_set(code, record, "blocks_inside")
    with code.builder.if_else(inside) as (blocks_inside, tiles_inside):
        with blocks_inside, part.each_tile(code) as tile, part.each_block(code) as block:
            body(tile, block)
        with tiles_inside, part.each_block(code) as block, part.each_tile(code) as tile:
            body(tile, block)


def _is_set(code: Code, record: Record, name: str) -> Any:
    return code.builder.icmp_signed("!=", record.number(name), int64(0))


def first_of_pass(code: Code, record: Record, part: Part) -> Any:
    """Return the first of the tiles that read a panel one after the other, on one thread.

    Where threads share channels out, those are all tiles; else a chunk's.
    """
    by_pixels = _is_set(code, record, "shares_pixels")
    return code.builder.select(by_pixels, part.tiles[0], int64(0))


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
