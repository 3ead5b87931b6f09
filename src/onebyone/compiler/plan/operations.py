"""What native code does, as data.

A kernel says which body of machine code runs; equal kernels share one body. A work record holds the
numbers that one operation hands to it: places, strides, counts. An operation joins the two, and
says into how many chunks, independent of each other, it is cut for the threads.
"""

import hashlib
from dataclasses import dataclass, fields

from onebyone.compiler.plan.buffers import Place
from onebyone.compiler.plan.winograd import Winograd
from onebyone.graph import Function

Number = int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Stand at the root of all kernels: what makes one body of code different from another."""

    @property
    def symbol(self) -> str:
        """Name of the function in the object file."""
        name = type(self).__name__.removesuffix("Kernel").lower()
        return f"{name}_{hashlib.sha256(repr(self).encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Stand at the root of all work records; a place takes two words, any other field one."""

    @classmethod
    def offsets(cls) -> dict[str, tuple[int, str]]:
        """Return the first word and the type's name of each field."""
        found, position = {}, 0
        for one in fields(cls):
            kind = one.type if isinstance(one.type, str) else one.type.__name__
            found[one.name] = (position, kind)
            position += 2 if kind == "Place" else 1
        return found

    @classmethod
    def words(cls) -> int:
        """Return the words that all fields take."""
        return sum(2 if kind == "Place" else 1 for _, kind in cls.offsets().values())


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWork(Work):
    """Stand at the root of work that goes through its target row by row.

    The rows of all images are cut into `row_parts`, and each part's channels into `channel_parts`;
    every such piece is a chunk.
    """

    target: Place
    target_image: int
    target_row: int
    target_pixel: int
    channels: int
    rows: int
    images: int
    row_parts: int
    channel_parts: int

    @property
    def chunks(self) -> int:
        """Pieces that may run at the same time."""
        return self.row_parts * self.channel_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelWork(RowWork):
    """Stand at the root of work that makes each pixel of the target from some of one source."""

    source: Place
    source_image: int
    source_row: int
    source_pixel: int
    columns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One entry of the program.

    Args:
        name: Of the graph's node that it computes; that and a word, which no node's name has, if it
            only helps to.
        path: Module of that node.
        kernel: Body of code.
        work: Numbers for it.
        chunks: Parts that may run at the same time, on any thread and in any order.
        reads: Names of the buffers it reads.
        writes: Name of the buffer that it writes to.
        stages: Operations that it consists of, if it is a band.
        scratch: Floats that a thread needs for itself while it works on a chunk.
        macs: Multiply-adds, for all images.
        note: What a profile should say of how it is done.
    """

    name: str
    path: str
    kernel: Kernel
    work: Work
    chunks: int
    reads: tuple[str, ...]
    writes: str
    stages: "tuple[Operation, ...]" = ()
    scratch: int = 0
    macs: int = 0
    note: str = ""


# Dense convolutions


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A block of outputs that is kept in registers: pixels x vectors of channels.

    Args:
        pixels: Output pixels.
        vectors: Vector registers of output channels for each pixel.
        tail_lanes: Lanes of the last vector that are stored; it is no wider than they need.
        unroll: Steps of K that are written out.
    """

    pixels: int
    vectors: int
    tail_lanes: int
    unroll: int
    has_residual: bool
    activation: Function | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionKernel(Kernel):
    """Compute tiles of a dense (or grouped) convolution as a matrix product.

    Pixels of an image are cut into tiles of `pixels` and `pixels - 1`; channels of a group into
    blocks of `vectors` registers and a last one of `last_vectors`.
    """

    pixels: int
    has_smaller_tiles: bool
    vectors: int
    last_vectors: int
    tail_lanes: int
    unroll: int
    has_residual: bool
    activation: Function | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionWork(Work):
    """Numbers for `ConvolutionKernel`.

    Tables are of 32 bits; three say where each pixel of an image lies. `taps` are the positions of
    the kernel, each at an entry of `tap_table`.
    """

    source: Place
    weights: Place
    bias: Place
    target: Place
    residual: Place
    tap_table: Place
    source_table: Place
    target_table: Place
    residual_table: Place
    source_image: int
    target_image: int
    residual_image: int
    taps: int
    depth: int
    panel: int
    bias_step: int
    blocks: int
    blocks_per_group: int
    group_source: int
    group_target: int
    tiles: int
    larger_tiles: int
    images: int
    pixel_parts: int
    block_parts: int
    blocks_inside: int


# Dense convolutions after Winograd


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformKernel(Kernel):
    """Transform the inputs of each patch of outputs: one number for each multiplication."""

    way: Winograd
    has_tail: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformWork(PixelWork):
    """Numbers for `TransformKernel`; a pixel, for its loops and strides, is a patch.

    In the source, `source_line` and `source_step` lead to the next row and the next pixel; in the
    target, `target_product` to the next multiplication.
    """

    source_line: int
    source_step: int
    target_product: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductKernel(Kernel):
    """Multiply transformed inputs by transformed weights, and transform the sums back.

    The sums of a tile of patches and a block of channels stay in the thread's scratch memory.

    Args:
        tail_lanes: Lanes of the last block's last vector, with those that hold no channel.
        ragged: Whether the last patches stick out of the image, at the bottom and at the right.
    """

    way: Winograd
    pixels: int
    has_smaller_tiles: bool
    vectors: int
    last_vectors: int
    tail_lanes: int
    unroll: int
    ragged: tuple[bool, bool]
    has_tail: bool
    has_residual: bool
    activation: Function | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductWork(Work):
    """Numbers for `ProductKernel`; a pixel of the source is a patch."""

    source: Place
    weights: Place
    zeros: Place
    scratch: Place
    bias: Place
    target: Place
    residual: Place
    tap_table: Place
    source_table: Place
    scratch_table: Place
    source_pixel: int
    source_product: int
    scratch_product: int
    panel: int
    depth: int
    target_image: int
    target_row: int
    target_pixel: int
    residual_image: int
    residual_row: int
    residual_pixel: int
    channels: int
    columns: int
    rows: int
    patches_down: int
    patches_across: int
    blocks: int
    tiles: int
    larger_tiles: int
    pixel_parts: int
    block_parts: int
    blocks_inside: int


