"""What work takes: the one cost model, on which all choices rest.

Seconds of one core, from what the machine does in a second (`Target.speeds`): vector multiply-adds
("steps"), and bytes that are read from as far away as they lie. What is counted in steps here are
instructions, and ratios between them; none is a time of some machine. Small work is counted in
multiply-adds of single numbers instead.
"""

from math import prod

from onebyone.compiler.choose.chunks import (
    Way,
    parts_of_inputs,
    parts_of_kernel,
    parts_of_patches,
    parts_of_pixels,
)
from onebyone.compiler.choose.filtering import Winograd
from onebyone.compiler.choose.tiling import Tiling, cut_evenly
from onebyone.compiler.choose.units import Converted, Unit, depth_of, step_bytes
from onebyone.compiler.target import Target
from onebyone.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Convolution,
    Graph,
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

LOAD_STEPS = 1.2
"""Steps that a load takes where there is one for each multiply-add, as a loop of both shows."""

TILE_OVERHEAD = 40
"""Instructions around a tile's sums, in steps."""

TRANSFORM_STEPS = 6.0
"""Steps to transform one vector of Winograd's inputs or products: load, additions, store."""

EXPOSED = 0.65
"""Weights are read while others are multiplied. This part of the shorter one's time is added to the
longer one's, as measured in whole networks; a loop that does nothing else hides all of it."""

HANDED = 2.0
"""A line that goes to another core is read there, and taken back by who next writes to it; layers
whose values were handed on took so much longer than reading alone."""

CONVERT_STEPS = 2.0
"""Steps to make float32 of a vector of halves, on the units that multiply."""

STORED_STEPS = 8.0
"""Steps to do so and store it, for all tiles that will read it."""

MATRIX_DEPTH = 32
"""Numbers of K that matrix tiles multiply at once."""

MATRIX_MACS = 4 * 16 * 16 * MATRIX_DEPTH
"""Multiply-adds of a step of K in a block of four matrix tiles."""

COPY_STEPS = 4
"""Steps to copy 32 numbers that matrix tiles will read."""

FINISH_STEPS = 10
"""Steps to bring one vector of sums to its place: load, add, activate, round, store."""

PHASE_STEPS = 20_000.0
"""Steps that are lost where all threads wait for the last once more, beside the wait itself."""

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


def tile_seconds(
    target: Target,
    tiling: Tiling,
    depth: int,
    weights: int,
    unit: Unit = "vector",
    kernel_rows: int = 1,
) -> float:
    """Return the time of all tiles with `depth` steps of K, whose weights have been fetched.

    A step of K in a tile of P pixels and V vectors takes P * V multiply-adds and P + V loads, one
    more for each pixel whose address has no general register; and never less than the units'
    latency, or than it takes to read V vectors of weights. Where weights are halves, these are
    converted by the units that multiply. Tiles that follow each other read the same panel, while
    the next one is fetched; or all of them, if there are no more. Where kernels are cut, they read
    a part of it, and sums go to memory and back. A last vector that is narrower than a register
    counts as a part of one.

    Args:
        target: Processor.
        tiling: How pixels and channels are cut.
        depth: Steps of K.
        weights: How many weights there are in all; pairs count as one.
        unit: What multiplies.
        kernel_rows: Into how many parts K may be cut.
    """
    speeds, vector_bytes = target.speeds, step_bytes(unit) * target.lanes
    panel_bytes = tiling.vectors * vector_bytes * depth
    weights_bytes = step_bytes(unit) * weights
    parts = parts_of_kernel(
        target, tiling, kernel_rows, panel_bytes=panel_bytes, weights_bytes=weights_bytes
    )
    near = speeds.bytes_per_second(min(weights_bytes, 2 * panel_bytes / parts))
    conversion = CONVERT_STEPS if unit == "halves" else 0.0
    steps_for_a_vector = vector_bytes / near * speeds.steps_per_second

    def tile(pixels: int, vectors: int, width: float) -> float:
        multiplied = (pixels + conversion) * width
        loads = pixels + vectors + max(0, pixels - target.tile_pixels)
        step = max(multiplied, LOAD_STEPS * loads, LATENCY, vectors * steps_for_a_vector)
        return depth * step + parts * (TILE_OVERHEAD + 2 * pixels * vectors)

    def row(vectors: int, width: float) -> float:
        smaller = tiling.tiles - tiling.larger_tiles
        total = tiling.larger_tiles * tile(tiling.pixels, vectors, width)
        return total + (smaller * tile(tiling.pixels - 1, vectors, width) if smaller else 0.0)

    tail = target.lanes_for(tiling.last_channels) / target.lanes
    whole = (tiling.blocks - 1) * row(tiling.vectors, tiling.vectors)
    steps = whole + row(tiling.last_vectors, tiling.last_vectors - 1 + tail)
    if parts > 1:
        pixel_parts = parts_of_pixels(target, tiling, tiling.tiles, tiling.blocks, "channels")
        steps *= _unevenness(target, pixel_parts * tiling.blocks)
    return steps / speeds.steps_per_second


