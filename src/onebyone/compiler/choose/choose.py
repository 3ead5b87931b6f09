"""How each node of a graph runs: algorithms, then bands, then tiles and chunks."""

from collections.abc import Mapping
from math import prod
from types import MappingProxyType

from onebyone.compiler.choose.bands import choose_bands
from onebyone.compiler.choose.choices import Band, Choices
from onebyone.compiler.choose.chunks import (
    Way,
    choose_chunks,
    parts_along_rows,
    parts_of_inputs,
    parts_of_kernel,
    parts_of_patches,
    parts_of_pixels,
    parts_of_rows,
    parts_of_tiles,
)
from onebyone.compiler.choose.cost import (
    TRANSFORM_WEIGHT,
    along_rows_seconds,
    choose_shared,
    direct_seconds,
    far_rate,
    row_work,
    saved_inside,
    transpose_work,
    winograd_seconds,
    winograd_shared,
    work_seconds,
)
from onebyone.compiler.choose.filtering import Winograd
from onebyone.compiler.choose.grouped import choose_along_rows
from onebyone.compiler.choose.matrices import choose_matrix
from onebyone.compiler.choose.tiles import (
    choose_product_tiling,
    choose_row_tiling,
    choose_tiling,
    rank_product_tilings,
    rank_tilings,
)
from onebyone.compiler.choose.tiling import TileSize, Tiling, cut_evenly
from onebyone.compiler.choose.units import (
    Converted,
    Unit,
    depth_of,
    runs_depthwise,
    step_bytes,
    unit_of,
)
from onebyone.compiler.choose.winograds import choose_winograds
from onebyone.compiler.memory.formats import FLOAT_BYTES
from onebyone.compiler.options import DEFAULT_OPTIONS, CompileOptions
from onebyone.compiler.target import Target
from onebyone.graph import Convolution, Graph, Input, LayerNorm, Node, Reshape, Shape, Softmax

Layouts = Mapping[tuple[str, Winograd | None], int]
"""How many vectors of channels lie together in weights: by the name of the node and its algorithm,
whose weights are others."""

NO_LAYOUTS: Layouts = MappingProxyType({})

WHOLE_PIXELS = (Input, LayerNorm, Softmax)
"""Kinds whose chunks have all channels of their pixels."""

JOINED_PIXELS = 64
"""Images with fewer pixels are tiled together, so that a batch of vectors is one matrix."""

CONVERTED_PIXELS = 48
"""Pixels that read a panel of halves: tiles of so many would convert it for longer than it takes to
do so once and store it for all of them."""

LARGEST_DEPTHWISE_TILE = 8
"""Outputs of a row at once: with a row of weights and an input they fit 16 registers."""


def choose(
    graph: Graph,
    target: Target,
    options: CompileOptions = DEFAULT_OPTIONS,
    layouts: Layouts = NO_LAYOUTS,
) -> dict[str, Choices]:
    """Return how each node of a graph without opaque nodes runs, and how its outputs go out.

    Args:
        graph: What is to run.
        target: Processor.
        options: Of these, what results promise.
        layouts: Of weights that are in memory already, for a graph of the same network whose inputs
            have other shapes; here they are read in the same order.

    Returns:
        Choices by the names of nodes, and of outputs: `output 0` and so on.
    """
    ways = choose_winograds(graph, target) if options.allows_winograd else {}
    rows = choose_along_rows(graph, target)
    taken = {name for name, (way, _) in ways.items() if way} | rows.keys()
    bands = choose_bands(graph, target, taken)
    far = far_rate(graph, target, options.weights.number_bytes)

    def way_of(node: Node) -> Choices:
        if not isinstance(node, Convolution):
            return _of_rows(node, target)
        band, unit = bands.get(node.name), unit_of(node, target, options)
        if unit == "matrix":
            # Between images with borders there are positions that are no pixels.
            is_joined = _are_together(node) and node.is_pixelwise
            together = node.shape[0] if is_joined else 1
            return choose_matrix(node, target, together, band, far)
        if node.name in rows and unit != "pairs":
            return _along_rows(node, target, rows[node.name], far, unit)
        way = ways.get(node.name, (None, ""))
        vectors = layouts.get((node.name, way[0]))
        return choose_convolution(node, target, way, band, far=far, unit=unit, vectors=vectors)

    found = {node.name: way_of(node) for node in graph}
    shapes = [graph[ref.name].shape for ref in graph.outputs]
    planes = {output_name(i): _by_planes(shape, target) for i, shape in enumerate(shapes)}
    return found | planes


def layouts_of(choices: Mapping[str, Choices]) -> Layouts:
    """Return in which order weights lie that are read as is chosen."""
    return {(name, one.winograd): one.tile.vectors for name, one in choices.items() if one.tile}