# Depthwise convolutions


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthwiseKernel(Kernel):
    """Convolve every channel with its own small kernel, `pixels` outputs of a row at a time."""

    kernel_size: tuple[int, int]
    stride: int
    dilation: int
    pixels: int
    has_smaller_tiles: bool
    has_tail: bool
    has_residual: bool
    activation: Function | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthwiseWork(RowWork):
    """Numbers for `DepthwiseKernel`; weights are `(kernel height, kernel width, C)`."""

    source: Place
    weights: Place
    bias: Place
    residual: Place
    source_image: int
    source_row: int
    source_pixel: int
    source_step: int
    residual_image: int
    residual_row: int
    residual_pixel: int
    tiles: int
    larger_tiles: int


# Convolutions that run together


@dataclass(frozen=True, slots=True, kw_only=True)
class BandKernel(Kernel):
    """Run two or three convolutions together, row by row; a chunk is a band of rows of one image.

    A thread that goes on with the next band finds rows that both read still there.

    The operation's stages say what they do. Theirs are records of a single image, and their chunks
    are its rows. Of the values between them only a few rows exist, in the thread's scratch memory.

    Args:
        stages: How many convolutions.
        has_window: Whether the second reads several rows of the first. If not, the first reads them
            from memory.
    """

    stages: int
    has_window: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BandWork(Work):
    """Numbers for `BandKernel`.

    A row of outputs reads `window_reach` rows, the next one those `window_stride` further down; the
    first begins `window_top` rows above the image. There are `window_rows`, each `window_row`
    floats long, with zeros at the left and at the right.
    """

    source: Place
    residual: Place
    target: Place
    window: Place
    row: Place
    source_image: int
    residual_image: int
    target_image: int
    rows: int
    bands: int
    rows_at_once: int
    window_rows: int
    window_stride: int
    window_top: int
    window_reach: int
    window_row: int
    window_left: int
    window_right: int
    row_row: int


# The rest: one row of one image at a time, channels in vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementwiseKernel(Kernel):
    """Combine up to three operands number by number, then activate.

    Args:
        operator: `copy`, an `Arithmetic` operator, or `affine`: first * second + third.
        spread: For each operand, whether one number serves all channels.
    """

    operator: str
    spread: tuple[bool, ...]
    has_tail: bool
    activation: Function | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementwiseWork(RowWork):
    """Numbers for `ElementwiseKernel`; strides are 0 where an operand repeats."""

    first: Place
    second: Place
    third: Place
    first_image: int
    first_row: int
    first_pixel: int
    second_image: int
    second_row: int
    second_pixel: int
    third_image: int
    third_row: int
    third_pixel: int
    columns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolKernel(Kernel):
    """Reduce windows, given as tables of (start, stop, count) for rows and for columns."""

    operator: str
    has_tail: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolWork(PixelWork):
    """Numbers for `PoolKernel`."""

    row_table: Place
    column_table: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class GatherKernel(Kernel):
    """Copy pixels from rows and columns that tables name; channels too where `by_channel`."""

    by_channel: bool
    has_tail: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GatherWork(PixelWork):
    """Numbers for `GatherKernel`; tables have indices of source rows, columns and channels."""

    row_table: Place
    column_table: Place
    channel_table: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class BilinearKernel(Kernel):
    """Interpolate between two rows and two columns."""

    has_tail: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BilinearWork(PixelWork):
    """Numbers for `BilinearKernel`; tables hold two indices, weights a float32 for the second."""

    row_table: Place
    column_table: Place
    row_weights: Place
    column_weights: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalizeKernel(Kernel):
    """Normalize the channels of each pixel: `softmax`, or `layer_norm` with scale and shift."""

    operator: str
    has_tail: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalizeWork(PixelWork):
    """Numbers for `NormalizeKernel`; `eps` is a place of one float."""

    scale: Place
    shift: Place
    eps: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class FillKernel(Kernel):
    """Set runs of floats of each image to one value."""

    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FillWork(Work):
    """Numbers for `FillKernel`; runs of floats as (start, length) pairs in a table."""

    target: Place
    runs: Place
    run_count: int
    target_image: int
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadKernel(Kernel):
    """Bring a caller's tensor, whatever its strides, into a buffer with channels innermost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadWork(Work):
    """Numbers for `ReadKernel`; `source` is the entry of the caller's tensor and its strides."""

    source: int
    target: Place
    target_image: int
    target_row: int
    target_pixel: int
    channels: int
    columns: int
    rows: int
    images: int
    row_parts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteKernel(Kernel):
    """Lay an image out with channels outermost, for the caller or to be flattened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteWork(Work):
    """Numbers for `WriteKernel`: each image of the target is contiguous `(C, H, W)`."""

    source: Place
    target: Place
    source_image: int
    source_row: int
    source_pixel: int
    target_image: int
    channels: int
    columns: int
    rows: int
    images: int
    channel_parts: int
