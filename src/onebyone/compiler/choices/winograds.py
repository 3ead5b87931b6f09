"""Which convolutions run after Winograd, and how."""

from dataclasses import dataclass
from math import prod

from onebyone.compiler.choices.cost import (
    INPUT_WORK,
    OUTPUT_WORK,
    PHASE_WORK,
    WEIGHT_WORK,
    estimate_work,
)
from onebyone.compiler.choices.tiles import choose_tiling
from onebyone.compiler.kernels.winograd.filtering import Winograd, winograds_for
from onebyone.compiler.target import Target
from onebyone.graph import Convolution, Graph

LARGEST_GROWTH = 0.3
"""Of the memory that a network takes without: its weights, and its two largest values."""


def choose_winograds(graph: Graph, target: Target) -> dict[str, Winograd]:
    """Return the convolutions, by name, that take less time this way, and how.

    Transformed weights take more memory. While all of them take more than there is room for, the
    step back that costs the least time for its memory is taken.
    """
    nodes = [node for node in graph if isinstance(node, Convolution) and _fits(node)]
    ways = {node.name: _rank(node, target) for node in nodes}
    extra = {name: options[0].floats for name, options in ways.items()}
    room = _room(graph)
    while sum(extra.values()) > room:
        name = min(
            (name for name, options in ways.items() if len(options) > 1),
            key=lambda name: _price(ways[name]),
        )
        ways[name].pop(0)
        extra[name] = ways[name][0].floats
    return {name: options[0].way for name, options in ways.items() if options[0].way is not None}


@dataclass(frozen=True, slots=True)
class _Option:
    """One way to compute a convolution: work, and floats of weights beyond those of the layer."""

    way: Winograd | None
    work: float
    floats: int


def _fits(node: Convolution) -> bool:
    return node.groups == 1 and node.stride == (1, 1) and node.dilation == (1, 1)


def _rank(node: Convolution, target: Target) -> list[_Option]:
    """Return the ways that are worth their memory, the fastest first, the direct one last.

    The number of images does not count, so that it does not change the results.
    """
    out_channels, depth, height, width = node.weight.shape
    options = [_Option(None, _work(node, target, None), 0)]
    for way in winograds_for((height, width)):
        floats = (way.multiplications - height * width) * out_channels * depth
        options.append(_Option(way, _work(node, target, way), floats))
    fastest: list[_Option] = []
    for option in sorted(options, key=lambda option: (option.work, option.floats)):
        if not fastest or option.floats < fastest[-1].floats:
            fastest.append(option)
    return fastest


def _price(options: list[_Option]) -> float:
    """Return the work that going back one step costs, for each float that it sets free."""
    faster, slower = options[:2]
    return (slower.work - faster.work) / (faster.floats - slower.floats)


def _room(graph: Graph) -> float:
    """Return how many floats of weights there may be in addition, for one image."""
    weights = sum(node.weight.numel() for node in graph if isinstance(node, Convolution))
    values = sorted(prod(node.shape[1:]) for node in graph)
    return LARGEST_GROWTH * (weights + sum(values[-2:]))


def _work(node: Convolution, target: Target, way: Winograd | None) -> float:
    """Estimate a core's work, in steps of one vector multiply-add, for one image."""
    _, channels, height, width = node.shape
    depth = node.weight.shape[1]
    if way is None:
        depth *= node.weight[0, 0].numel()
        tiling = choose_tiling(target, height * width, channels, depth)
        return estimate_work(target, tiling, depth) + WEIGHT_WORK * channels * depth
    down, across = way.patches(height, width)
    patches, products = down * across, way.multiplications
    tiling = choose_tiling(target, patches, channels, depth)
    vectors_in, vectors_out = (-(-count // target.lanes) for count in (depth, channels))
    return (
        products * estimate_work(target, tiling, depth)
        + patches * vectors_in * products * INPUT_WORK
        + patches * vectors_out * products * OUTPUT_WORK
        + WEIGHT_WORK * channels * depth * products
        + PHASE_WORK
    )
