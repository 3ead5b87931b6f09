"""From nodes to operations: a table with one function for each kind of node."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from onebyone.compiler.plan import operations as ops
from onebyone.compiler.plan.buffers import (
    CONSTANTS,
    FIRST_TENSOR,
    INPUT_WORDS,
    Buffer,
    Place,
    Region,
)
from onebyone.compiler.plan.constants import Constants
from onebyone.compiler.plan.convolution import lower_convolution
from onebyone.compiler.plan.placement import Placement, is_view
from onebyone.compiler.plan.resample import bilinear_table, nearest_table
from onebyone.compiler.plan.tiles import choose_chunks
from onebyone.compiler.target import Target
from onebyone.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Concat,
    Constant,
    Convolution,
    Function,
    Graph,
    Input,
    LayerNorm,
    Node,
    Pad,
    Pool,
    Reshape,
    Shuffle,
    Slice,
    Softmax,
    Upsample,
)


@dataclass(slots=True)
class Lowering:
    """Hold what has been lowered so far.

    Args:
        graph: Where the nodes come from.
        target: Processor.
        placement: Where values lie.
        constants: Weights and tables so far.
        operations: In an order in which they can run.
        after: For each operation, those that must be done before.
        writers: For each node, the operations that make its value.
        buffers: By name.
        views: Nodes without operations, and why.
    """

    graph: Graph
    target: Target
    placement: Placement
    constants: Constants
    operations: list[ops.Operation] = field(default_factory=list)
    after: dict[str, list[str]] = field(default_factory=dict)
    writers: dict[str, list[str]] = field(default_factory=dict)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    views: list[tuple[str, str]] = field(default_factory=list)

    def region(self, name: str) -> Region:
        """Return where a node's value lies."""
        return self.placement.regions[name]

    def emit(
        self,
        node: Node,
        kernel: ops.Kernel,
        work: ops.Work,
        *,
        chunks: int,
        target: Region,
        sources: tuple[str, ...] | None = None,
        macs: int = 0,
        note: str = "",
    ) -> str:
        """Add an operation that makes (part of) a node's value, and return its name."""
        sources = node.inputs if sources is None else sources
        made = self.writers.setdefault(node.name, [])
        name = node.name if not made else f"{node.name}.{len(made)}"
        after = [writer for source in sources for writer in self.writers[source]]
        reads = tuple(dict.fromkeys(self.region(source).buffer.name for source in sources))
        self.operations.append(
            ops.Operation(
                name=name,
                path=node.path,
                kernel=kernel,
                work=work,
                chunks=chunks,
                reads=reads,
                writes=target.buffer.name,
                macs=macs,
                note=note,
            )
        )
        self.after[name] = after
        made.append(name)
        self._fill_border(node, target.buffer, name)
        return name

    def _fill_border(self, node: Node, buffer: Buffer, writer: str) -> None:
        """Let the first who writes to a buffer with a border be joined by one who clears the border."""
        if buffer.name in self.buffers:
            if any(buffer.border):
                self.writers[node.name].append(f"{buffer.name}.border")
            return
        self.buffers[buffer.name] = buffer
        if not any(buffer.border):
            return
        name = f"{buffer.name}.border"
        runs = _border_runs(buffer)
        self.operations.append(
            ops.Operation(
                name=name,
                path=node.path,
                kernel=ops.FillKernel(value=0.0, is_border=True),
                work=ops.FillWork(
                    target=Place(buffer.name, buffer.base),
                    runs=self.constants.table(runs),
                    run_count=len(runs),
                    target_image=buffer.image_stride,
                    images=buffer.shape[0],
                ),
                chunks=buffer.shape[0],
                reads=(),
                writes=buffer.name,
                note="zeros around the image",
            )
        )
        self.after[name] = self.after[writer]
        self.writers[node.name].append(name)


def lower(lowering: Lowering) -> None:
    """Lower all nodes, then bring outputs to the caller's tensors."""
    for node in lowering.graph:
        LOWER[type(node)](lowering, node)
    first = FIRST_TENSOR + INPUT_WORDS * len(lowering.graph.inputs)
    for index, ref in enumerate(lowering.graph.outputs):
        region = lowering.region(ref.name)
        if region.buffer.base != first + index:
            _write_out(lowering, lowering.graph[ref.name], Place("", first + index), index)


