"""Nodes that look at all channels of a pixel: softmax and layer norm."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from llvmlite import ir

from onebyone.compiler.emit.code import Code
from onebyone.compiler.emit.functions import exponential
from onebyone.compiler.emit.numbers import F32
from onebyone.compiler.emit.record import Record
from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.kernels.kernel import Kernel
from onebyone.compiler.kernels.rows import (
    PixelWork,
    for_pixels,
    for_vectors,
    grid,
    has_tail,
    pixel_place,
)
from onebyone.compiler.memory.buffers import Place
from onebyone.graph import LayerNorm, Node, Softmax


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalizeKernel(Kernel):
    """Normalize the channels of each pixel: `softmax`, or `layer_norm` with scale and shift."""

    operator: str
    has_tail: bool

    def write(self, code: Code, record: Record) -> None:
        """Write softmax or layer norm over the channels of each pixel."""
        write = {"softmax": _softmax, "layer_norm": _layer_norm}[self.operator]

        def pixel(image: Any, row: Any, column: Any) -> None:
            source = pixel_place(code, record, "source", image, row, column)
            target = pixel_place(code, record, "target", image, row, column)
            write(code, self, record, source, target)

        for_pixels(code, record, pixel)


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalizeWork(PixelWork):
    """Numbers for `NormalizeKernel`; `eps` is a place of one float."""

    scale: Place
    shift: Place
    eps: Place


def lower_softmax(builder: PlanBuilder, node: Softmax) -> None:
    """Add the operation that computes probabilities."""
    unused = builder.constants.shared(torch.zeros(1))
    _add(builder, node, "softmax", scale=unused, shift=unused, eps=unused)


def lower_layer_norm(builder: PlanBuilder, node: LayerNorm) -> None:
    """Add the operation that normalizes, scales and shifts."""
    channels = node.shape[1]
    shared = builder.constants.shared
    scale = shared(torch.ones(channels) if node.weight is None else node.weight)
    shift = shared(torch.zeros(channels) if node.bias is None else node.bias)
    eps = shared(torch.tensor([node.eps]))
    _add(builder, node, "layer_norm", scale=scale, shift=shift, eps=eps)


def _add(
    builder: PlanBuilder, node: Node, operator: str, *, scale: Place, shift: Place, eps: Place
) -> None:
    source, target = builder.region(node.inputs[0]), builder.region(node.name)
    work = NormalizeWork(
        source=source.strided(),
        target=target.strided(),
        scale=scale,
        shift=shift,
        eps=eps,
        **grid(builder, node, target) | {"channel_parts": 1},  # who sums over channels needs all
    )
    kernel = NormalizeKernel(operator=operator, has_tail=has_tail(builder, target.channels))
    builder.add(node, kernel, work, chunks=work.chunks, target=target)


def _reduce(
    code: Code,
    kernel: NormalizeKernel,
    record: Record,
    start: float,
    combine: Callable[[Any, Any, Any], Any],
) -> Any:
    """Carry one vector through all channels: `combine(total, channel, mask)`."""
    with code.builder.goto_entry_block():
        slot = code.builder.alloca(code.vector_type)  # LLVM keeps it in a register
    code.store(code.splat(start), slot)

    def vector(channel: Any, mask: Any) -> None:
        code.store(combine(code.load(slot), channel, mask), slot)

    for_vectors(code, kernel, record, vector)
    return code.load(slot)


def _only(code: Code, mask: Any, value: Any, other: float) -> Any:
    """Return the value in the lanes of the mask, and `other` in the rest."""
    return value if mask is None else code.builder.select(mask, value, code.splat(other))


def _softmax(code: Code, kernel: Any, record: Record, source: Any, target: Any) -> None:
    b = code.builder

    def larger(total: Any, channel: Any, mask: Any) -> Any:
        value = _only(code, mask, code.load(code.at(source, channel), mask), float("-inf"))
        return code.binary("maximum", total, value)

    largest = code.horizontal_maximum(_reduce(code, kernel, record, float("-inf"), larger))
    largest = code.broadcast(largest)

    def power(total: Any, channel: Any, mask: Any) -> Any:
        value = exponential(code, b.fsub(code.load(code.at(source, channel), mask), largest))
        code.store(value, code.at(target, channel), mask)
        return b.fadd(total, _only(code, mask, value, 0.0))

    total = code.broadcast(code.horizontal_sum(_reduce(code, kernel, record, 0.0, power)))

    def divide(channel: Any, mask: Any) -> None:
        place = code.at(target, channel)
        code.store(b.fdiv(code.load(place, mask), total), place, mask)

    for_vectors(code, kernel, record, divide)


def _layer_norm(code: Code, kernel: Any, record: Record, source: Any, target: Any) -> None:
    b = code.builder
    channels = b.sitofp(record.number("channels"), F32)

    def sum_up(total: Any, channel: Any, mask: Any) -> Any:
        return b.fadd(total, code.load(code.at(source, channel), mask))

    total = code.horizontal_sum(_reduce(code, kernel, record, 0.0, sum_up))
    mean = code.broadcast(b.fdiv(total, channels))

    def square(total: Any, channel: Any, mask: Any) -> Any:
        apart = _only(code, mask, b.fsub(code.load(code.at(source, channel), mask), mean), 0.0)
        return code.multiply_add(apart, apart, total)

    total = code.horizontal_sum(_reduce(code, kernel, record, 0.0, square))
    variance = b.fadd(b.fdiv(total, channels), code.load_float(record.pointer("eps")))
    factor = code.broadcast(b.fdiv(ir.Constant(F32, 1.0), code.unary("sqrt", variance)))
    scale, shift = record.pointer("scale"), record.pointer("shift")

    def write(channel: Any, mask: Any) -> None:
        apart = b.fsub(code.load(code.at(source, channel), mask), mean)
        normal = b.fmul(apart, factor)
        value = code.multiply_add(
            normal,
            code.load(code.at(scale, channel), mask),
            code.load(code.at(shift, channel), mask),
        )
        code.store(value, code.at(target, channel), mask)

    for_vectors(code, kernel, record, write)
