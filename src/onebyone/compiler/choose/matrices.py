"""How dense convolutions are cut that run on matrix tiles of bfloat16."""

from math import prod

from onebyone.compiler.choose.choices import Band, Choices
from onebyone.compiler.choose.chunks import WEIGHTS_SHARE, Way, choose_chunks
from onebyone.compiler.choose.cost import choose_shared, matrix_seconds
from onebyone.compiler.choose.tiling import TileSize, Tiling, cut_tiles
from onebyone.compiler.options import CompileOptions
from onebyone.compiler.target import Target
from onebyone.graph import Convolution, Pair

MATRIX_TILE = TileSize(32, 2)
"""Two matrix tiles of 16 pixels, and two of 16 channels: as many sums as leave room for what is
multiplied."""

STEP_NUMBERS = 32
"""Of K, which matrix tiles multiply at once."""

PANEL_SHARE = 0.25
"""Of a core's private cache: what a chunk's pixels may fill, once they are copied."""


def runs_on_matrix(node: Convolution, target: Target, options: CompileOptions) -> bool:
    """Whether a convolution runs on matrix tiles; it must have one group."""
    return options.numerics == "bf16" and target.bf16 == "tiles" and node.groups == 1


def choose_matrix(
    node: Convolution, target: Target, together: int, band: Band | None, far: float
) -> Choices:
    """Return how a convolution runs on matrix tiles, by rows if it is of a band."""
    images, channels, rows, columns = node.shape
    batches = images * rows if band else images // together
    pixels = columns if band else together * rows * columns
    tiling = cut_tiles(target, pixels, channels, MATRIX_TILE)
    steps = -(-node.weight[0].numel() // STEP_NUMBERS)
    seconds = matrix_seconds(target, tiling, batches, steps, prod(node.shape), far)
    if band:
        return Choices(unit="matrix", tile=tiling.size, band=band, seconds=seconds)
    weights = node.weight.numel() / 2
    values = prod(node.shape) * (1 + node.weight.shape[1] / channels) / 2
    shared = choose_shared(target, weights, values, far)
    parts = _parts(target, tiling, batches, steps, seconds=seconds, shared=shared)
    return Choices(
        unit="matrix",
        tile=tiling.size,
        together=together,
        parts=parts,
        inner="pixels",
        shared=shared if parts[1] > 1 else "pixels",
        seconds=seconds,
    )


def _parts(
    target: Target, tiling: Tiling, batches: int, steps: int, *, seconds: float, shared: Way
) -> Pair:
    """Return parts of pixels and of channels, so that a chunk's pixels stay in the private cache.

    If all weights stay there, only pixels are cut. Else each block's weights are read once for all
    pixels; or for each core's, where cores share pixels out.
    """
    tiles, blocks = batches * tiling.tiles, tiling.blocks
    panel_bytes = 2 * tiles * tiling.pixels * steps * STEP_NUMBERS
    weights_bytes = 2 * blocks * tiling.vectors * target.lanes * steps * STEP_NUMBERS
    fitting = -(-panel_bytes // int(target.level2_bytes * PANEL_SHARE))
    work = seconds * target.speeds.steps_per_second * target.lanes
    wanted = choose_chunks(work, tiles * blocks)
    if weights_bytes <= target.level2_bytes * WEIGHTS_SHARE:
        pixel_parts = min(tiles, max(wanted, fitting))
        return pixel_parts, min(blocks, -(-wanted // pixel_parts))
    if shared == "pixels":
        pixel_parts = min(tiles, max(target.speeds.cores, fitting))
        return pixel_parts, min(blocks, -(-wanted // pixel_parts))
    block_parts = min(blocks, wanted)
    return min(tiles, max(fitting, -(-wanted // block_parts))), block_parts