def output_name(index: int) -> str:
    """Return what the operation that brings an output to the caller's tensor is called."""
    return f"output {index}"


def choose_convolution(
    node: Convolution,
    target: Target,
    algorithm: tuple[Winograd | None, str] = (None, ""),
    band: Band | None = None,
    *,
    far: float,
    unit: Unit = "vector",
    vectors: int | None = None,
) -> Choices:
    """Return how a convolution runs whose algorithm (and why so), band and unit are known.

    `far` is how many bytes of weights arrive in a second; tiles have so many `vectors` of channels
    if that is set.
    """
    way, why = algorithm
    if runs_depthwise(node):
        return _depthwise(node, target, band)
    if band:
        return _by_rows(node, target, band, far, unit, vectors)
    tiling = (
        choose_product_tiling(
            target,
            way,
            _patches(node, way),
            node.shape[1],
            node.weight.shape[1],
            winograd_shared(target, node, way, node.shape[0], far),
            vectors,
        )
        if way
        else choose_tiling(
            target,
            _pixels_at_once(node),
            node.shape[1] // node.groups,
            depth_of(node, unit),
            _read_by_tiles(node, target, unit, far),
            vectors,
            _kernel_rows(node, target, unit, far),
        )
    )
    return choose_around(node, target, way, tiling, far=far, why=why, unit=unit)


def rank_tiles(
    node: Convolution, target: Target, way: Winograd | None, *, far: float, unit: Unit = "vector"
) -> dict[Tiling, float]:
    """Return how a convolution that runs alone can be cut, and the seconds that its tiles take."""
    channels, depth = node.shape[1] // node.groups, depth_of(node, unit)
    if way is None:
        return rank_tilings(
            target,
            _pixels_at_once(node),
            channels,
            depth,
            _read_by_tiles(node, target, unit, far),
            _kernel_rows(node, target, unit, far),
        )
    shared = winograd_shared(target, node, way, node.shape[0], far)
    return rank_product_tilings(
        target, way, _patches(node, way), channels, node.weight.shape[1], shared
    )


def choose_around(
    node: Convolution,
    target: Target,
    way: Winograd | None,
    tiling: Tiling,
    *,
    far: float,
    why: str,
    unit: Unit = "vector",
) -> Choices:
    """Return how a convolution runs alone that is cut so."""
    if way is None:
        return _direct(node, target, tiling, why, far, unit)
    return _winograd(node, target, way, tiling, why, far)


def _pixels_at_once(node: Convolution) -> int:
    images, _, rows, columns = node.shape
    return (images if _are_together(node) else 1) * rows * columns


def _are_together(node: Convolution) -> bool:
    _, _, rows, columns = node.shape
    return rows * columns < JOINED_PIXELS


def _patches(node: Convolution, way: Winograd) -> int:
    return node.shape[0] * prod(way.patches(*node.shape[2:]))


def _direct(
    node: Convolution, target: Target, tiling: Tiling, why: str, far: float, unit: Unit
) -> Choices:
    together = node.shape[0] if _are_together(node) else 1
    batches = node.shape[0] // together
    shared = _shared(node, target, unit, far)
    converted = _converted(node, target, unit, far)
    vector_bytes = step_bytes(unit) * target.lanes
    kernel_parts = parts_of_kernel(
        target,
        tiling,
        _kernel_rows(node, target, unit, far),
        panel_bytes=tiling.vectors * vector_bytes * depth_of(node, unit),
        weights_bytes=_weights_bytes(node, unit) // node.groups,
    )
    tiles, blocks = batches * tiling.tiles, node.groups * tiling.blocks
    if kernel_parts > 1:
        parts = parts_of_pixels(target, tiling, tiles, blocks, shared), blocks
        inner: Way = "pixels"
    else:
        parts, inner = parts_of_tiles(
            target,
            tiles,
            blocks,
            macs=node.macs // 2 if unit == "pairs" else node.macs,
            weights_bytes=_weights_bytes(node, unit),
            shared=shared,
            converts_panels=converted == "by panels",
        )
    return Choices(
        unit=unit,
        tile=tiling.size,
        together=together,
        parts=parts,
        kernel_parts=kernel_parts,
        converted=converted,
        inner=inner,
        shared="pixels" if inner == "channels" else shared,
        seconds=direct_seconds(target, node, tiling, batches, far, unit, converted=converted),
        why=why,
    )


def _weights_bytes(node: Convolution, unit: Unit) -> int:
    return node.shape[1] * depth_of(node, unit) * step_bytes(unit)


def _shared(node: Convolution, target: Target, unit: Unit, far: float) -> Way:
    """Return what cores share out of a convolution that runs alone."""
    values = prod(node.shape) * (1 + node.weight.shape[1] * node.groups / node.shape[1])
    return choose_shared(target, _weights_bytes(node, unit), values, far)


