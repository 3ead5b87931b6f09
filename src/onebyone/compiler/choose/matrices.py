"""How dense convolutions are cut that run on matrix tiles of bfloat16."""

from math import prod

from onebyone.compiler.choose.choices import Band, Choices
from onebyone.compiler.choose.chunks import LEAST_CHUNKS, NEAR_SHARE, Way, choose_chunks
from onebyone.compiler.choose.cost import MATRIX_DEPTH, choose_shared, matrix_seconds
from onebyone.compiler.choose.tiling import TileSize, Tiling, cut_tiles
from onebyone.compiler.target import Target
from onebyone.graph import Convolution, Pair

MATRIX_TILE = TileSize(32, 2)
"""Two matrix tiles of 16 pixels, and two of 16 channels: as many sums as leave room for what is
multiplied."""

PIXELS_SHARE = 0.45
"""Of a core's private cache: what a chunk's pixels may fill, which are read for each block."""


def choose_matrix(
    node: Convolution, target: Target, together: int, band: Band | None, far: float
) -> Choices:
    """Return how a convolution runs on matrix tiles, by rows if it is of a band."""
    images, channels, rows, columns = node.shape
    batches = images * rows if band else images // together
    pixels = columns if band else together * rows * columns
    tiling = cut_tiles(target, pixels, channels, MATRIX_TILE)
    steps = -(-node.weight[0].numel() // MATRIX_DEPTH)
    seconds = matrix_seconds(target, tiling, batches, steps, prod(node.shape), far)
    if band:
        return Choices(unit="matrix", tile=tiling.size, band=band, seconds=seconds)
    weights_bytes = 2 * node.weight.numel()
    values = prod(node.shape) * (1 + node.weight.shape[1] / channels) / 2
    shared = choose_shared(target, weights_bytes, values, far)
    parts = _parts(
        target,
        tiling,
        batches * tiling.tiles,
        pixels_bytes=_read_bytes(node),
        weights_bytes=weights_bytes,
        seconds=seconds,
        shared=shared,
    )
    return Choices(
        unit="matrix",
        tile=tiling.size,
        together=together,
        parts=parts,
        inner="pixels",
        shared=shared if parts[1] > 1 else "pixels",
        seconds=seconds,
    )


def _read_bytes(node: Convolution) -> int:
    """Return what all pixels fill that are read for each block of channels."""
    images, _, rows, columns = node.shape
    depth = node.weight.shape[1]
    is_copied = node.stride != (1, 1) or depth % MATRIX_DEPTH != 0
    return 2 * images * rows * columns * (node.weight[0].numel() if is_copied else depth)


def _parts(
    target: Target,
    tiling: Tiling,
    tiles: int,
    *,
    pixels_bytes: int,
    weights_bytes: int,
    seconds: float,
    shared: Way,
) -> Pair:
    """Return parts of pixels and of channels, so that a chunk's pixels stay in the private cache.

    If all weights stay there, only pixels are cut. Else each block's weights are read once for all
    pixels; or for each core's, where cores share pixels out.
    """
    blocks = tiling.blocks
    fitting = -(-pixels_bytes // int(target.level2_bytes * PIXELS_SHARE))
    work = seconds * target.speeds.steps_per_second * target.lanes
    wanted = choose_chunks(work, tiles * blocks)
    if weights_bytes <= target.level2_bytes * NEAR_SHARE:
        pixel_parts = min(tiles, max(wanted, fitting))
        return pixel_parts, min(blocks, -(-wanted // pixel_parts))
    if shared == "pixels":
        pixel_parts = min(tiles, max(target.speeds.cores, fitting))
        return pixel_parts, min(blocks, -(-wanted // pixel_parts))
    block_parts = min(blocks, wanted)
    # Blocks of other channels read the same pixels, which may have been copied for them.
    needed = -(-min(wanted, LEAST_CHUNKS) // block_parts)
    return min(tiles, max(fitting, needed)), block_parts
