"""What work takes: the one cost model, on which all choices rest.

A step is one vector multiply-add of one core. Small work is counted in multiply-adds of single
numbers instead. The constants were measured on two cores of an AMD Zen 4, with vectors of 256 and
of 512 bits; only their ratios count, and none is a time.
"""

from math import prod

from onebyone.compiler.choose.filtering import Winograd
from onebyone.compiler.choose.tiling import Tiling
from onebyone.compiler.target import Target
from onebyone.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Convolution,
    Input,
    LayerNorm,
    Node,
    Pool,
    Reshape,
    Shape,
    Shuffle,
    Slice,
    Softmax,
    Upsample,
)
from onebyone.graph.functions import FUNCTIONS

LATENCY = 8
"""Steps that must be under way at once to keep the units busy: 4 cycles deep, 2 a cycle."""

TILE_OVERHEAD = 40
"""Instructions around a tile's sums, in steps."""

INPUT_WORK = 12.0
"""Steps to transform one vector of Winograd's inputs: load, three or four additions, store."""

OUTPUT_WORK = 10.0
"""Steps to transform one vector of Winograd's products."""

WEIGHT_WORK = 0.6
"""Steps to bring one weight from memory."""

PHASE_WORK = 20_000.0
"""Steps to wait for all threads once more."""

DEPTHWISE_WEIGHT = 8
"""How much longer a depthwise multiply-add takes than one of a matrix product."""

TRANSFORM_WEIGHT = 8
"""How much longer it takes to transform a number for Winograd than to multiply and add."""

TRANSPOSE_WEIGHT = 8
"""How much longer it takes to bring channels from outermost to innermost, or back."""

SCATTERED_WEIGHT = 8
"""How much longer it takes to fetch channels one by one than as vectors."""

SUMMING_WEIGHT = 4
"""How much longer it takes to normalize a number, or to mix it of four."""


def tile_steps(target: Target, tiling: Tiling, depth: int) -> float:
    """Return the steps that all tiles take with `depth` steps of K.

    A step of K in a tile of P pixels and V vectors takes P * V multiply-adds, P + V loads, and
    never less than the units' latency. A last vector that is narrower than a register counts as a
    part of one.
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


def direct_steps(target: Target, node: Convolution, tiling: Tiling, batches: int) -> float:
    """Return the steps of a dense convolution, of whose `batches` each is cut so."""
    tiles = batches * node.groups * tile_steps(target, tiling, node.weight[0].numel())
    return tiles + WEIGHT_WORK * node.weight.numel()


def winograd_steps(
    target: Target, node: Convolution, way: Winograd, tiling: Tiling, images: int
) -> float:
    """Return the steps of a convolution after Winograd, the patches of all images cut so."""
    channels, depth = node.weight.shape[:2]
    patches, products = images * prod(way.patches(*node.shape[2:])), way.multiplications
    vectors_in, vectors_out = (-(-count // target.lanes) for count in (depth, channels))
    return (
        products * tile_steps(target, tiling, depth)
        + patches * vectors_in * products * INPUT_WORK
        + patches * vectors_out * products * OUTPUT_WORK
        + WEIGHT_WORK * channels * depth * products
        + PHASE_WORK
    )


def row_work(node: Node) -> float:
    """Return what a node whose kernel goes row by row takes, in multiply-adds of single numbers."""
    numbers = prod(node.shape)
    match node:
        case Convolution():
            return node.macs * DEPTHWISE_WEIGHT
        case Pool():
            height, width = (
                max(w.stop - w.start for w in some) for some in (node.rows, node.columns)
            )
            return numbers * height * width
        case Upsample(mode="bilinear") | Softmax() | LayerNorm():
            return numbers * SUMMING_WEIGHT
        case Shuffle() | Slice(dim=1):
            return numbers * SCATTERED_WEIGHT
        case (
            Activation(function=function)
            | Arithmetic(activation=function)
            | BatchNorm(activation=function)
        ):
            return numbers * (FUNCTIONS[function.name].cost if function else 1)
        case Input() | Reshape():
            return transpose_work(node.shape)
        case _:
            return numbers


def transpose_work(shape: Shape) -> float:
    """Return what it takes to move a value's channels from outermost to innermost, or back."""
    return prod(shape) * TRANSPOSE_WEIGHT
