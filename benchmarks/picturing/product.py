"""A 1x1 convolution as a product of matrices: tiles, chunks, threads and packed weights."""

from collections.abc import Iterator
from dataclasses import dataclass

from onebyone.compiler.kernels.dense.kernel import ConvolutionWork
from onebyone.compiler.kernels.kernel import Operation

from .drawing import FIRST, PAPER, POINTWISE, RULE, SECOND, SHADE, SOFT, Drawing
from .subject import Subject


@dataclass(frozen=True, slots=True)
class Product:
    """How the outputs of a convolution are cut, and where its weights lie.

    Args:
        path: Of its module.
        pixels: Of all images: rows of the matrices.
        in_channels: Columns of the matrix that is read.
        out_channels: Columns of the matrix that is computed.
        tile_pixels: Pixels of the larger tiles.
        tiles: Tiles of pixels.
        blocks: Blocks of channels.
        vectors: Registers of channels of a block.
        lanes: Channels in a register.
        chunks: For each its tiles and its blocks.
        channels_inside: Whether a chunk goes through the blocks of a tile before the next tile.
        shares: For each thread the chunks that it begins with.
        panel_bytes: Size of the weights of a block.
        weights_at: Byte of the constants at which they begin.
    """

    path: str
    pixels: int
    in_channels: int
    out_channels: int
    tile_pixels: int
    tiles: int
    blocks: int
    vectors: int
    lanes: int
    chunks: tuple[tuple[range, range], ...]
    channels_inside: bool
    shares: tuple[range, ...]
    panel_bytes: int
    weights_at: int

    def order(self, chunk: int) -> Iterator[tuple[int, int]]:
        """Go through the tiles and blocks of a chunk as its thread does."""
        tiles, blocks = self.chunks[chunk]
        if self.channels_inside:
            return ((tile, block) for tile in tiles for block in blocks)
        return ((tile, block) for block in blocks for tile in tiles)


def product_of(subject: Subject, name: str, threads: int = 2) -> Product:
    """Read how a 1x1 convolution that runs alone is cut.

    Raises:
        LookupError: If there is none of that name.
    """
    operation, (kernel, work) = subject.operation(name), subject.tiled(name)
    group = next(group for group in subject.plan.groups if operation in group)
    _, channels, rows, columns = subject.rewritten[name].shape
    total, first = sum(one.chunks for one in group), _chunks_before(group, operation)
    own = range(first, first + operation.chunks)
    return Product(
        path=operation.path,
        pixels=work.images * rows * columns,
        in_channels=work.depth * work.taps,
        out_channels=channels,
        tile_pixels=kernel.tile.pixels,
        tiles=work.tiles * work.images,
        blocks=work.blocks,
        vectors=kernel.tile.vectors,
        lanes=subject.target.lanes,
        chunks=tuple(_chunk(work, number) for number in range(operation.chunks)),
        channels_inside=bool(work.blocks_inside),
        shares=tuple(_within(_part(thread, threads, total), own) for thread in range(threads)),
        panel_bytes=4 * work.panel,
        weights_at=4 * subject.plan.constants.offsets[work.weights.buffer],
    )


def _chunks_before(group: tuple[Operation, ...], operation: Operation) -> int:
    return sum(one.chunks for one in group[: group.index(operation)])


