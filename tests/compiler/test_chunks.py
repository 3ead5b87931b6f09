"""Work that goes row by row, large enough to be cut: by rows, and by channels too."""

import ctypes
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from llvmlite import ir

from onebyone.compiler.emit.code import I64, VOID, Code
from onebyone.compiler.emit.numbers import PTR
from onebyone.compiler.emit.record import Record, Work
from onebyone.compiler.jit import compile_module, load_object
from onebyone.compiler.kernels.depthwise import DepthwiseKernel
from onebyone.compiler.kernels.elementwise import ElementwiseKernel
from onebyone.compiler.kernels.gather import GatherKernel
from onebyone.compiler.kernels.normalize import NormalizeKernel
from onebyone.compiler.kernels.pool import PoolKernel
from onebyone.compiler.kernels.rows import RowWork
from onebyone.compiler.kernels.tiles import part_of_chunk
from onebyone.compiler.kernels.upsample import BilinearKernel
from onebyone.compiler.plan.plan import plan_execution
from onebyone.compiler.target import host_target
from onebyone.graph import (
    Activation,
    Arithmetic,
    Function,
    LayerNorm,
    Pool,
    Shuffle,
    Slice,
    Softmax,
    Upsample,
)
from onebyone.graph.windows import max_windows
from tests.helpers.compiled import Net, check_compiled, run_graph

BY_CHANNELS = {BilinearKernel, DepthwiseKernel, ElementwiseKernel, GatherKernel, PoolKernel}
BY_ROWS = BY_CHANNELS | {NormalizeKernel}  # whoever sums over channels needs them all


def every_row_kernel(shape):
    """A graph, and values for it."""
    net = Net()
    x, scale = net.input(*shape), net.input(1, shape[1], 1, 1)
    _, channels, height, width = shape
    rows, columns = (max_windows(size, 3, 1, 1, ceil_mode=False) for size in (height, width))
    larger = (0, 0, 2 * height, 2 * width)  # positions that float32 has exactly
    graph = net.graph(
        net.add(Activation, x, function=Function("silu")),
        net.add(Arithmetic, x, scale, operator="mul", activation=None),
        net.convolution(x, channels, (3, 3), groups=channels, padding=(1, 1, 1, 1)),
        net.add(Pool, x, operator="max", rows=rows, columns=columns),
        net.add(Shuffle, x, groups=2),
        net.add(Slice, x, dim=3, start=1, stop=width, step=1),
        net.add(Upsample, x, shape=larger, mode="nearest"),
        net.add(Upsample, x, shape=larger, mode="bilinear"),
        net.add(Softmax, x),
        net.add(LayerNorm, x, weight=None, bias=None, eps=1e-5),
    )
    return graph, net.values()


@pytest.mark.parametrize(
    ("shape", "part", "kernels"),
    [((2, 22, 41, 70), "row_parts", BY_ROWS), ((1, 1030, 3, 40), "channel_parts", BY_CHANNELS)],
    ids=["many rows", "few rows of many channels"],
)
def test_chunks_are_all_of_the_work_whoever_does_them(shape, part, kernels):
    graph, values = every_row_kernel(shape)
    cut = {
        type(operation.kernel)
        for operation in plan_execution(graph, host_target()).operations
        if isinstance(operation.work, RowWork) and getattr(operation.work, part) > 1
    }
    assert cut >= kernels
    whole = check_compiled(graph, values, threads=1)
    for threads in (2, 3):
        assert all(map(torch.equal, run_graph(graph, values, threads=threads), whole))


@dataclass(frozen=True, kw_only=True)
class PartWork(Work):
    """What decides which part of all tiles and blocks a chunk has."""

    tiles: int
    blocks: int
    pixel_parts: int
    block_parts: int
    shares_pixels: int


@pytest.fixture(scope="module")
def parts_of():
    """Native code that tells a chunk's tiles and blocks: first, last, first, last."""
    target, module = host_target(), ir.Module()
    kinds = [PTR, PTR, I64]
    code = Code(module, target, ir.Function(module, ir.FunctionType(VOID, kinds), "parts"))
    address, found, chunk = code.function.args
    record = Record(code, PartWork, address, address, chunk)
    part = part_of_chunk(code, record, record.number("tiles"))
    for index, value in enumerate((*part.tiles, *part.blocks)):
        code.builder.store(value, code.word(found, index), align=8)
    code.builder.ret_void()
    loaded = load_object(compile_module(module, target), ("parts",))
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    function = kind(loaded.addresses["parts"])

    def parts_of(work):
        words = (ctypes.c_int64 * 5)(*work.values())
        found = (ctypes.c_int64 * 4)()
        parts = []
        for chunk in range(work.pixel_parts * work.block_parts):
            function(ctypes.addressof(words), ctypes.addressof(found), chunk)
            parts.append((range(found[0], found[1]), range(found[2], found[3])))
        assert loaded.addresses
        return parts

    return parts_of


@given(*[st.integers(1, 40)] * 2, *[st.integers(1, 12)] * 2, st.booleans())
def test_chunks_follow_each_other_as_loops_do(
    parts_of, tiles, blocks, pixel_parts, block_parts, inside
):
    work = PartWork(
        tiles=tiles,
        blocks=blocks,
        pixel_parts=pixel_parts,
        block_parts=block_parts,
        shares_pixels=int(inside),
    )
    parts = parts_of(work)
    pairs = [(tile, block) for some, others in parts for tile in some for block in others]
    assert sorted(pairs) == [(tile, block) for tile in range(tiles) for block in range(blocks)]
    # What threads share out stays until all of the rest has had its turn.
    outer = [part[0] if inside else part[1] for part in parts]
    changes = sum(one != other for one, other in pairwise(outer))
    assert changes < (pixel_parts if inside else block_parts)
