"""How outputs of a convolution are cut into tiles."""

from dataclasses import dataclass

from onebyone.compiler.target import Target


@dataclass(frozen=True, slots=True)
class TileSize:
    """Bound a block of outputs that is kept in registers: `pixels` x `vectors` of channels."""

    pixels: int
    vectors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """Cut `M` pixels and `N_out` channels.

    Args:
        pixels: Pixels of the larger tiles; the others have one less.
        larger_tiles: How many tiles have `pixels`.
        tiles: Tiles in all.
        vectors: Vectors of channels of a block.
        blocks: Blocks of channels.
        last_vectors: Vectors of the last block.
        last_channels: Channels in the last block's last vector.
    """

    pixels: int
    larger_tiles: int
    tiles: int
    vectors: int
    blocks: int
    last_vectors: int
    last_channels: int

    @property
    def size(self) -> TileSize:
        """Return the size of the larger tiles."""
        return TileSize(self.pixels, self.vectors)

    @property
    def channels(self) -> tuple[int, int, int, int]:
        """Return how channels are cut, whatever the pixels: the order of weights rests on it."""
        return self.vectors, self.blocks, self.last_vectors, self.last_channels


def cut_evenly(total: int, largest: int) -> tuple[int, int, int]:
    """Cut `total` into as few parts of at most `largest` as possible, which differ by at most one.

    Returns:
        Size of the larger parts, how many of those there are, and how many parts in all.

    Example:
        >>> cut_evenly(49, 14)  # 13 + 12 + 12 + 12
        (13, 1, 4)
        >>> cut_evenly(28, 14)
        (14, 2, 2)
    """
    parts = -(-total // largest)
    size = -(-total // parts)
    return size, total - parts * (size - 1), parts


def cut_tiles(target: Target, pixels: int, channels: int, tile: TileSize) -> Tiling:
    """Cut pixels and channels into tiles of at most that size."""
    size, larger, tiles = cut_evenly(pixels, tile.pixels)
    block = tile.vectors * target.lanes
    blocks = -(-channels // block)
    rest = channels - (blocks - 1) * block
    last_vectors = -(-rest // target.lanes)
    return Tiling(
        pixels=size,
        larger_tiles=larger,
        tiles=tiles,
        vectors=tile.vectors,
        blocks=blocks,
        last_vectors=last_vectors,
        last_channels=rest - (last_vectors - 1) * target.lanes,
    )
