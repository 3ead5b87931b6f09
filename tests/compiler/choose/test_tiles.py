"""How work is cut: laws of cutting, and what registers hold."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebyone.compiler.choose.chunks import (
    CHUNK_COUNTS,
    choose_chunks,
    parts_of_patches,
    parts_of_rows,
)
from onebyone.compiler.choose.cost import choose_shared, tile_seconds
from onebyone.compiler.choose.filtering import winograds_for
from onebyone.compiler.choose.tiles import choose_product_tiling, choose_tiling
from onebyone.compiler.choose.tiling import cut_evenly
from onebyone.compiler.kernels.tiles import LARGEST_UNROLL, LINE_FLOATS, fetched_floats, tiled
from onebyone.compiler.machine.speeds import NOMINAL
from onebyone.compiler.memory.formats import FP16, FP32
from onebyone.compiler.target import TARGETS

counts = st.integers(1, 5000)


@given(counts, st.integers(1, 64))
def test_cut_evenly(total, largest):
    size, larger, parts = cut_evenly(total, largest)
    assert larger * size + (parts - larger) * (size - 1) == total
    assert 1 <= larger <= parts == -(-total // largest)
    assert size <= largest


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@given(counts, st.integers(1, 2100), counts)
def test_a_tile_fits_the_registers_and_tiles_cover_all(target, pixels, channels, depth):
    tiling = choose_tiling(target, pixels, channels, depth)
    sums = tiling.pixels * tiling.vectors
    assert sums + tiling.vectors + 1 + target.spare_registers <= target.registers
    smaller = tiling.tiles - tiling.larger_tiles
    assert tiling.larger_tiles * tiling.pixels + smaller * (tiling.pixels - 1) == pixels
    last = (tiling.last_vectors - 1) * target.lanes + tiling.last_channels
    assert (tiling.blocks - 1) * tiling.vectors * target.lanes + last == channels
    assert 1 <= tiling.last_channels <= target.lanes
    assert 1 <= tiling.last_vectors <= tiling.vectors


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_the_last_vector_is_no_wider_than_it_needs(target):
    for count in range(1, target.lanes + 1):
        lanes = target.lanes_for(count)
        assert target.lanes % lanes == 0
        assert max(count, target.narrowest_lanes) <= lanes
        assert lanes < 2 * count or lanes == target.narrowest_lanes


def test_a_narrow_vector_is_less_work_where_the_processor_has_halves():
    def work(name, channels):
        tiling = choose_tiling(TARGETS[name], 784, channels, 144)
        return tile_seconds(TARGETS[name], tiling, 144, 144 * channels)

    assert work("avx512", 40) < 0.87 * work("avx512", 41) == 0.87 * work("avx512", 48)
    assert work("avx2", 12) == work("avx2", 16)


@given(counts)
def test_unrolled_steps_divide_the_sum(depth):
    target = TARGETS["avx2"]
    tiling = choose_tiling(target, 49, 64, depth)
    tile = tiled(tiling, target, depth, fetchers=0, has_residual=False, activation=None)["tile"]
    assert depth % tile.unroll == 0
    assert 1 <= tile.unroll <= LARGEST_UNROLL
    assert tile.fetched_lines == 0


@given(
    counts,
    st.integers(1, 300),
    st.integers(1, 500),
    st.sampled_from(["avx512", "avx2"]),
    st.sampled_from([FP32, FP16]),
)
def test_tiles_fetch_a_whole_panel_among_them(depth, channels, tiles, name, numbers):
    target = TARGETS[name]
    tiling = choose_tiling(target, 49, channels, depth)
    facts = {"has_residual": False, "activation": None, "weights": numbers}
    tile = tiled(tiling, target, depth, fetchers=tiles, **facts)["tile"]
    panel = depth * tiling.vectors * target.lanes // numbers.per_float
    each = fetched_floats(tile, depth)
    assert tiles * each >= panel
    if target.lanes == LINE_FLOATS:  # no more than a line too many in each turn of the inner loop
        assert tiles * (each - depth // tile.unroll * LINE_FLOATS) < panel


@pytest.mark.parametrize("name", ["avx512", "avx2"])
@given(
    st.integers(1, 3000),
    st.integers(1, 2100),
    counts,
    st.sampled_from(winograds_for((3, 3))),
    st.sampled_from(["channels", "pixels"]),
)
def test_sums_of_a_chunk_of_patches_fit_the_cache(name, patches, channels, depth, way, shared):
    target = replace(TARGETS[name], speeds=replace(NOMINAL, cores=4))
    tiling = choose_product_tiling(target, way, patches, channels, depth, shared)
    pixel_parts, block_parts = parts_of_patches(target, tiling, way.multiplications, shared)
    assert shared == "channels" or pixel_parts >= min(4, tiling.tiles)
    assert block_parts == tiling.blocks
    tiles = -(-tiling.tiles // pixel_parts)
    sums = way.multiplications * tiles * tiling.pixels * tiling.vectors * target.lanes
    assert 4 * sums <= target.level2_bytes // 2 or pixel_parts == tiling.tiles
    assert pixel_parts * block_parts >= min(8, tiling.tiles * tiling.blocks)


@given(st.floats(0, 1e12), counts)
def test_chunks(work, largest):
    chunks = choose_chunks(work, largest)
    assert chunks in CHUNK_COUNTS
    assert chunks <= largest
    assert choose_chunks(2 * work, largest) >= chunks


@given(st.tuples(*[st.integers(1, 70)] * 4), st.sampled_from([1, 4, 8, 16]), st.floats(0, 1e9))
def test_no_part_is_without_rows_or_channels(shape, lanes, work):
    rows, channels = parts_of_rows(shape, lanes, work)
    assert 1 <= rows <= shape[0] * shape[2]
    assert 1 <= channels <= -(-shape[1] // lanes)


def test_cores_share_out_what_is_cheaper_to_have_from_others():
    """By pixels, each core reads all weights; by channels, what others have written."""
    target = replace(TARGETS["avx512"], speeds=replace(NOMINAL, cores=2))
    assert choose_shared(target, weights_bytes=4e6, values=1e5, far=25e9) == "channels"
    assert choose_shared(target, weights_bytes=4e5, values=1e6, far=25e9) == "pixels"
    slow = replace(target, speeds=replace(target.speeds, handed_bytes_per_second=1e8))
    assert choose_shared(slow, weights_bytes=4e6, values=1e5, far=25e9) == "pixels"
    alone = replace(target, speeds=NOMINAL)
    assert choose_shared(alone, weights_bytes=4e5, values=1e6, far=25e9) == "channels"
