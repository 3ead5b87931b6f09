"""Which grouped convolutions run along rows, where outputs side by side share what they read."""

from collections.abc import Mapping
from dataclasses import replace

from onebyone.compiler.choose.cost import along_rows_seconds, direct_seconds, far_rate
from onebyone.compiler.choose.tiles import choose_tiling
from onebyone.compiler.choose.tiling import TileSize, cut_evenly
from onebyone.compiler.choose.units import depth_of, runs_depthwise
from onebyone.compiler.target import Target
from onebyone.graph import Convolution, Graph


def choose_along_rows(graph: Graph, target: Target) -> Mapping[str, TileSize]:
    """Return the tiles of grouped convolutions that take less time along rows, by name.

    It changes the order of sums, so what one core does alone decides, and one image: neither
    threads nor batch change the results.
    """
    target = replace(target, speeds=target.speeds.of_one_core)
    far = far_rate(graph, target)
    found: dict[str, TileSize] = {}
    for node in graph:
        if not isinstance(node, Convolution) or not may_run_along_rows(node, target):
            continue
        pixels = _rank_pixels(node, target, far)
        best = min(pixels, key=lambda size: pixels[size], default=0)
        if best and pixels[best] < _product_seconds(node, target, far):
            found[node.name] = TileSize(best, 1)
    return found


def may_run_along_rows(node: Convolution, target: Target) -> bool:
    """Whether each vector of channels is of one group, or of several whole groups."""
    out_channels, depth = node.weight.shape[:2]
    group = out_channels // node.groups
    fills_vectors = group % target.lanes == 0
    shares_vectors = (
        target.lanes % group == 0 and out_channels % target.lanes == 0 and depth == group
    )
    return node.groups > 1 and not runs_depthwise(node) and (fills_vectors or shares_vectors)


def most_pixels(node: Convolution, target: Target) -> int:
    """Return how many outputs fit the registers, beside a row of weights and what is multiplied."""
    return target.registers - target.spare_registers - node.kernel_size[1] - 1


def _rank_pixels(node: Convolution, target: Target, far: float) -> Mapping[int, float]:
    """Return the seconds that one image takes in tiles of so many pixels."""
    columns = node.shape[3]
    sizes = {cut_evenly(columns, p)[0] for p in range(1, most_pixels(node, target) + 1)}
    return {size: along_rows_seconds(target, node, size, 1, far) for size in sorted(sizes)}


def _product_seconds(node: Convolution, target: Target, far: float) -> float:
    """Return the seconds that one image takes as a product, in the tiles that are best for it."""
    _, channels, height, width = node.shape
    depth = depth_of(node, "vector")
    tiling = choose_tiling(
        target,
        height * width,
        channels // node.groups,
        depth,
        kernel_rows=node.kernel_size[0],
    )
    return direct_seconds(target, node, tiling, 1, far)