def _part(number: int, parts: int, total: int) -> range:
    """Return one of so many parts, as machine code cuts them."""
    return range(number * total // parts, (number + 1) * total // parts)


def _within(found: range, own: range) -> range:
    """Return a share's chunks that are the operation's, counted from its first."""
    start, stop = max(found.start, own.start), min(found.stop, own.stop)
    return range(start - own.start, max(start, stop) - own.start)


def _chunk(work: ConvolutionWork, number: int) -> tuple[range, range]:
    inner = work.block_parts if work.shares_pixels else work.pixel_parts
    slow, fast = divmod(number, inner)
    pixel, block = (slow, fast) if work.shares_pixels else (fast, slow)
    return (
        _part(pixel, work.pixel_parts, work.tiles * work.images),
        _part(block, work.block_parts, work.blocks),
    )


THREADS = (FIRST, SECOND)
LEFT, TOP = 104, 128
BLOCK_WIDTH, PRODUCT_HEIGHT = 40, 300
ZOOM, TILE, PANELS = 420, 680, 520
"""Where a chunk, a tile and the packed weights are drawn."""


def draw_product(product: Product) -> str:
    """Draw the matrices, a chunk, a tile, and the weights as they lie in memory."""
    drawing = Drawing(712, f"{product.path} as a product of matrices")
    title = f"{product.path}: a 1x1 convolution is a product of matrices"
    drawing.text(20, 32, title, size=16, bold=True)
    drawing.text(20, 60, "What is computed: pixels times weights", bold=True)
    _draw_factors(drawing, product)
    _draw_chunks(drawing, product)
    _draw_shares(drawing, product)
    _draw_chunk(drawing, product, 0)
    _draw_tile(drawing, product)
    drawing.line((20, PANELS - 30), (880, PANELS - 30), colour=RULE)
    _draw_panels(drawing, product)
    _draw_panel(drawing, product, PANELS + 100)
    return drawing.svg()


def _width(product: Product) -> float:
    return product.blocks * BLOCK_WIDTH


def _draw_factors(drawing: Drawing, product: Product) -> None:
    """Draw the weights above the results, and the pixels that are read at their left."""
    depth = product.in_channels * BLOCK_WIDTH / (product.vectors * product.lanes)
    top, left, right = TOP - depth - 14, LEFT - depth - 14, LEFT + _width(product)
    drawing.box(LEFT, top, _width(product), depth, fill=SHADE, edge=SOFT)
    for block in range(1, product.blocks):
        x = LEFT + block * BLOCK_WIDTH
        drawing.line((x, top), (x, TOP - 14))
    size = f"weights, {product.in_channels} x {product.out_channels}"
    drawing.text(right + 8, top + depth / 2 + 4, size, size=12)
    drawing.box(left, TOP, depth, PRODUCT_HEIGHT, fill=SHADE, edge=SOFT)
    words = f"{product.pixels} pixels, {product.in_channels} channels each"
    drawing.upright(left - 8, TOP + PRODUCT_HEIGHT / 2, words)


def _draw_chunks(drawing: Drawing, product: Product) -> None:
    """Draw the results: chunks in the colours of threads, cut into tiles and blocks."""
    right, bottom = LEFT + _width(product), TOP + PRODUCT_HEIGHT
    for number, (tiles, blocks) in enumerate(product.chunks):
        thread = next(t for t, share in enumerate(product.shares) if number in share)
        top, end = _height(product, tiles.start), _height(product, tiles.stop)
        x, span = LEFT + blocks.start * BLOCK_WIDTH, len(blocks) * BLOCK_WIDTH
        fill, opacity = THREADS[thread % 2], 0.5 if number % 2 else 0.3
        drawing.box(x, top, span, end - top, fill=fill, opacity=opacity)
        drawing.box(x, top, span, end - top, edge=PAPER, thickness=2)
        if blocks.stop == product.blocks:
            drawing.text(right + 8, (top + end) / 2 + 4, f"chunk {number}", size=12)
    for tile in range(1, product.tiles):
        y = _height(product, tile)
        drawing.line((LEFT, y), (right, y), colour=PAPER, thickness=0.5)
    for block in range(1, product.blocks):
        x = LEFT + block * BLOCK_WIDTH
        drawing.line((x, TOP), (x, bottom), colour=PAPER)
    words = f"{product.tiles} tiles of pixels x {product.blocks} blocks of channels"
    drawing.note(20, bottom + 22, f"{words}, in {len(product.chunks)} chunks")


def _height(product: Product, tile: int) -> float:
    """Return where a tile of pixels begins."""
    return TOP + PRODUCT_HEIGHT * tile / product.tiles


def _draw_shares(drawing: Drawing, product: Product) -> None:
    """Draw which chunks a thread begins with, where it begins with some."""
    x = LEFT + _width(product) + 68
    for thread, share in enumerate(product.shares):
        tiles = [product.chunks[chunk][0] for chunk in share]
        if tiles:
            top, end = _height(product, tiles[0].start) + 3, _height(product, tiles[-1].stop) - 3
            drawing.line((x, top), (x + 6, top), (x + 6, end), (x, end))
            drawing.upright(x + 22, (top + end) / 2, f"thread {thread} begins here")


def _draw_chunk(drawing: Drawing, product: Product, chunk: int) -> None:
    tiles, blocks = product.chunks[chunk]
    cell, row = 48, 20
    drawing.text(ZOOM, 60, f"Chunk {chunk}, in this order", bold=True)
    first, then = ("blocks", "tile") if product.channels_inside else ("tiles", "block")
    drawing.note(ZOOM, 80, f"{len(tiles)} tiles x {len(blocks)} blocks;")
    drawing.note(ZOOM, 96, f"all {first} of a {then}, then the next")
    for number, (tile, block) in enumerate(product.order(chunk), 1):
        x, y = ZOOM + (block - blocks.start) * cell, TOP + (tile - tiles.start) * row
        opacity = 0.5 if number == 1 else 0.3
        drawing.box(x, y, cell - 2, row - 2, fill=THREADS[0], opacity=opacity)
        drawing.text(x + cell / 2 - 1, y + 13.5, str(number), size=11.5, anchor="middle")
    size = f"{product.tile_pixels} pixels x {product.vectors * product.lanes} channels each"
    drawing.note(ZOOM, TOP + len(tiles) * row + 18, size)


def _draw_tile(drawing: Drawing, product: Product) -> None:
    cell, row = 60, 24
    count = product.tile_pixels * product.vectors
    drawing.text(TILE, 60, "A tile, all of it in registers", bold=True)
    drawing.note(TILE, 80, f"{product.tile_pixels} x {product.vectors} = {count} registers,")
    drawing.note(TILE, 96, f"{product.lanes} sums in each")
    for pixel in range(product.tile_pixels):
        y = TOP + pixel * row
        drawing.text(TILE - 6, y + 15, str(pixel), size=11.5, colour=SOFT, anchor="end")
        for vector in range(product.vectors):
            x, first = TILE + vector * cell, vector * product.lanes
            drawing.box(x, y, cell - 2, row - 2, fill=POINTWISE, opacity=0.25)
            lanes = f"{first} – {first + product.lanes - 1}"
            drawing.text(x + cell / 2 - 1, y + 15, lanes, size=11.5, anchor="middle")
    words = (
        f"across: {product.vectors * product.lanes} channels of results,",
        "down: pixels. Each sum takes",
        f"{product.in_channels} multiply-adds, and is",
        "stored once, at the end.",
    )
    for number, line in enumerate(words):
        drawing.note(TILE, TOP + product.tile_pixels * row + 20 + 17 * number, line)


def _draw_panels(drawing: Drawing, product: Product) -> None:
    """Draw the weights of all blocks as they lie behind each other."""
    block, width = product.vectors * product.lanes, 860 / product.blocks
    title = "Weights in memory: packed in the order in which tiles read them"
    drawing.text(20, PANELS, title, bold=True)
    for panel in range(product.blocks):
        x, y, first = 20 + panel * width, PANELS + 34, panel * block
        last = min(first + block, product.out_channels) - 1
        drawing.box(x, y, width, 34, fill=POINTWISE, opacity=0.15 if panel else 0.35)
        drawing.box(x, y, width, 34, edge=PAPER, thickness=2)
        words = f"panel {panel}: channels {first} – {last}"
        drawing.text(x + width / 2, y + 21, words, size=12, anchor="middle")
        drawing.note(x + 1, y - 7, f"byte {product.weights_at + panel * product.panel_bytes:,}")


def _draw_panel(drawing: Drawing, product: Product, y: float) -> None:
    """Draw the beginning of the first panel: a row for each input channel."""
    block, width, rows = product.vectors * product.lanes, 245, 3
    drawing.ribbon_down((y - 32, 20, 20 + 860 / product.blocks), (y, 20, 880), fill=POINTWISE)
    for row in range(rows):
        x = 20 + row * width
        drawing.box(x, y, width, 34, fill=POINTWISE, opacity=0.2 if row % 2 else 0.35)
        drawing.box(x, y, width, 34, edge=PAPER, thickness=2)
        words = f"w[0, {row}]  w[1, {row}]  …  w[{block - 1}, {row}]"
        drawing.text(x + width / 2, y + 21, words, size=12, anchor="middle", mono=True)
        drawing.note(x + 44, y + 50, f"of input channel {row}: {product.vectors} registers")
    x = 20 + rows * width
    drawing.box(x, y, 880 - x, 34, fill=POINTWISE, opacity=0.2)
    drawing.text((x + 880) / 2, y + 21, "…", anchor="middle")
    words = (
        "w[o, i] is PyTorch's conv.weight[o, i], where all i of one o lie side by side. "
        f"Here it is {block} values of o, so a register is loaded at once."
    )
    drawing.note(20, y + 74, words)
