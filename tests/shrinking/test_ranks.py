"""Ranks that are offered: aligned, cheaper than the layer, and few."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebyone.errors import ShrinkError
from onebyone.shrinking.changes import Change
from onebyone.shrinking.ranks import MOST_CORES, MOST_RANKS, MOST_WIDTHS, Offer, make_offer
from tests.shrinking.networks import site


@given(
    channels=st.tuples(st.integers(1, 600), st.integers(1, 600)),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 2),
    align=st.sampled_from([1, 4, 8, 16]),
)
def test_factors_are_aligned_cheaper_and_few(channels, kernel, stride, align):
    layer = site("a", channels, kernel, stride=stride, size=14)
    offered = Offer(align).factors(layer)
    assert len(offered) <= 2 * MOST_RANKS + MOST_CORES**2
    assert len(set(offered)) == len(offered)
    for edit in offered:
        assert all(rank % align == 0 for rank in edit.ranks)
        assert Change(site=layer, edit=edit).macs < layer.macs
        assert edit.form == "expand" or kernel > 1


@given(channels=st.integers(1, 2048), align=st.sampled_from([1, 8, 16]))
def test_widths_are_aligned_narrower_and_few(channels, align):
    widths = Offer(align).widths(channels)
    assert len(widths) <= MOST_WIDTHS
    assert list(widths) == sorted(set(widths), reverse=True)
    assert all(width % align == 0 and 0 < width < channels for width in widths)


def test_the_least_and_the_greatest_are_always_among_them():
    assert Offer(8).widths(512)[-1] == 8
    assert Offer(8).widths(512)[0] == 504


def test_auto_is_what_vectors_like():
    assert make_offer("auto", "eager").align == 8
    assert make_offer("auto", "compiled").align in (8, 16)
    assert make_offer(4, "compiled").align == 4


@pytest.mark.parametrize("align", [0, -8, 2.5, "eight", True])
def test_other_alignments_are_refused(align):
    with pytest.raises(ShrinkError, match=r"^`align` .* must be a whole number from 1 on"):
        make_offer(align, "compiled")
