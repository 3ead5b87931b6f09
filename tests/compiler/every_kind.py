"""A small network with everything that the compiler makes native code of."""

from inspect import isabstract

import torch
from torch import nn
from torch.nn import functional as F

from onebyone.compiler.kernels.kernel import Kernel
from onebyone.compiler.kernels.lower import LOWER
from onebyone.compiler.plan.plan import ExecutionPlan
from onebyone.graph import Activation, Graph
from onebyone.graph.functions import FUNCTIONS
from onebyone.graph.interpret import apply_function
from tests.helpers.functions import EXAMPLES

ONLY_BF16 = {"MatrixKernel"}
"""What float32 does not run on; `test_bf16.py` is about it."""


class EveryKind(nn.Module):
    """Give one output for each kind of kernel, so that each is judged by its own size.

    Shape: `(N, 3, H, W)` with odd H and W. 22 channels leave some over in vectors of any width.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 22, 3, stride=2, padding=1)
        self.pointwise = nn.Conv2d(22, 22, 1)
        self.strided = nn.Conv2d(22, 13, 1, stride=2, bias=False)
        self.dilated = nn.Conv2d(22, 9, 3, padding=2, dilation=2)
        self.winograd = nn.Conv2d(22, 45, 3, padding=1)
        self.winograd_before = nn.Conv2d(22, 200, 3, padding=1)
        self.depthwise = nn.Conv2d(22, 22, 3, padding=1, groups=22)
        self.depthwise5 = nn.Conv2d(22, 22, 5, stride=2, padding=2, groups=22)
        self.grouped = nn.Conv2d(22, 22, 3, padding=1, groups=2)
        self.narrow = nn.Sequential(nn.Conv2d(22, 32, 1), nn.Conv2d(32, 32, 3, groups=16))
        self.band = nn.Sequential(
            nn.Conv2d(22, 66, 1),
            nn.ReLU6(),
            nn.Conv2d(66, 66, 3, stride=2, padding=1, groups=66),
            nn.ReLU6(),
            nn.Conv2d(66, 5, 1),
        )
        self.norm = nn.BatchNorm2d(22)
        self.layer_norm = nn.LayerNorm(22)
        self.gate = nn.Sequential(nn.Conv2d(22, 6, 1), nn.SiLU(), nn.Conv2d(6, 22, 1), nn.Sigmoid())
        self.register_buffer("offset", torch.linspace(-1, 1, 22).view(1, 22, 1, 1))
        self.head = nn.Linear(22, 10)
        self.flat = nn.Linear(22 * 9 * 8, 7)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = F.relu6(self.stem(x))
        local = F.silu(self.depthwise(x))
        residual = F.relu(x + self.pointwise(local))
        pooled = F.max_pool2d(residual, 3, stride=2, padding=1)
        mean = residual.mean((2, 3), keepdim=True)
        columns = residual.permute(0, 2, 3, 1)
        wide = 4 * (local - residual)
        return (
            residual,
            self.strided(residual),
            F.gelu(self.dilated(x)),
            F.relu(self.winograd(F.interpolate(residual, scale_factor=2, mode="nearest"))),
            self.winograd_before(F.interpolate(residual, scale_factor=2, mode="nearest")),
            self.depthwise5(residual),
            self.band(F.interpolate(residual, scale_factor=8, mode="nearest")),
            F.hardswish(self.grouped(residual)),
            self.narrow(residual),
            torch.tanh(self.norm(pooled)),
            self.layer_norm(columns),
            residual * self.gate(mean),
            torch.maximum(local, x + self.offset) / (residual + 1.5) - x,
            pooled,
            F.avg_pool2d(residual, 3, stride=2, padding=1, count_include_pad=False),
            F.interpolate(pooled, scale_factor=2, mode="nearest"),
            F.interpolate(pooled, scale_factor=2, mode="bilinear", align_corners=False),
            F.pad(residual, (1, 2, 0, 3), value=0.5),
            F.channel_shuffle(residual, 11),
            torch.cat([local, residual[:, 3:10], x], 1),
            residual[:, 5:19, 1::2, 2:],
            torch.cat([apply_function(function, wide) for function in EXAMPLES], 1),
            F.layer_norm(pooled.flatten(1), (440,)),
            self.flat(x.flatten(1)),
            self.head(mean.flatten(1)).softmax(1),
        )


def check_is_every_kind(graph: Graph, plan: ExecutionPlan) -> None:
    """Nothing that has an entry in one of the compiler's tables is missing."""
    assert {type(node) for node in graph} == set(LOWER)
    kernels = {type(operation.kernel).__name__ for operation in plan.operations}
    assert kernels == _leaves(Kernel) - ONLY_BF16
    functions = {node.function.name for node in graph if isinstance(node, Activation)}
    assert functions == set(FUNCTIONS)


def _leaves(kind: type) -> set[str]:
    """The names of the classes that are no roots; dataclasses with slots are made twice."""
    own = set() if isabstract(kind) else {kind.__name__}
    return own.union(*map(_leaves, kind.__subclasses__()))
