"""Which tile a convolution is cut into."""

import functools
from collections.abc import Mapping

from onebyone.compiler.choose.chunks import Way
from onebyone.compiler.choose.cost import product_seconds, tile_seconds
from onebyone.compiler.choose.filtering import Winograd
from onebyone.compiler.choose.tiling import TileSize, Tiling, cut_tiles
from onebyone.compiler.choose.units import Unit, depth_of
from onebyone.compiler.target import Target
from onebyone.graph import Convolution


@functools.lru_cache(maxsize=4096)
def choose_tiling(
    target: Target,
    pixels: int,
    channels: int,
    depth: int,
    unit: Unit = "vector",
    vectors: int | None = None,
    kernel_rows: int = 1,
) -> Tiling:
    """Return the tiling that takes the least time, of those of so many `vectors` if that is set."""
    return _fastest(rank_tilings(target, pixels, channels, depth, unit, kernel_rows), vectors)


@functools.lru_cache(maxsize=4096)
def choose_product_tiling(
    target: Target,
    way: Winograd,
    patches: int,
    channels: int,
    depth: int,
    shared: Way,
    vectors: int | None = None,
) -> Tiling:
    """Return the tiling of Winograd's products that takes the least time, as `choose_tiling`."""
    return _fastest(rank_product_tilings(target, way, patches, channels, depth, shared), vectors)


def _fastest(ranked: Mapping[Tiling, float], vectors: int | None) -> Tiling:
    fitting = [tiling for tiling in ranked if vectors in (None, tiling.vectors)]
    return min(fitting, key=lambda tiling: ranked[tiling])


def rank_tilings(
    target: Target,
    pixels: int,
    channels: int,
    depth: int,
    unit: Unit = "vector",
    kernel_rows: int = 1,
) -> dict[Tiling, float]:
    """Return all tilings that the registers have room for, and the seconds that each takes.

    Accumulators, one row of weights and one number must fit the registers, and leave some to spare;
    the pixels' addresses must fit the general ones. A tile of one vector may have twice as many
    pixels: it needs them to hide the latency.
    """
    return {
        tiling: tile_seconds(target, tiling, depth, channels * depth, unit, kernel_rows)
        for tiling in _tilings(target, pixels, channels)
    }


def rank_product_tilings(
    target: Target, way: Winograd, patches: int, channels: int, depth: int, shared: Way
) -> dict[Tiling, float]:
    """Return all tilings of Winograd's products, and the seconds that each takes."""
    return {
        tiling: product_seconds(target, way, tiling, channels, depth, shared)
        for tiling in _tilings(target, patches, channels)
    }


def choose_row_tiling(
    target: Target, node: Convolution, unit: Unit = "vector", vectors: int | None = None
) -> Tiling:
    """Return the tiling of one row of outputs of a convolution, as `choose_tiling`."""
    channels, columns = node.shape[1] // node.groups, node.shape[3]
    return choose_tiling(target, columns, channels, depth_of(node, unit), unit, vectors)


def _tilings(target: Target, pixels: int, channels: int) -> list[Tiling]:
    registers = target.registers - target.spare_registers
    most = {1: 2 * target.tile_pixels}
    return [
        cut_tiles(target, pixels, channels, TileSize(p, v))
        for v in range(1, 9)
        for p in range(1, most.get(v, target.tile_pixels) + 1)
        if p * v + v + 1 <= registers
    ]
