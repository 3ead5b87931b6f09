"""How values come in, go out, and are laid out with channels outermost."""

from math import prod

import torch.nn.functional as F

from onebyone.compiler.plan import operations as ops
from onebyone.compiler.plan.buffers import FIRST_TENSOR, INPUT_WORDS, Buffer, Region
from onebyone.compiler.plan.lowering import Lowering, strides
from onebyone.compiler.plan.tiles import choose_chunks
from onebyone.graph import Constant, Input, Node, Reshape

TRANSPOSE_WEIGHT = 8
"""How much longer it takes to move a number across than to multiply and add, about."""


def lower_input(lowering: Lowering, node: Input) -> None:
    """Add the operation that brings the caller's tensor into a buffer."""
    region = lowering.region(node.name)
    images, channels, rows, columns = region.shape
    parts = choose_chunks(prod(region.shape) * TRANSPOSE_WEIGHT, images * rows)
    work = ops.ReadWork(
        source=FIRST_TENSOR + INPUT_WORDS * node.index,
        target=region.place(),
        **strides(region, "target"),
        channels=channels,
        columns=columns,
        rows=rows,
        images=images,
        row_parts=parts,
    )
    note = "channels innermost"
    lowering.emit(node, ops.ReadKernel(), work, chunks=parts, target=region, note=note)


def lower_constant(lowering: Lowering, node: Constant) -> None:
    """Put the value among the constants, with its border."""
    buffer = lowering.region(node.name).buffer
    top, bottom, left, right = buffer.border
    image = F.pad(node.value, (left, right, top, bottom)).permute(0, 2, 3, 1)
    place = lowering.constants.shared(image)
    # The value's buffer goes by the node's name; the constants know it by theirs.
    lowering.constants.offsets[buffer.name] = lowering.constants.offsets[place.buffer]
    lowering.writers[node.name] = []


def lower_reshape(lowering: Lowering, node: Reshape) -> None:
    """Add the operation that lays numbers out with channels outermost."""
    source, target = lowering.region(node.inputs[0]), lowering.region(node.name)
    work = _write_work(source, target)
    chunks, note = work.channel_parts, "flattened"
    lowering.emit(node, ops.WriteKernel(), work, chunks=chunks, target=target, note=note)


def write_output(lowering: Lowering, node: Node, index: int) -> None:
    """Bring a value to the caller's tensor number `index`, if it has not been computed there."""
    base = FIRST_TENSOR + INPUT_WORDS * len(lowering.graph.inputs) + index
    source = lowering.region(node.name)
    if source.buffer.base == base:
        return
    tensor = Buffer(name=f"output {index}", shape=node.shape, base=base)
    work = _write_work(source, Region(buffer=tensor, channels=node.shape[1]))
    operation = ops.Operation(
        name=tensor.name,
        path=node.path,
        kernel=ops.WriteKernel(),
        work=work,
        chunks=work.channel_parts,
        reads=(source.buffer.name,),
        writes=tensor.name,
        note="channels outermost",
    )
    lowering.add(operation, tuple(lowering.writers[node.name]))


def _write_work(source: Region, target: Region) -> ops.WriteWork:
    images, channels, rows, columns = source.shape
    parts = choose_chunks(prod(source.shape) * TRANSPOSE_WEIGHT, images * channels)
    return ops.WriteWork(
        source=source.place(),
        target=target.place(),
        **strides(source, "source"),
        target_image=target.buffer.image_stride,
        channels=channels,
        columns=columns,
        rows=rows,
        images=images,
        channel_parts=parts,
    )
