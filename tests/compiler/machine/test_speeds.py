"""What is known of a machine: rates between those that were measured, and as JSON."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebyone.compiler.machine.speeds import NOMINAL, Reading, Speeds, rate_between

rates = st.floats(1e6, 1e13)
curves = st.lists(rates, min_size=1, max_size=8).map(
    lambda found: [Reading(1 << (18 + 2 * i), rate) for i, rate in enumerate(found)]
)


@given(curves, st.floats(1, 1e15))
def test_a_rate_is_between_those_on_both_sides(curve, size):
    found = rate_between(curve, size)
    below = [one for one in curve if one.size_bytes <= size][-1:] or curve[:1]
    above = [one for one in curve if one.size_bytes >= size][:1] or curve[-1:]
    low, high = sorted((below[0].bytes_per_second, above[0].bytes_per_second))
    assert low * (1 - 1e-9) <= found <= high * (1 + 1e-9)


@given(curves)
def test_a_rate_that_was_measured_is_given_as_it_is(curve):
    for one in curve:
        assert rate_between(curve, one.size_bytes) == pytest.approx(one.bytes_per_second)


def test_half_way_between_two_sizes_is_the_geometric_mean():
    curve = [Reading(1 << 20, 100e9), Reading(1 << 24, 25e9)]
    assert rate_between(curve, 1 << 22) == pytest.approx(math.sqrt(100e9 * 25e9))


def test_as_json_and_back():
    assert Speeds.of_json(json.loads(json.dumps(NOMINAL.to_json()))) == NOMINAL


@pytest.mark.parametrize(
    "change",
    [
        {"steps_per_second": 0},
        {"steps_per_second": math.nan},
        {"wait_seconds": -1.0},
        {"cores": True},
        {"readings": []},
        {"all_readings": [{"size_bytes": 1, "bytes_per_second": "fast"}]},
        {"readings": [{"size_bytes": 1}]},
        {"unknown": 1},
        {"steps_per_second": "1"},
    ],
)
def test_what_is_no_machine_is_refused(change):
    with pytest.raises((ValueError, TypeError, KeyError)):
        Speeds.of_json(NOMINAL.to_json() | change)


def test_a_missing_fact_is_refused():
    facts = NOMINAL.to_json()
    del facts["readings"]
    with pytest.raises(KeyError):
        Speeds.of_json(facts)


def test_one_core_alone_is_the_same_among_any_number():
    others = replace(
        NOMINAL,
        cores=8,
        all_steps_per_second=3e10,
        all_readings=(Reading(1 << 20, 7e11),),
        handed_bytes_per_second=1e9,
        wait_seconds=1e-4,
    )
    assert others.of_one_core == NOMINAL.of_one_core
    assert others.of_one_core.readings == NOMINAL.readings
