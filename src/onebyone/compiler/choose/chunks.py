"""Into how many chunks work is cut for the threads, and what is the inner loop."""

from typing import Literal

from onebyone.compiler.choose.tiling import Tiling
from onebyone.compiler.memory.formats import FLOAT_BYTES
from onebyone.compiler.target import Target
from onebyone.graph import Pair, Shape

Way = Literal["channels", "pixels"]

CHUNK_COUNTS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Even numbers, which two threads share without a rest."""

CHUNK_WORK = 1_000_000
"""Multiply-adds of a chunk, if there are enough: some 20 microseconds of a core."""

SMALLEST_CHUNK_WORK = 60_000
"""What is not worth cutting further: handing out a chunk takes about a tenth of a microsecond."""

NEAR_SHARE = 0.4
"""Of a core's private cache: what may be filled by what is to stay there, weights or pixels."""


LEAST_TILES = 4
"""Of a chunk whose sums wait in memory for the next part of the kernel."""

LEAST_CHUNKS = 8
"""A thread that loses its core then holds up an eighth."""

SUMS_SHARE = 0.25
"""Of a core's private cache: what the sums of a chunk's patches may fill."""


def choose_chunks(work: float, largest: int) -> int:
    """Return into how many chunks work (in multiply-adds) is cut; at most `largest`.

    At least `LEAST_CHUNKS` where that is worthwhile.
    """
    wanted = max(work / CHUNK_WORK, min(LEAST_CHUNKS, work / SMALLEST_CHUNK_WORK))
    fitting = [count for count in CHUNK_COUNTS if count <= largest]
    return next((count for count in fitting if count >= wanted), fitting[-1])


def parts_of_rows(shape: Shape, lanes: int, work: float) -> Pair:
    """Return into how many parts rows and channels are cut, for about `work` multiply-adds."""
    images, channels, rows, _ = shape
    vectors = -(-channels // lanes)
    wanted = choose_chunks(work, images * rows * vectors)
    row_parts = choose_chunks(work, images * rows) if images * rows >= 2 * wanted else 1
    if row_parts == wanted:
        return row_parts, 1
    channel_parts = choose_chunks(work, vectors)
    return min(images * rows, -(-wanted // channel_parts)), channel_parts


def parts_of_kernel(
    target: Target, tiling: Tiling, rows: int, *, panel_bytes: int, weights_bytes: int
) -> int:
    """Return into how many parts the rows of a kernel are cut.

    The weights of a part, and of the next, which is fetched meanwhile, stay in the private cache.
    """
    room = target.level2_bytes * NEAR_SHARE
    if weights_bytes <= room or tiling.tiles < LEAST_TILES:
        return 1
    wanted = 2 * panel_bytes / room
    return next(
        parts for parts in range(1, rows + 1) if rows % parts == 0 and parts >= min(wanted, rows)
    )


def parts_of_pixels(target: Target, tiling: Tiling, tiles: int, blocks: int, shared: Way) -> int:
    """Return into how many parts the pixels of a convolution are cut whose kernel is.

    Each part reads a block's weights again; so there are as many as cores need, of several tiles
    each, or as many as let a chunk's sums stay near.
    """
    tile_bytes = FLOAT_BYTES * tiling.pixels * tiling.vectors * target.lanes
    fitting = -(-tiles * tile_bytes // max(1, int(target.level2_bytes * SUMS_SHARE)))
    own = target.speeds.cores if shared == "pixels" else 1
    wanted = max(own, -(-max(LEAST_CHUNKS, 2 * target.speeds.cores) // blocks))
    return min(tiles, max(1, fitting, min(wanted, tiles // LEAST_TILES)))


def parts_of_tiles(
    target: Target,
    tiles: int,
    blocks: int,
    *,
    macs: int,
    weights_bytes: int,
    shared: Way,
    converts_panels: bool,
) -> tuple[Pair, Way]:
    """Return parts of pixels and of channel blocks, and what is the inner loop.

    If all weights stay in the private cache, pixels go outside and are read once. Else each block's
    weights are read once for all pixels; or for each core's, where cores share pixels out. So it is
    also where a block's weights are converted before all pixels.
    """
    wanted = choose_chunks(macs, tiles * blocks)
    are_near = weights_bytes <= target.level2_bytes * NEAR_SHARE
    if are_near and converts_panels:
        own = target.speeds.cores if shared == "pixels" else 1
        return (min(tiles, max(own, -(-min(wanted, LEAST_CHUNKS) // blocks))), blocks), "pixels"
    if are_near:
        pixel_parts = min(tiles, wanted)
        return (pixel_parts, min(blocks, -(-wanted // pixel_parts))), "channels"
    if shared == "pixels":
        pixel_parts = min(tiles, target.speeds.cores)
        return (pixel_parts, min(blocks, -(-wanted // pixel_parts))), "pixels"
    block_parts = min(blocks, wanted)
    return (min(tiles, -(-wanted // block_parts)), block_parts), "pixels"


def parts_along_rows(
    target: Target, tiles: int, blocks: int, *, macs: int, source_bytes: int
) -> tuple[Pair, Way]:
    """Return parts of a grouped convolution's pixels and vectors of channels, and what is inside.

    If all that is read stays in the private cache, a vector's weights are read once for all pixels
    of a core. Else pixels are, which lie there with all their channels.
    """
    wanted = choose_chunks(macs, tiles * blocks)
    is_near = source_bytes <= target.level2_bytes * NEAR_SHARE
    pixel_parts = min(tiles, target.speeds.cores if is_near else wanted)
    parts = pixel_parts, min(blocks, -(-wanted // pixel_parts))
    return parts, "pixels" if is_near else "channels"


def parts_of_inputs(target: Target, tiling: Tiling, products: int, depth: int) -> Pair:
    """Return parts of patches and channels, where chunks transform their own inputs.

    These, and a block's sums, stay in the private cache; and each chunk has all channels, as others
    would transform the same inputs again.
    """
    numbers = depth + tiling.vectors * target.lanes
    chunk_bytes = FLOAT_BYTES * products * tiling.tiles * tiling.pixels * numbers
    fitting = -(-chunk_bytes // int(target.level2_bytes * SUMS_SHARE))
    return min(tiling.tiles, max(fitting, LEAST_CHUNKS)), 1


def parts_of_patches(target: Target, tiling: Tiling, products: int, shared: Way) -> Pair:
    """Return into how many parts patches and channels are cut for Winograd's products.

    Each chunk reads all weights of its channels; so patches are cut no further than there must be
    chunks for threads, and room for their sums.
    """
    block_bytes = 4 * tiling.vectors * target.lanes
    sums_bytes = products * tiling.tiles * tiling.pixels * block_bytes
    fitting = -(-sums_bytes // max(1, int(target.level2_bytes * SUMS_SHARE)))
    own = target.speeds.cores if shared == "pixels" else 1
    wanted = max(fitting, own, -(-LEAST_CHUNKS // tiling.blocks))
    return min(tiling.tiles, wanted), tiling.blocks
