"""How values come in, go out, and are laid out with channels outermost."""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from llvmlite import ir

from onebyone.compiler.abi import INPUT_WORDS, BaseWord
from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.choose.choose import output_name
from onebyone.compiler.emit.code import Code, int64
from onebyone.compiler.emit.record import Record, Work
from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.kernels.kernel import Kernel, Operation
from onebyone.compiler.memory.buffers import Buffer, Place, Region, Strided
from onebyone.graph import Constant, Input, Node, Reshape


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadKernel(Kernel):
    """Bring a caller's tensor, whatever its strides, into a buffer with channels innermost."""

    def write(self, code: Code, record: Record) -> None:
        """Bring the tensor into a buffer, a vector of pixels at a time where they lie so."""
        b = code.builder
        entry = record.number("source")
        base = code.load_pointer(record.bases, entry)
        strides = [code.load_int64(record.bases, code.add(entry, i)) for i in range(1, 5)]
        rows, images, columns, channels = record.numbers("rows", "images", "columns", "channels")
        begin, end = code.part(record.chunk, record.number("row_parts"), code.mul(rows, images))
        pixel = record.number("target_pixel")
        one = int64(1)
        with code.loop(begin, end, name="row") as index:
            image, row = code.div(index, rows), code.rem(index, rows)
            source = code.at(base, code.mul(image, strides[0]), code.mul(row, strides[2]))
            target = code.at(
                record.pointer("target"),
                code.mul(image, record.number("target_image")),
                code.mul(row, record.number("target_row")),
            )

            def copy_plane_row(
                channel: Any, first: Any, source: Any = source, target: Any = target
            ) -> None:
                plane = code.at(source, code.mul(channel, strides[1]))
                with code.loop(first, columns, name="x") as x:
                    number = code.load_float(code.at(plane, code.mul(x, strides[3])))
                    code.store_float(number, code.at(target, code.mul(x, pixel), channel))

            contiguous = b.icmp_signed("==", strides[3], one)
            full = code.mul(code.div(columns, code.lanes), code.lanes)
            full = b.select(contiguous, full, int64(0))
            columns_of_vectors = code.loop(0, full, code.lanes, name="v")
            with columns_of_vectors as x, code.loop(0, channels, name="c") as channel:
                plane = code.at(source, code.mul(channel, strides[1]))
                vector = code.load(code.at(plane, x))
                for lane in range(code.lanes):
                    number = b.extract_element(vector, ir.Constant(ir.IntType(32), lane))
                    place = code.at(target, code.mul(code.add(x, lane), pixel), channel)
                    code.store_float(number, place)
            with code.loop(0, channels, name="c") as channel:
                copy_plane_row(channel, full)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadWork(Work):
    """Numbers for `ReadKernel`; `source` is the entry of the caller's tensor and its strides."""

    source: int
    target: Strided
    channels: int
    columns: int
    rows: int
    images: int
    row_parts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteKernel(Kernel):
    """Lay an image out with channels outermost, for the caller or to be flattened.

    Args:
        by_squares: Whether squares of pixels and channels are transposed in registers; else numbers
            are copied one by one.
    """

    by_squares: bool

    def write(self, code: Code, record: Record) -> None:
        """Write one chunk: some rows of vectors of channels, or of channels."""
        rows, images, columns, channels = record.numbers("rows", "images", "columns", "channels")
        width = code.lanes if self.by_squares else 1
        blocks = code.div(code.add(channels, width - 1), width)
        total = code.mul(code.mul(images, blocks), rows)
        begin, end = code.part(record.chunk, record.number("parts"), total)
        pixels = code.mul(rows, columns)
        with code.loop(begin, end, name="row") as index:
            plane, row = code.div(index, rows), code.rem(index, rows)
            image, channel = code.div(plane, blocks), code.mul(code.rem(plane, blocks), width)
            source = code.at(
                record.pointer("source"),
                code.mul(image, record.number("source_image")),
                code.mul(row, record.number("source_row")),
                channel,
            )
            target = code.at(
                record.pointer("target"),
                code.mul(image, record.number("target_image")),
                code.mul(channel, pixels),
                code.mul(row, columns),
            )
            if self.by_squares:
                left = code.sub(channels, channel)
                _write_squares(code, record, source, target, pixels, columns, left)
            else:
                with code.loop(0, columns, name="x") as x:
                    place = code.at(source, code.mul(x, record.number("source_pixel")))
                    code.store_float(code.load_float(place), code.at(target, x))


