"""Work that goes row by row, large enough to be cut: by rows, and by channels too."""

import pytest
import torch

from onebyone.compiler.kernels.depthwise import DepthwiseKernel
from onebyone.compiler.kernels.elementwise import ElementwiseKernel
from onebyone.compiler.kernels.gather import GatherKernel
from onebyone.compiler.kernels.normalize import NormalizeKernel
from onebyone.compiler.kernels.pool import PoolKernel
from onebyone.compiler.kernels.rows import RowWork
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
