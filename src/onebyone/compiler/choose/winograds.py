"""Which convolutions run after Winograd, and how."""

from dataclasses import dataclass, replace
from math import prod

from onebyone.compiler.choose.cost import (
    direct_seconds,
    far_rate,
    winograd_seconds,
    winograd_shared,
)
from onebyone.compiler.choose.filtering import Winograd, winograds_for
from onebyone.compiler.choose.tiles import choose_product_tiling, choose_tiling
from onebyone.compiler.target import Target
from onebyone.graph import Convolution, Graph

LARGEST_GROWTH = 0.3
"""Of the memory that a network takes without: its weights, and its two largest values."""


def choose_winograds(graph: Graph, target: Target) -> dict[str, tuple[Winograd | None, str]]:
    """Return how convolutions run that could run after Winograd: which way if any, and why so.

    What one core does alone decides, and one image: neither threads nor batch change the results.
    Transformed weights take more memory. While all of them take more than there is room for, the
    step back that costs the least time for its memory is taken.
    """
    target = replace(target, speeds=target.speeds.of_one_core)
    nodes = [node for node in graph if isinstance(node, Convolution) and _fits(node)]
    far = far_rate(graph, target)
    ranked = {node.name: _rank(node, target, far) for node in nodes}
    left = {name: list(options) for name, options in ranked.items()}
    extra = {name: options[0].floats for name, options in left.items()}
    room = _room(graph)
    while sum(extra.values()) > room:
        name = min(
            (name for name, options in left.items() if len(options) > 1),
            key=lambda name: _price(left[name]),
        )
        left[name].pop(0)
        extra[name] = left[name][0].floats
    return {name: (left[name][0].way, _why(left[name], ranked[name])) for name in ranked}


@dataclass(frozen=True, slots=True)
class _Option:
    """One way to compute a convolution: its time, and floats of weights beyond the layer's own."""

    way: Winograd | None
    seconds: float
    floats: int


def _fits(node: Convolution) -> bool:
    return node.is_plain and bool(winograds_for(node.kernel_size))


def _rank(node: Convolution, target: Target, far: float) -> list[_Option]:
    """Return the ways that are worth their memory, the fastest first, the direct one last.

    The number of images does not count, so that it does not change the results.
    """
    out_channels, depth, height, width = node.weight.shape
    options = [_Option(None, _seconds(node, target, None, far), 0)]
    for way in winograds_for((height, width)):
        floats = (way.multiplications - height * width) * out_channels * depth
        options.append(_Option(way, _seconds(node, target, way, far), floats))
    fastest: list[_Option] = []
    for option in sorted(options, key=lambda option: (option.seconds, option.floats)):
        if not fastest or option.floats < fastest[-1].floats:
            fastest.append(option)
    return fastest


def _price(options: list[_Option]) -> float:
    """Return the time that going back one step costs, for each float that it sets free."""
    faster, slower = options[:2]
    return (slower.seconds - faster.seconds) / (faster.floats - slower.floats)


def _room(graph: Graph) -> float:
    """Return how many floats of weights there may be in addition, for one image."""
    weights = sum(node.weight.numel() for node in graph if isinstance(node, Convolution))
    values = sorted(prod(node.shape[1:]) for node in graph)
    return LARGEST_GROWTH * (weights + sum(values[-2:]))


def _seconds(node: Convolution, target: Target, way: Winograd | None, far: float) -> float:
    """Return the time of one image, in the tiles that are best for one."""
    _, channels, height, width = node.shape
    depth = node.weight.shape[1]
    if way is None:
        tiling = choose_tiling(
            target,
            height * width,
            channels,
            node.weight[0].numel(),
            kernel_rows=node.kernel_size[0],
        )
        return direct_seconds(target, node, tiling, 1, far)
    patches = prod(way.patches(height, width))
    shared = winograd_shared(target, node, way, 1, far)
    tiling = choose_product_tiling(target, way, patches, channels, depth, shared)
    return winograd_seconds(target, node, way, tiling, 1, far)


def _why(left: list[_Option], ranked: list[_Option]) -> str:
    """Say why the first of those that are left was taken."""
    taken, direct = left[0], ranked[-1]
    is_small = len(left) < len(ranked)
    if taken is direct:
        return "Winograd's weights would be too large" if is_small else "Winograd saves nothing"
    more = ", as larger patches need too large weights" if is_small else ""
    return f"{taken.seconds / direct.seconds:.0%} of direct{more}"