def _converted(node: Convolution, target: Target, unit: Unit, far: float) -> Converted:
    """Return where halves become float32: at once, if many pixels read them in turn."""
    images, _, rows, columns = node.shape
    passes = target.speeds.cores if _shared(node, target, unit, far) == "pixels" else 1
    are_many = images * rows * columns // passes >= CONVERTED_PIXELS
    return "by panels" if unit == "halves" and are_many else "in tiles"


def _kernel_rows(node: Convolution, target: Target, unit: Unit, far: float) -> int:
    """Return into how many parts a kernel may be cut: converted panels are whole."""
    is_whole = _converted(node, target, unit, far) == "by panels"
    return 1 if is_whole else node.kernel_size[0]


def _read_by_tiles(node: Convolution, target: Target, unit: Unit, far: float) -> Unit:
    """Return what multiplies in the tiles: vectors of float32 where panels have become that."""
    return "vector" if _converted(node, target, unit, far) == "by panels" else unit


def _winograd(
    node: Convolution, target: Target, way: Winograd, tiling: Tiling, why: str, far: float
) -> Choices:
    images, depth, products = node.shape[0], node.weight.shape[1], way.multiplications
    transforms = _patches(node, way) * depth * products * TRANSFORM_WEIGHT
    shape = (images, depth, *way.patches(*node.shape[2:]))
    shared = winograd_shared(target, node, way, images, far)
    seconds = winograd_seconds(target, node, way, tiling, images, far)
    saved = saved_inside(target, node, way, tiling, images, seconds)
    if saved > 0:
        return Choices(
            winograd=way,
            tile=tiling.size,
            parts=parts_of_inputs(target, tiling, products, depth),
            inner="pixels",
            transforms="inside",
            seconds=seconds - saved,
            why=why,
        )
    return Choices(
        winograd=way,
        tile=tiling.size,
        parts=parts_of_patches(target, tiling, products, shared),
        inner="pixels",
        shared=shared,
        transform_parts=parts_of_rows(shape, target.lanes, transforms),
        seconds=seconds,
        why=why,
    )


def _along_rows(
    node: Convolution, target: Target, tile: TileSize, far: float, unit: Unit
) -> Choices:
    images, channels, rows, columns = node.shape
    _, _, tiles = cut_evenly(columns, tile.pixels)
    values = prod(node.shape) * node.stride[0] * node.stride[1]
    parts, inner = parts_along_rows(
        target,
        images * rows * tiles,
        channels // target.lanes,
        macs=node.macs,
        source_bytes=FLOAT_BYTES * values * node.weight.shape[1] * node.groups // channels,
    )
    return Choices(
        along_rows=True,
        unit=unit,
        tile=tile,
        parts=parts,
        inner=inner,
        seconds=along_rows_seconds(target, node, tile.pixels, images, far),
    )


def _depthwise(node: Convolution, target: Target, band: Band | None) -> Choices:
    work = row_work(node)
    pixels, _, _ = cut_evenly(node.shape[3], LARGEST_DEPTHWISE_TILE)
    parts = (1, 1) if band else parts_of_rows(node.shape, target.lanes, work)
    return Choices(
        tile=TileSize(pixels, 1), parts=parts, band=band, seconds=work_seconds(target, work)
    )


def _by_rows(
    node: Convolution, target: Target, band: Band, far: float, unit: Unit, vectors: int | None
) -> Choices:
    images, _, rows, _ = node.shape
    # A band's weights are few and stay near, and a row has too few tiles to convert them for.
    converted = "beforehand" if unit == "halves" else "in tiles"
    tiling = choose_row_tiling(target, node, "vector" if unit == "halves" else unit, vectors)
    seconds = direct_seconds(target, node, tiling, images * rows, far, unit, converted=converted)
    return Choices(unit=unit, tile=tiling.size, converted=converted, band=band, seconds=seconds)


def _of_rows(node: Node, target: Target) -> Choices:
    if isinstance(node, Reshape):
        return _by_planes(node.shape, target)
    work = row_work(node)
    seconds = work_seconds(target, work)
    if isinstance(node, WHOLE_PIXELS):
        images, _, rows, _ = node.shape
        return Choices(parts=(choose_chunks(work, images * rows), 1), seconds=seconds)
    return Choices(parts=parts_of_rows(node.shape, target.lanes, work), seconds=seconds)


def _by_planes(shape: Shape, target: Target) -> Choices:
    """Return how a value is laid out with channels outermost, one after the other."""
    work = transpose_work(shape)
    parts = (1, choose_chunks(work, prod(shape[:2])))
    return Choices(parts=parts, seconds=work_seconds(target, work))