def direct_seconds(
    target: Target,
    node: Convolution,
    tiling: Tiling,
    batches: int,
    far: float,
    unit: Unit = "vector",
    *,
    converted: Converted = "in tiles",
) -> float:
    """Return the time of a dense convolution, of whose `batches` each is cut so.

    Args:
        target: Processor.
        node: The convolution.
        tiling: How the pixels of each batch, and channels, are cut.
        batches: Of pixels.
        far: Bytes of weights that arrive in a second, from where the network's weights lie.
        unit: What multiplies.
        converted: Where halves become float32.
    """
    depth = depth_of(node, unit)
    weights = node.shape[1] * depth  # numbers, or pairs in as much room
    kept = "vector" if converted == "beforehand" else unit
    read = kept if converted == "in tiles" else "vector"
    rows = 1 if converted == "by panels" else node.kernel_size[0]
    tiles = tile_seconds(target, tiling, depth, weights // node.groups, read, rows)
    steps = STORED_STEPS * weights / target.lanes if converted == "by panels" else 0.0
    alone = batches * node.groups * tiles + steps / target.speeds.steps_per_second
    return _side_by_side(alone, step_bytes(kept) * weights / far)


def along_rows_seconds(
    target: Target, node: Convolution, pixels: int, images: int, far: float
) -> float:
    """Return the time of a grouped convolution along rows, in tiles of so many pixels.

    At each row of the kernel and each input channel, a tile loads a row of weights, and the numbers
    of that channel that its outputs share; each output adds them up one after the other. Where
    groups share a vector, numbers are spread by one of the units that multiply.
    """
    _, channels, rows, columns = node.shape
    depth, (height, width) = node.weight.shape[1], node.kernel_size
    _, larger, tiles = cut_evenly(columns, pixels)
    spread = channels // node.groups < target.lanes

    def tile(pixels: int) -> float:
        read = min(
            pixels * width, (pixels - 1) * node.stride[1] + (width - 1) * node.dilation[1] + 1
        )
        multiplied = pixels * width + (read if spread else 0)
        step = max(multiplied, LOAD_STEPS * (read + width), width * LATENCY)
        return height * depth * step + TILE_OVERHEAD + 2 * pixels

    row = larger * tile(pixels) + (tiles - larger) * tile(pixels - 1)
    steps = images * rows * channels / target.lanes * row
    return _side_by_side(steps / target.speeds.steps_per_second, 4 * node.weight.numel() / far)


def matrix_seconds(
    target: Target, tiling: Tiling, batches: int, steps: int, outputs: int, far: float
) -> float:
    """Return the time of a dense convolution on matrix tiles of bfloat16.

    Args:
        target: Processor.
        tiling: How the pixels of each batch, and channels, are cut.
        batches: Of pixels.
        steps: Of 32 numbers of K.
        outputs: Numbers that are computed.
        far: Bytes of weights that arrive in a second.
    """
    tiles = batches * tiling.tiles
    rate = target.speeds.steps_per_second
    step_steps = MATRIX_MACS / target.speeds.bf16_macs_per_second * rate
    multiplied = tiles * tiling.blocks * (steps * step_steps + TILE_OVERHEAD)
    copied = tiles * tiling.pixels * steps * COPY_STEPS
    finished = outputs / target.lanes * FINISH_STEPS
    weights_bytes = 2 * steps * MATRIX_DEPTH * tiling.blocks * tiling.vectors * target.lanes
    alone = (multiplied + copied + finished) / rate
    return _side_by_side(alone, weights_bytes / far)


def winograd_seconds(
    target: Target, node: Convolution, way: Winograd, tiling: Tiling, images: int, far: float
) -> float:
    """Return the time of a convolution after Winograd, the patches of all images cut so."""
    channels, depth = node.weight.shape[:2]
    patches, products = images * prod(way.patches(*node.shape[2:])), way.multiplications
    shared = winograd_shared(target, node, way, images, far)
    multiplied = product_seconds(target, way, tiling, channels, depth, shared)
    return (
        _side_by_side(multiplied, 4 * products * channels * depth / far)
        + _transform_seconds(target, patches * products, depth)
        + _transform_seconds(target, patches * products, channels)
        + phase_seconds(target)
    )


def choose_shared(target: Target, weights_bytes: float, values: float, far: float) -> Way:
    """Return what cores share out of a layer whose weights do not stay near: pixels, or channels.

    By channels, a core reads all pixels, of which others have written most, and its own channels
    are read by others; by pixels, it reads all weights, and not only those of its channels.

    Args:
        target: Processor.
        weights_bytes: Of the layer.
        values: Numbers that are read and written.
        far: Bytes of weights that arrive in a second.
    """
    by_channels = HANDED * 4 * values / target.speeds.handed_bytes_per_second
    by_pixels = EXPOSED * weights_bytes / far
    return "pixels" if target.speeds.cores > 1 and by_pixels < by_channels else "channels"


def product_seconds(
    target: Target, way: Winograd, tiling: Tiling, channels: int, depth: int, shared: Way
) -> float:
    """Return the time of Winograd's products, whose weights have been fetched once.

    Chunks of the same channels read their weights again.
    """
    products = way.multiplications
    parts, _ = parts_of_patches(target, tiling, products, shared)
    block_bytes = 4 * products * tiling.vectors * target.lanes * depth
    again = (parts - 1) * tiling.blocks * block_bytes
    multiplied = products * tile_seconds(target, tiling, depth, channels * depth)
    return _side_by_side(multiplied, again / target.speeds.bytes_per_second(block_bytes))


def saved_inside(
    target: Target, node: Convolution, way: Winograd, tiling: Tiling, images: int, seconds: float
) -> float:
    """Return the time that is saved where each chunk transforms its own inputs; may be negative.

    They are written and read near, and there is one wait less; but all weights are read once for
    each chunk, and cores wait where chunks are too few for all. Else it takes `seconds`.
    """
    channels, depth = node.weight.shape[:2]
    products, rate = way.multiplications, target.speeds.bytes_per_second
    inputs_bytes = 4 * images * prod(way.patches(*node.shape[2:])) * products * depth
    weights_bytes = 4 * products * channels * depth
    parts, _ = parts_of_inputs(target, tiling, products, depth)
    before, blocks = parts_of_patches(target, tiling, products, "pixels")
    near = rate(inputs_bytes / parts + weights_bytes)
    moved = 2 * inputs_bytes * (1 / rate(inputs_bytes) - 1 / near)
    again = (parts - min(parts, before)) * weights_bytes / near
    idle = (_unevenness(target, parts) - _unevenness(target, before * blocks)) * seconds
    return moved + phase_seconds(target) - again - idle


def _unevenness(target: Target, chunks: int) -> float:
    """Return how many times as long equal chunks take as if cores could share them exactly."""
    cores = target.speeds.cores
    return -(-chunks // cores) * cores / chunks


def winograd_shared(
    target: Target, node: Convolution, way: Winograd, images: int, far: float
) -> Way:
    """Return what cores share out of Winograd's products."""
    products, (channels, depth) = way.multiplications, node.weight.shape[:2]
    patches = images * prod(way.patches(*node.shape[2:]))
    values = patches * depth * products + prod(node.shape)
    return choose_shared(target, 4 * products * channels * depth, values, far)


def _transform_seconds(target: Target, numbers: int, channels: int) -> float:
    """Return the time in which each number of all channels is read, transformed and written."""
    vectors, speeds = numbers * -(-channels // target.lanes), target.speeds
    size = 4 * target.lanes * vectors
    moved = 2 * size / speeds.bytes_per_second(size)
    return vectors * TRANSFORM_STEPS / speeds.steps_per_second + moved


def phase_seconds(target: Target) -> float:
    """Return what is lost where all threads wait for each other once more."""
    return PHASE_STEPS / target.speeds.steps_per_second + target.speeds.wait_seconds


def work_seconds(target: Target, work: float) -> float:
    """Return the time of work that is counted in multiply-adds of single numbers."""
    return work / target.lanes / target.speeds.steps_per_second


def far_rate(graph: Graph, target: Target, number_bytes: int = 4) -> float:
    """Return how many bytes of weights arrive in a second, where a network's weights lie.

    A call reads all of them; so they come from what holds them all, however small a layer is.
    """
    weights = sum(node.weight.numel() for node in graph if isinstance(node, Convolution))
    return target.speeds.bytes_per_second(number_bytes * weights)


def _side_by_side(one: float, other: float) -> float:
    return max(one, other) + EXPOSED * min(one, other)


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
