"""How outputs of a convolution are cut into tiles, chunks and loops."""

import functools
from dataclasses import dataclass

from onebyone.compiler.target import Target

LATENCY = 8
"""Multiply-adds that must be under way at once to keep the units busy: 4 cycles deep, 2 a cycle."""

TILE_OVERHEAD = 40
"""Instructions around a tile's sums, in multiply-adds."""

LARGEST_UNROLL = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """Cut `M` pixels and `N_out` channels.

    Args:
        pixels: Pixels of the larger tiles; the others have one less.
        larger_tiles: How many tiles have `pixels`.
        tiles: Tiles in all.
        vectors: Vectors of channels of a block.
        blocks: Blocks of channels.
        last_vectors: Vectors of the last block.
        tail_lanes: Channels in the last block's last vector.
    """

    pixels: int
    larger_tiles: int
    tiles: int
    vectors: int
    blocks: int
    last_vectors: int
    tail_lanes: int


def cut_evenly(total: int, largest: int) -> tuple[int, int, int]:
    """Cut `total` into as few parts of at most `largest` as possible, which differ by at most one.

    Returns:
        Size of the larger parts, how many of those there are, and how many parts in all.

    Example:
        >>> cut_evenly(49, 14)  # 13 + 12 + 12 + 12
        (13, 1, 4)
        >>> cut_evenly(28, 14)
        (14, 2, 2)
    """
    parts = -(-total // largest)
    size = -(-total // parts)
    return size, total - parts * (size - 1), parts


@functools.lru_cache(maxsize=4096)
def choose_tiling(target: Target, pixels: int, channels: int, depth: int) -> Tiling:
    """Return the tiling with the least estimated work.

    A step of K in a tile of P pixels and V vectors takes P * V multiply-adds, P + V loads, and
    never less than the units' latency. Accumulators, one row of weights and one number must fit the
    registers, and leave some to spare; the pixels' addresses must fit the general ones. A tile of
    one vector may have twice as many pixels: it needs them to hide the latency.
    """
    registers = target.registers - target.spare_registers
    most = {1: 2 * target.tile_pixels}
    candidates = [
        _tiling(target, pixels, channels, p, v)
        for v in range(1, 9)
        for p in range(1, most.get(v, target.tile_pixels) + 1)
        if p * v + v + 1 <= registers
    ]
    return min(candidates, key=lambda tiling: estimate_work(target, tiling, depth))


def _tiling(target: Target, pixels: int, channels: int, largest: int, vectors: int) -> Tiling:
    size, larger, tiles = cut_evenly(pixels, largest)
    block = vectors * target.lanes
    blocks = -(-channels // block)
    rest = channels - (blocks - 1) * block
    last_vectors = -(-rest // target.lanes)
    return Tiling(
        pixels=size,
        larger_tiles=larger,
        tiles=tiles,
        vectors=vectors,
        blocks=blocks,
        last_vectors=last_vectors,
        tail_lanes=rest - (last_vectors - 1) * target.lanes,
    )


def estimate_work(target: Target, tiling: Tiling, depth: int) -> float:
    """Return the steps of one vector multiply-add that all tiles take with `depth` steps of K.

    A last vector that is narrower than a register counts as a part of one.
    """

    def tile(pixels: int, vectors: int, width: float) -> float:
        step = max(pixels * width, pixels + vectors, LATENCY)
        return depth * step + TILE_OVERHEAD + 2 * pixels * vectors

    def row(vectors: int, width: float) -> float:
        smaller = tiling.tiles - tiling.larger_tiles
        total = tiling.larger_tiles * tile(tiling.pixels, vectors, width)
        return total + (smaller * tile(tiling.pixels - 1, vectors, width) if smaller else 0.0)

    tail = target.lanes_for(tiling.tail_lanes) / target.lanes
    whole = (tiling.blocks - 1) * row(tiling.vectors, tiling.vectors)
    return whole + row(tiling.last_vectors, tiling.last_vectors - 1 + tail)


def choose_unroll(depth: int) -> int:
    """Return how many steps of K are written out: the largest divisor up to 8."""
    return max(u for u in range(1, LARGEST_UNROLL + 1) if depth % u == 0)


CHUNK_COUNTS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Even numbers, which two threads share without a rest."""

CHUNK_WORK = 1_000_000
"""Multiply-adds of a chunk, if there are enough: some 20 microseconds of a core."""

SMALLEST_CHUNK_WORK = 60_000
"""What is not worth cutting further: handing out a chunk takes about a tenth of a microsecond."""


def choose_chunks(work: float, largest: int) -> int:
    """Return into how many chunks work (in multiply-adds) is cut; at most `largest`.

    At least eight where that is worthwhile, so that a thread that loses its core holds up an
    eighth.
    """
    wanted = max(work / CHUNK_WORK, min(8, work / SMALLEST_CHUNK_WORK))
    fitting = [count for count in CHUNK_COUNTS if count <= largest]
    return next((count for count in fitting if count >= wanted), fitting[-1])
