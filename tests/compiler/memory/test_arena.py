"""Buffers in one arena: the invariant, by an oracle that looks at every step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebyone.compiler.memory.arena import LINE_FLOATS, Lifetime, aligned, place_buffers


@st.composite
def lifetimes(draw):
    spans = draw(
        st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5), st.integers(1, 100)), max_size=20)
    )
    return [
        Lifetime(f"b{i}", first, first + length, size)
        for i, (first, length, size) in enumerate(spans)
    ]


def check_no_overlap(lives, offsets):
    """At every step, no float belongs to two buffers."""
    for step in range(max((life.last for life in lives), default=-1) + 1):
        owners = {}
        for life in lives:
            if life.first <= step <= life.last:
                for place in range(offsets[life.name], offsets[life.name] + life.size):
                    other = owners.setdefault(place, life.name)
                    assert other == life.name, f"{life.name} and {other} at step {step}"


@given(lifetimes())
def test_live_buffers_never_overlap(lives):
    offsets = place_buffers(lives)
    assert set(offsets) == {life.name for life in lives}
    check_no_overlap(lives, offsets)
    assert all(offset % LINE_FLOATS == 0 for offset in offsets.values())
    peak = max((offsets[life.name] + life.size for life in lives), default=0)
    assert peak <= sum(aligned(life.size) for life in lives)


def test_check_no_overlap_sees_one():
    lives = [Lifetime("a", 0, 2, 10), Lifetime("b", 2, 3, 10)]
    check_no_overlap(lives, {"a": 0, "b": 10})
    with pytest.raises(AssertionError, match="b and a at step 2"):
        check_no_overlap(lives, {"a": 0, "b": 9})


def test_buffers_that_never_meet_share_memory():
    chain = [Lifetime(f"b{i}", i, i + 1, 64) for i in range(9)]
    offsets = place_buffers(chain)
    assert max(offsets.values()) + 64 == 128
