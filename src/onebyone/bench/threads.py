"""How many threads PyTorch computes on."""

from collections.abc import Generator
from contextlib import contextmanager

import torch


@contextmanager
def on_threads(threads: int) -> Generator[None]:
    """Let PyTorch use some number of threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