def _write_squares(
    code: Code, record: Record, source: Any, target: Any, pixels: Any, columns: Any, channels: Any
) -> None:
    """Write a row of a vector of channels, of which there are so many left."""
    b, lanes, pixel = code.builder, code.lanes, record.number("source_pixel")

    def square(x: Any, count: Any = None) -> None:
        """Write a whole square, or the `count` pixels and the channels that are left."""
        whole = count is None
        mask = None if whole else code.lanes_below(channels)
        last = code.sub(columns, 1)
        places = [code.add(x, lane) for lane in range(lanes)]
        places = places if whole else [code.minimum(place, last) for place in places]
        vectors = [code.load(code.at(source, code.mul(place, pixel)), mask) for place in places]
        for number, vector in enumerate(code.transpose(vectors)):
            place = code.at(target, code.mul(pixels, number), x)
            if whole:
                code.store(vector, place)
            else:
                with b.if_then(code.less(number, channels)):
                    code.store(vector, place, code.lanes_below(count))

    with code.loop(0, columns, lanes, name="x") as x:
        count = code.sub(columns, x)
        is_whole = b.and_(code.less(lanes - 1, count), code.less(lanes - 1, channels))
        with b.if_else(is_whole) as (whole, rest):
            with whole:
                square(x)
            with rest:
                square(x, count)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteWork(Work):
    """Numbers for `WriteKernel`: each image of the target is contiguous `(C, H, W)`."""

    source: Strided
    target: Place
    target_image: int
    channels: int
    columns: int
    rows: int
    images: int
    parts: int


def lower_input(builder: PlanBuilder, node: Input) -> None:
    """Add the operation that brings the caller's tensor into a buffer."""
    region = builder.region(node.name)
    images, channels, rows, columns = region.shape
    parts, _ = builder.choices[node.name].parts
    work = ReadWork(
        source=BaseWord.FIRST_TENSOR + INPUT_WORDS * node.index,
        target=region.strided(),
        channels=channels,
        columns=columns,
        rows=rows,
        images=images,
        row_parts=parts,
    )
    note = "channels innermost"
    builder.add(node, ReadKernel(), work, chunks=parts, target=region, note=note)


def lower_constant(builder: PlanBuilder, node: Constant) -> None:
    """Put the value among the constants, with its border."""
    buffer = builder.region(node.name).buffer
    top, bottom, left, right = buffer.border
    image = F.pad(node.value, (left, right, top, bottom)).permute(0, 2, 3, 1)
    # Another graph of the network may have other numbers under the node's name.
    builder.placement.rename(buffer, builder.constants.shared(image).buffer)
    builder.writers[node.name] = []


def lower_reshape(builder: PlanBuilder, node: Reshape) -> None:
    """Add the operation that lays numbers out with channels outermost."""
    source, target = builder.region(node.inputs[0]), builder.region(node.name)
    work = _write_work(source, target, builder.choices[node.name])
    kernel, chunks = _write_kernel(builder, source), work.parts
    builder.add(node, kernel, work, chunks=chunks, target=target, note="flattened")


def write_output(builder: PlanBuilder, node: Node, index: int) -> None:
    """Bring a value to the caller's tensor number `index`, if it has not been computed there."""
    base = BaseWord.FIRST_TENSOR + INPUT_WORDS * len(builder.graph.inputs) + index
    source = builder.region(node.name)
    if source.buffer.base == base:
        return
    tensor = Buffer(name=output_name(index), shape=node.shape, base=base)
    whole = Region(buffer=tensor, channels=node.shape[1])
    work = _write_work(source, whole, builder.choices[tensor.name])
    operation = Operation(
        name=tensor.name,
        path=node.path,
        what="output",
        kernel=_write_kernel(builder, source),
        work=work,
        chunks=work.parts,
        reads=(source.buffer.name,),
        writes=tensor.name,
        note="channels outermost",
    )
    builder.append(operation, tuple(builder.writers[node.name]))


def _write_work(source: Region, target: Region, choices: Choices) -> WriteWork:
    images, channels, rows, columns = source.shape
    return WriteWork(
        source=source.strided(),
        target=target.place(),
        target_image=target.buffer.image_stride,
        channels=channels,
        columns=columns,
        rows=rows,
        images=images,
        parts=choices.parts[1],
    )


def _write_kernel(builder: PlanBuilder, source: Region) -> WriteKernel:
    """Return what copies a value; of a pixel or two, squares would be all but empty."""
    return WriteKernel(by_squares=4 * source.shape[3] >= builder.target.lanes)
