"""Runs of memory that are set to one value."""

from dataclasses import dataclass

import torch
from llvmlite import ir

from onebyone.compiler.emit.code import Code
from onebyone.compiler.emit.numbers import F32
from onebyone.compiler.emit.record import Record, Work
from onebyone.compiler.kernels.kernel import Kernel
from onebyone.compiler.memory.buffers import Place, Region
from onebyone.compiler.memory.constants import Constants


@dataclass(frozen=True, slots=True, kw_only=True)
class FillKernel(Kernel):
    """Set runs of numbers of each image to one value."""

    value: float

    def write(self, code: Code, record: Record) -> None:
        """Write one value over runs of numbers; a chunk is one image."""
        start = code.at(
            record.pointer("target"), code.mul(record.chunk, record.number("target_image"))
        )
        runs = record.pointer("runs")
        with code.loop(0, record.number("run_count"), name="run") as run:
            begin = code.load_int32(runs, code.mul(run, 2))
            length = code.load_int32(runs, code.add(code.mul(run, 2), 1))
            place = code.at(start, begin)
            full = code.mul(code.div(length, code.lanes), code.lanes)
            with code.loop(0, full, code.lanes, name="v") as index:
                code.store(code.splat(self.value), code.at(place, index))
            with code.loop(full, length, name="f") as index:
                code.store_float(ir.Constant(F32, self.value), code.at(place, index))


@dataclass(frozen=True, slots=True, kw_only=True)
class FillWork(Work):
    """Numbers for `FillKernel`; runs of numbers as (start, length) pairs in a table."""

    target: Place
    runs: Place
    run_count: int
    target_image: int
    images: int


def fill_work(constants: Constants, inside: Region, frame: tuple[int, ...]) -> FillWork:
    """Return what fills the `frame` (pixels at the top, bottom, left and right) around a region.

    All channels of the buffer are filled, and what lies between its pixels.
    """
    images, _, rows, columns = inside.shape
    top, bottom, left, right = frame
    pixel = inside.buffer.pixel_stride
    runs: list[tuple[int, int]] = []
    for row in range(-top, rows + bottom):
        start = inside.place(row, -left).offset
        if 0 <= row < rows:
            runs += [(start, left * pixel), (start + (left + columns) * pixel, right * pixel)]
        else:
            runs.append((start, (left + columns + right) * pixel))
    runs = [run for run in runs if run[1]]
    return FillWork(
        target=Place(inside.buffer.name, inside.buffer.base, 0, inside.buffer.format),
        runs=constants.table(torch.tensor(runs)),
        run_count=len(runs),
        target_image=inside.buffer.image_stride,
        images=images,
    )
