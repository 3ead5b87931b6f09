"""Constants: placed at once, computed when the block is made."""

import pytest
import torch

from onebyone.compiler.memory.arena import LINE_FLOATS, SLACK
from onebyone.compiler.memory.constants import Constants


def test_numbers_are_computed_with_the_block_and_lie_where_promised():
    computed = []

    def pack(size):
        computed.append(size)
        return torch.arange(size, dtype=torch.float32)

    constants = Constants()
    sizes = (3, LINE_FLOATS, LINE_FLOATS + 1)
    names = [constants.add(size, lambda size=size: pack(size)).buffer for size in sizes]
    assert not computed
    block = constants.block()
    assert computed == list(sizes)
    assert block.dtype == torch.int32
    assert block.numel() == constants.size + SLACK
    left = block.clone()
    for name, size in zip(names, sizes, strict=True):
        start = constants.offsets[name]
        assert start % LINE_FLOATS == 0
        found = block[start : start + size].view(torch.float32)
        assert torch.equal(found, torch.arange(size, dtype=torch.float32))
        left[start : start + size] = 0
    assert not left.any(), "zeros between them"


def test_what_is_not_contiguous_is_laid_out_in_its_order():
    constants, matrix = Constants(), torch.arange(6, dtype=torch.float32).view(2, 3)
    constants.add(6, matrix.t)
    assert constants.block()[:6].view(torch.float32).tolist() == [0, 3, 1, 4, 2, 5]


def test_equal_tables_are_one():
    constants = Constants()
    first, second = (constants.table(torch.arange(4)) for _ in range(2))
    assert first == second
    assert constants.shared(torch.arange(4)) != first, "the same numbers of another type"


def test_a_tensor_of_another_size_than_promised_is_found():
    constants = Constants()
    constants.add(2, lambda: torch.zeros(3))
    with pytest.raises(AssertionError, match="packed 0"):
        constants.block()
