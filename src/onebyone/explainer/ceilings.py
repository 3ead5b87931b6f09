"""What this machine can do at most, and how long work takes at that rate."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from onebyone.bench.threads import on_threads
from onebyone.explainer.cost import LayerCost

PRODUCT_SIZES = (384, 1024)
"""Rows and columns of the matrices whose product is timed: the small ones fit the second cache of
most cores, the large ones give work to many threads."""
COPIED_BYTES = 128 * 2**20
"""Of the array that is copied; with its copy it is far larger than the caches of most machines."""
CEILING_SECONDS = 0.05
"""How long each of the things is repeated of which the fastest is the ceiling."""
LEAST_CALLS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """What this machine can do at most, on all threads that were measured with.

    Attributes:
        macs_per_second: Multiply-adds of large float32 products in PyTorch.
        bytes_per_second: Read from memory, and written to it, in a copy. What lies in a cache is
            moved faster.
    """

    macs_per_second: float
    bytes_per_second: float

    def seconds(self, macs: int, moved_bytes: int) -> float:
        """Return how long work takes at least: the slower of computing and of moving."""
        return max(macs / self.macs_per_second, moved_bytes / self.bytes_per_second)


def predict_seconds(layers: Iterable[LayerCost], ceilings: Ceilings) -> float:
    """Predict how long layers take on a machine that does each as fast as its ceilings allow.

    Each either computes or moves what it must, whichever takes longer, one after the other and from
    memory. It is a lower bound for all but small layers, whose numbers are in a cache already, and
    is meant for comparing networks with each other.
    """
    return sum(ceilings.seconds(layer.macs, layer.moved_bytes) for layer in layers)


def measure_ceilings(threads: int) -> Ceilings:
    """Measure what this machine can do at most; takes some 0.5 s, and memory for a large copy.

    The multiply-adds are those of PyTorch's matrix product or 1x1 convolution, which come from
    different libraries, whichever is the faster; the bytes are those of a copy.
    """
    with on_threads(threads), torch.inference_mode():
        rates = [
            size**3 / _best_seconds(call) for size in PRODUCT_SIZES for call in _products(size)
        ]
        source = torch.ones(COPIED_BYTES // 4)
        copy = torch.ones_like(source)
        moved_bytes = source.nbytes + copy.nbytes
        return Ceilings(
            macs_per_second=max(rates),
            bytes_per_second=moved_bytes / _best_seconds(lambda: copy.copy_(source)),
        )


def seconds_of(call: Callable[[], object]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _products(size: int) -> tuple[Callable[[], object], ...]:
    """Return ways to do `size ** 3` multiply-adds."""
    left, right = torch.ones(size, size), torch.ones(size, size)
    result = torch.empty(size, size)
    image = torch.ones(1, size, 1, size).to(memory_format=torch.channels_last)
    kernel = right[:, :, None, None]
    return lambda: torch.mm(left, right, out=result), lambda: F.conv2d(image, kernel)


def _best_seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes when nothing comes in between."""
    call()
    times: list[float] = []
    while len(times) < LEAST_CALLS or sum(times) < CEILING_SECONDS:
        times.append(seconds_of(call))
    return min(times)
