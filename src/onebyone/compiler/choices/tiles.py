"""Which tile a convolution is cut into."""

import functools

from onebyone.compiler.choices.cost import estimate_work
from onebyone.compiler.choices.tiling import Tiling, cut_tiles
from onebyone.compiler.target import Target

LARGEST_UNROLL = 8


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
        cut_tiles(target, pixels, channels, p, v)
        for v in range(1, 9)
        for p in range(1, most.get(v, target.tile_pixels) + 1)
        if p * v + v + 1 <= registers
    ]
    return min(candidates, key=lambda tiling: estimate_work(target, tiling, depth))


def choose_unroll(depth: int) -> int:
    """Return how many steps of K are written out: the largest divisor up to 8."""
    return max(u for u in range(1, LARGEST_UNROLL + 1) if depth % u == 0)