def _border_runs(buffer: Buffer) -> Tensor:
    """Return (start, length) in floats of the runs around one image's rows."""
    top, bottom, left, right = buffer.border
    rows, row, pixel = buffer.shape[2], buffer.row_stride, buffer.pixel_stride
    runs = [(0, top * row + left * pixel)]
    for y in range(top, top + rows - 1):  # the end of one row and the beginning of the next
        runs.append((y * row + (row - right * pixel), (left + right) * pixel))
    last = (top + rows) * row - right * pixel
    runs.append((last, buffer.image_stride - last))
    return torch.tensor([run for run in runs if run[1]])


def parts_of_rows(shape: tuple[int, ...], lanes: int, work: float) -> tuple[int, int]:
    """Return into how many parts rows and channels are cut, for about as many multiply-adds."""
    images, channels, rows, _ = shape
    vectors = -(-channels // lanes)
    wanted = choose_chunks(work, images * rows * vectors)
    row_parts = choose_chunks(work, images * rows) if images * rows >= 2 * wanted else 1
    if row_parts == wanted:
        return row_parts, 1
    channel_parts = choose_chunks(work, vectors)
    return min(images * rows, -(-wanted // channel_parts)), channel_parts


def _strides(region: Region, prefix: str) -> dict[str, int]:
    buffer = region.buffer
    return {
        f"{prefix}_image": buffer.image_stride,
        f"{prefix}_row": buffer.row_stride,
        f"{prefix}_pixel": buffer.pixel_stride,
    }


def _grid(lowering: Lowering, region: Region, work: float) -> dict[str, int]:
    """Return the loops over a region's rows, and their parts."""
    images, channels, rows, columns = region.shape
    row_parts, channel_parts = parts_of_rows(region.shape, lowering.target.lanes, work)
    return {
        "channels": channels,
        "columns": columns,
        "rows": rows,
        "images": images,
        "row_parts": row_parts,
        "channel_parts": channel_parts,
    }


def _chunks(grid: Mapping[str, int]) -> int:
    return grid["row_parts"] * grid["channel_parts"]


def _numbers(shape: tuple[int, ...]) -> int:
    n, c, h, w = shape
    return n * c * h * w


def _has_tail(lowering: Lowering, channels: int) -> bool:
    return channels % lowering.target.lanes != 0


# Where values come from


def _lower_input(lowering: Lowering, node: Input) -> None:
    region = lowering.region(node.name)
    images, channels, rows, columns = region.shape
    parts = choose_chunks(_numbers(region.shape) * 8, images * rows)
    work = ops.ReadWork(
        source=FIRST_TENSOR + INPUT_WORDS * node.index,
        target=region.place(),
        **_strides(region, "target"),
        channels=channels,
        columns=columns,
        rows=rows,
        images=images,
        row_parts=parts,
    )
    note = "channels innermost"
    lowering.emit(node, ops.ReadKernel(), work, chunks=parts, target=region, note=note)


def _lower_constant(lowering: Lowering, node: Constant) -> None:
    place = lowering.constants.shared(node.value.permute(0, 2, 3, 1))
    region = lowering.region(node.name)
    # The value's buffer goes by the node's name; the constants know it by theirs.
    lowering.constants.offsets[region.buffer.name] = lowering.constants.offsets[place.buffer]
    lowering.writers[node.name] = []


# Elementwise


@dataclass(frozen=True, slots=True)
class _Operand:
    """A region, or a vector of one number for each channel, with its strides; 0 where it repeats."""

    place: Place
    image: int
    row: int
    pixel: int
    is_spread: bool
    is_contiguous: bool


def _operand(region: Region, like: tuple[int, ...]) -> _Operand:
    n, c, h, w = region.shape
    buffer = region.buffer
    return _Operand(
        place=region.place(),
        image=buffer.image_stride if n == like[0] else 0,
        row=buffer.row_stride if h == like[2] else 0,
        pixel=buffer.pixel_stride if w == like[3] else 0,
        is_spread=c == 1 and like[1] > 1,
        is_contiguous=region.is_contiguous and region.shape == like,
    )


def _vector(place: Place) -> _Operand:
    return _Operand(place, 0, 0, 0, is_spread=False, is_contiguous=False)


def _emit_elementwise(
    lowering: Lowering,
    node: Node,
    operator: str,
    operands: list[_Operand],
    activation: Function | None,
    *,
    target: Region | None = None,
    sources: tuple[str, ...] | None = None,
    note: str = "",
) -> None:
    target = target or lowering.region(node.name)
    images, channels, rows, columns = target.shape
    heavy = activation is not None and activation.name in ("gelu", "silu", "sigmoid", "tanh", "gelu_tanh")
    weight = 4 if heavy else 1
    grid = _grid(lowering, target, _numbers(target.shape) * weight)
    strides = {**_strides(target, "target")}
    if target.is_contiguous and all(operand.is_contiguous for operand in operands):
        # Nothing repeats and nothing lies between: a row is one long pixel.
        parts, _ = parts_of_rows((images, 1, rows, columns), 1, _numbers(target.shape) * weight)
        grid = {**grid, "channels": channels * columns, "columns": 1}
        grid |= {"row_parts": parts, "channel_parts": 1}
    places: dict[str, Any] = {}
    padded = [*operands, *[_vector(target.place())] * (3 - len(operands))]
    for name, operand in zip(("first", "second", "third"), padded, strict=True):
        places[name] = operand.place
        strides |= {
            f"{name}_image": operand.image,
            f"{name}_row": operand.row,
            f"{name}_pixel": operand.pixel,
        }
    kernel = ops.ElementwiseKernel(
        operator=operator,
        spread=tuple(operand.is_spread for operand in operands),
        has_tail=_has_tail(lowering, grid["channels"]),
        activation=activation,
    )
    work = ops.ElementwiseWork(target=target.place(), **places, **strides, **grid)
    lowering.emit(
        node, kernel, work, chunks=_chunks(grid), target=target, sources=sources, note=note
    )


def _lower_activation(lowering: Lowering, node: Activation) -> None:
    source = _operand(lowering.region(node.inputs[0]), node.shape)
    _emit_elementwise(lowering, node, "copy", [source], node.function)


def _lower_arithmetic(lowering: Lowering, node: Arithmetic) -> None:
    operands = [_operand(lowering.region(name), node.shape) for name in node.inputs]
    _emit_elementwise(lowering, node, node.operator, operands, node.activation)


def _lower_batch_norm(lowering: Lowering, node: BatchNorm) -> None:
    scale, shift = (lowering.constants.shared(v) for v in node.scale_and_shift())
    source = _operand(lowering.region(node.inputs[0]), node.shape)
    operands = [source, _vector(scale), _vector(shift)]
    _emit_elementwise(lowering, node, "affine", operands, node.activation)


def _lower_concat(lowering: Lowering, node: Concat) -> None:
    copied = lowering.placement.copied[node.name]
    names = {name for name, _ in copied}
    in_place = [name for name in node.inputs if name not in names]
    found = [writer for name in in_place for writer in lowering.writers[name]]
    for source, target in copied:
        region = _operand(lowering.region(source), target.shape)
        _emit_elementwise(
            lowering, node, "copy", [region], None, target=target, sources=(source,), note="copied"
        )
    lowering.writers.setdefault(node.name, []).extend(found)
    if not copied:
        lowering.views.append((node.name, "its inputs are written into place"))


# Moving pixels


def _emit_gather(
    lowering: Lowering,
    node: Node,
    source: Region,
    target: Region,
    *,
    rows: Tensor,
    columns: Tensor,
    channels: Tensor | None = None,
    note: str = "",
) -> None:
    grid = _grid(lowering, target, _numbers(target.shape) * (1 if channels is None else 8))
    table = lowering.constants.table
    work = ops.GatherWork(
        source=source.place(),
        target=target.place(),
        row_table=table(rows),
        column_table=table(columns),
        channel_table=table(torch.zeros(1) if channels is None else channels),
        **_strides(source, "source"),
        **_strides(target, "target"),
        **grid,
    )
    kernel = ops.GatherKernel(
        by_channel=channels is not None, has_tail=_has_tail(lowering, target.channels)
    )
    lowering.emit(node, kernel, work, chunks=_chunks(grid), target=target, note=note)


def _lower_slice(lowering: Lowering, node: Slice) -> None:
    if is_view(node):
        lowering.writers[node.name] = lowering.writers[node.inputs[0]]
        lowering.views.append((node.name, "channels of its input, where they lie"))
        return
    source, target = lowering.region(node.inputs[0]), lowering.region(node.name)
    _, _, rows, columns = source.shape
    chosen = torch.arange(node.start, node.stop, node.step)
    picked = {2: torch.arange(rows), 3: torch.arange(columns), node.dim: chosen}
    _emit_gather(
        lowering,
        node,
        source,
        target,
        rows=picked[2],
        columns=picked[3],
        channels=picked.get(1),
        note="copied",
    )


def _lower_shuffle(lowering: Lowering, node: Shuffle) -> None:
    source, target = lowering.region(node.inputs[0]), lowering.region(node.name)
    _, channels, rows, columns = target.shape
    order = torch.arange(channels).view(node.groups, -1).t().flatten()
    _emit_gather(
        lowering,
        node,
        source,
        target,
        rows=torch.arange(rows),
        columns=torch.arange(columns),
        channels=order,
        note="channels dealt out",
    )


def _lower_upsample(lowering: Lowering, node: Upsample) -> None:
    source, target = lowering.region(node.inputs[0]), lowering.region(node.name)
    if node.mode == "nearest":
        rows, columns = (nearest_table(node, source.shape, axis) for axis in (0, 1))
        _emit_gather(lowering, node, source, target, rows=rows, columns=columns, note="nearest")
        return
    (rows, down), (columns, across) = (bilinear_table(node, source.shape, axis) for axis in (0, 1))
    grid = _grid(lowering, target, _numbers(target.shape) * 4)
    constants = lowering.constants
    work = ops.BilinearWork(
        source=source.place(),
        target=target.place(),
        row_table=constants.table(rows),
        column_table=constants.table(columns),
        row_weights=constants.shared(down),
        column_weights=constants.shared(across),
        **_strides(source, "source"),
        **_strides(target, "target"),
        **grid,
    )
    kernel = ops.BilinearKernel(has_tail=_has_tail(lowering, target.channels))
    lowering.emit(node, kernel, work, chunks=_chunks(grid), target=target, note="bilinear")


def _lower_pad(lowering: Lowering, node: Pad) -> None:
    """Fill all of the target, then copy the image into its middle."""
    source, target = lowering.region(node.inputs[0]), lowering.region(node.name)
    top, bottom, left, right = node.padding
    images, channels, rows, columns = target.shape
    if target.buffer.pixel_stride != channels:  # a branch of a concatenation: gather, pixel by pixel
        _pad_by_gather(lowering, node)
        return
    run = columns * target.buffer.pixel_stride
    start = target.place().offset
    runs = torch.tensor([(start + y * target.buffer.row_stride, run) for y in range(rows)])
    lowering.emit(
        node,
        ops.FillKernel(value=node.value, is_border=False),
        ops.FillWork(
            target=Place(target.buffer.name, target.buffer.base),
            runs=lowering.constants.table(runs),
            run_count=rows,
            target_image=target.buffer.image_stride,
            images=images,
        ),
        chunks=images,
        target=target,
        sources=(),
        note=f"filled with {node.value:g}",
    )
    inner = Region(buffer=target.buffer, channel=target.channel, channels=channels)
    _copy_into(lowering, node, source, inner, top, left)


def _copy_into(
    lowering: Lowering, node: Node, source: Region, target: Region, top: int, left: int
) -> None:
    _, _, rows, columns = source.shape
    operand = _operand(source, source.shape)
    grid = _grid(lowering, source, _numbers(source.shape))
    filled = list(lowering.writers[node.name])
    work = ops.ElementwiseWork(
        target=target.place(top, left),
        first=operand.place,
        second=operand.place,
        third=operand.place,
        **_strides(target, "target"),
        **_strides(source, "first"),
        **_strides(source, "second"),
        **_strides(source, "third"),
        **grid,
    )
    kernel = ops.ElementwiseKernel(
        operator="copy",
        spread=(False,),
        has_tail=_has_tail(lowering, source.channels),
        activation=None,
    )
    name = lowering.emit(node, kernel, work, chunks=_chunks(grid), target=target, note="copied")
    lowering.after[name].extend(filled)


def _pad_by_gather(lowering: Lowering, node: Pad) -> None:
    """Clamp to the nearest pixel where the value is unimportant; kept for branches of concatenations."""
    raise NotImplementedError(node.name)


def _lower_reshape(lowering: Lowering, node: Reshape) -> None:
    region = lowering.region(node.name)
    place = region.place()
    _emit_write(lowering, node, node.inputs[0], place, target=region, note="flattened")


def _write_out(lowering: Lowering, node: Node, place: Place, index: int) -> None:
    _, channels, rows, columns = node.shape
    region = lowering.region(node.name)
    buffer = Buffer(name=f"output {index}", shape=node.shape, base=place.base)
    target = Region(buffer=buffer, channels=channels)
    place = Place(buffer.name, place.base)
    sources = list(lowering.writers[node.name])
    _emit_write(lowering, node, node.name, place, target=target, note="channels outermost")
    # It reads the finished value, and nobody reads what it writes.
    lowering.after[lowering.operations[-1].name] = sources
    lowering.writers[node.name] = sources
    del region, rows, columns


def _emit_write(
    lowering: Lowering, node: Node, source_name: str, place: Place, *, target: Region, note: str
) -> None:
    source = lowering.region(source_name)
    images, channels, rows, columns = source.shape
    parts = choose_chunks(_numbers(source.shape) * 8, images * channels)
    work = ops.WriteWork(
        source=source.place(),
        target=place,
        **_strides(source, "source"),
        channels=channels,
        columns=columns,
        rows=rows,
        images=images,
        channel_parts=parts,
    )
    lowering.emit(
        node,
        ops.WriteKernel(),
        work,
        chunks=parts,
        target=target,
        sources=(source_name,),
        note=note,
    )


# Reductions


def _lower_pool(lowering: Lowering, node: Pool) -> None:
    source, target = lowering.region(node.inputs[0]), lowering.region(node.name)
    window = max(w.stop - w.start for w in node.rows) * max(w.stop - w.start for w in node.columns)
    grid = _grid(lowering, target, _numbers(target.shape) * window)
    rows, columns = (
        torch.tensor([(w.start, w.stop, w.count) for w in windows])
        for windows in (node.rows, node.columns)
    )
    work = ops.PoolWork(
        source=source.place(),
        target=target.place(),
        row_table=lowering.constants.table(rows),
        column_table=lowering.constants.table(columns),
        **_strides(source, "source"),
        **_strides(target, "target"),
        **grid,
    )
    kernel = ops.PoolKernel(operator=node.operator, has_tail=_has_tail(lowering, target.channels))
    lowering.emit(node, kernel, work, chunks=_chunks(grid), target=target)


def _lower_softmax(lowering: Lowering, node: Softmax) -> None:
    zero = lowering.constants.shared(torch.zeros(1))
    _emit_normalize(lowering, node, "softmax", zero, zero, zero)


def _lower_layer_norm(lowering: Lowering, node: LayerNorm) -> None:
    channels = node.shape[1]
    scale = torch.ones(channels) if node.weight is None else node.weight
    shift = torch.zeros(channels) if node.bias is None else node.bias
    shared = lowering.constants.shared
    eps = shared(torch.tensor([node.eps]))
    _emit_normalize(lowering, node, "layer_norm", shared(scale), shared(shift), eps)


def _emit_normalize(
    lowering: Lowering, node: Node, operator: str, scale: Place, shift: Place, eps: Place
) -> None:
    source, target = lowering.region(node.inputs[0]), lowering.region(node.name)
    images, channels, rows, columns = target.shape
    grid = _grid(lowering, target, 0.0)
    parts = choose_chunks(_numbers(target.shape) * 4, images * rows)
    grid |= {"row_parts": parts, "channel_parts": 1}
    work = ops.NormalizeWork(
        source=source.place(),
        target=target.place(),
        scale=scale,
        shift=shift,
        eps=eps,
        **_strides(source, "source"),
        **_strides(target, "target"),
        **grid,
    )
    kernel = ops.NormalizeKernel(operator=operator, has_tail=_has_tail(lowering, channels))
    lowering.emit(node, kernel, work, chunks=parts, target=target)
    del columns


LOWER: dict[type[Node], Callable[[Lowering, Any], None]] = {
    Input: _lower_input,
    Constant: _lower_constant,
    Convolution: lower_convolution,
    BatchNorm: _lower_batch_norm,
    LayerNorm: _lower_layer_norm,
    Activation: _lower_activation,
    Arithmetic: _lower_arithmetic,
    Softmax: _lower_softmax,
    Pool: _lower_pool,
    Upsample: _lower_upsample,
    Pad: _lower_pad,
    Concat: _lower_concat,
    Slice: _lower_slice,
    Shuffle: _lower_shuffle,
    Reshape: _lower_reshape,
}

__all__ = ["CONSTANTS", "Lowering", "lower"]
