"""Memory in large pages: of small ones a network has more than a processor knows the places of."""

import mmap
from contextlib import suppress

import torch
from torch import Tensor

LARGE_PAGE = 2 << 20
"""Bytes of a large page, of most processors; memory begins at one."""


def empty_pages(size_bytes: int) -> Tensor:
    """Return zeros as int32, in large pages where the system has them.

    Raises:
        MemoryError: If there is not so much.
    """
    if size_bytes < LARGE_PAGE:
        return torch.zeros(-(-size_bytes // 4), dtype=torch.int32, device="cpu")
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    try:
        memory = mmap.mmap(-1, size_bytes + LARGE_PAGE, flags=flags)
    except (OSError, OverflowError) as error:
        raise MemoryError(f"no memory for {size_bytes} bytes ({error})") from error
    with suppress(OSError):  # a kernel without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    words = torch.frombuffer(memory, dtype=torch.int32)
    skipped = -words.data_ptr() % LARGE_PAGE // 4
    return words[skipped : skipped + -(-size_bytes // 4)]
