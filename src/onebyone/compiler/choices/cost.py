"""What work costs, in steps: one vector multiply-add of one core."""

from onebyone.compiler.choices.tiling import Tiling
from onebyone.compiler.target import Target

LATENCY = 8
"""Multiply-adds that must be under way at once to keep the units busy: 4 cycles deep, 2 a cycle."""


TILE_OVERHEAD = 40
"""Instructions around a tile's sums, in multiply-adds."""


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

    tail = target.lanes_for(tiling.last_channels) / target.lanes
    whole = (tiling.blocks - 1) * row(tiling.vectors, tiling.vectors)
    return whole + row(tiling.last_vectors, tiling.last_vectors - 1 + tail)


INPUT_WORK = 12.0
"""To transform one vector of inputs: load, three or four additions, store."""


OUTPUT_WORK = 10.0
"""To transform one vector of products."""


WEIGHT_WORK = 0.6
"""To bring one weight from memory."""


PHASE_WORK = 20_000.0
"""To wait for all threads once more."""
