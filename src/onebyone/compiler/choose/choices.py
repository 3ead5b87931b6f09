"""How a node of a graph runs, as data: all that may differ from machine to machine."""

from dataclasses import dataclass
from typing import Literal

from onebyone.compiler.choose.filtering import Winograd
from onebyone.compiler.choose.tiling import TileSize
from onebyone.compiler.choose.units import Converted, Unit
from onebyone.graph import Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Name convolutions that follow each other; values between them exist a few rows at a time.

    Args:
        head: Dense convolution whose rows the depthwise one reads; None if it reads from memory.
        depthwise: In the middle.
        tail: 1x1 convolution of what that gives; None if it goes to memory.
        rows_at_once: Rows of outputs of a band; the last band of an image may have fewer.
    """

    head: str | None
    depthwise: str
    tail: str | None
    rows_at_once: int

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, in order."""
        return tuple(name for name in (self.head, self.depthwise, self.tail) if name is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Say how one node runs.

    But for `winograd`, `along_rows` and `unit`, no choice changes a bit of the results.

    Args:
        winograd: How a convolution saves multiplications; None if it does not.
        along_rows: Whether outputs of a grouped convolution that lie side by side share what they
            read.
        unit: What multiplies: vectors of float32, whose weights may be halves; vectors of pairs of
            bfloat16, or matrix tiles of it.
        transforms: Where inputs are transformed for Winograd: all of them before, or each chunk's
            inside of it, so that they stay in the thread's scratch memory.
        tile: Of a convolution; those at the end of a line may be smaller.
        together: Images of a dense convolution whose pixels are cut into tiles as if they were one.
        parts: Into how many parts pixels (or rows) and channels are cut; each pair is a chunk.
            A band is cut into its rows.
        kernel_parts: Into how many parts the rows of a dense kernel are cut. All tiles of a chunk
            read the weights of one part before those of the next; meanwhile sums are in scratch
            memory.
        converted: Where weights that are halves become float32.
        inner: What a chunk's inner loop goes through, tile by tile.
        shared: What threads share out: each begins with its own pixels and all channels, or with
            its own channels and all pixels.
        transform_parts: As `parts`, for the inputs that Winograd transforms.
        band: What it runs with, row by row; None if it runs alone.
        seconds: What the cost model expects all images to take, on one core.
        why: Why so and not otherwise, for people; or "".
    """

    winograd: Winograd | None = None
    along_rows: bool = False
    unit: Unit = "vector"
    tile: TileSize | None = None
    together: int = 1
    parts: Pair = (1, 1)
    kernel_parts: int = 1
    converted: Converted = "in tiles"
    inner: Literal["channels", "pixels"] = "channels"
    shared: Literal["channels", "pixels"] = "pixels"
    transforms: Literal["before", "inside"] = "before"
    transform_parts: Pair = (1, 1)
    band: Band | None = None
    seconds: float = 0.0
    why: str = ""

    @property
    def chunks(self) -> int:
        """Pieces that may run at the same time."""
        return self.parts[0] * self.parts[1]
