"""Memory of networks: zeros, at large pages, or one error."""

import pytest
import torch

from onebyone.compiler.memory.pages import LARGE_PAGE, empty_pages


@pytest.mark.parametrize("size_bytes", [0, 4, 5, LARGE_PAGE - 4, LARGE_PAGE, 3 * LARGE_PAGE + 8])
def test_memory_is_zeros_that_can_be_written(size_bytes):
    words = empty_pages(size_bytes)
    assert words.dtype == torch.int32
    assert words.numel() == -(-size_bytes // 4)
    assert not words.any()
    assert words.fill_(7).eq(7).all()


def test_large_memory_begins_at_a_large_page():
    assert empty_pages(5 * LARGE_PAGE).data_ptr() % LARGE_PAGE == 0


@pytest.mark.parametrize("size_bytes", [1 << 60, 1 << 63])
def test_too_much_is_a_memory_error(size_bytes):
    with pytest.raises(MemoryError, match=f"no memory for {size_bytes} bytes"):
        empty_pages(size_bytes)
