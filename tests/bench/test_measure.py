"""The arithmetic of measuring, with clocks and engines that we hold in our hands."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebyone.bench import Burst, Spread, measure_interleaved, pairwise_ratio, spread
from onebyone.bench.measure import wait_until_idle

seconds = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=20)


class Clock:
    """A clock that stands still but for what engines and sleeps add to it."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds

    def advance(self, seconds):
        self.seconds += seconds


def fake_engines(clock, costs, log):
    """Engines that take the given seconds; each call is written into the log."""

    def make(name, cost):
        times = itertools.cycle([cost] if isinstance(cost, float) else cost)

        def call():
            log.append(name)
            clock.advance(next(times))

        return call

    return {name: make(name, cost) for name, cost in costs.items()}


@pytest.mark.parametrize("rounds", [1, 2, 5])
@pytest.mark.parametrize("burst", [Burst(), Burst(discarded=0, timed=1)])
def test_every_engine_has_one_turn_a_round_and_the_first_one_changes(rounds, burst):
    clock, log = Clock(), []
    costs = {"a": 1.0, "b": 2.0, "c": 3.0}
    timed = measure_interleaved(
        fake_engines(clock, costs, log),
        rounds=rounds,
        burst=burst,
        rest=lambda: log.append("rest"),
        now=clock,
    )
    assert timed == {name: (cost,) * rounds for name, cost in costs.items()}
    turns = [list(turn) for is_rest, turn in itertools.groupby(log, "rest".__eq__) if not is_rest]
    assert all(len(turn) == burst.discarded + burst.timed for turn in turns)
    assert log.count("rest") == len(turns) == 3 * rounds
    for number in range(rounds):
        order = [turn[0] for turn in turns[3 * number : 3 * number + 3]]
        assert order == list("abcabc"[number % 3 : number % 3 + 3])


def test_the_first_call_of_a_turn_does_not_count_and_the_middle_one_does():
    clock = Clock()
    engines = fake_engines(clock, {"a": [100.0, 1.0, 9.0, 2.0]}, [])
    timed = measure_interleaved(engines, rounds=2, rest=lambda: None, now=clock)
    assert timed == {"a": (2.0, 2.0)}


def test_rest_is_not_timed():
    clock = Clock()
    engines = fake_engines(clock, {"a": 1.0}, [])
    timed = measure_interleaved(engines, rounds=1, rest=lambda: clock.advance(7.0), now=clock)
    assert timed == {"a": (1.0,)}


def test_rounds_are_watched():
    watched = []

    def watch(items, description):
        watched.append((list(items), description))
        return items

    measure_interleaved({}, rounds=3, watch=watch)
    assert watched == [([0, 1, 2], "measuring")]


@given(seconds, st.floats(0.1, 10.0))
def test_the_ratio_is_that_of_the_engines_however_the_machine_drifts(ours, factor):
    peer = [factor * one for one in ours]
    assert pairwise_ratio(peer, ours) == pytest.approx(factor)
    assert pairwise_ratio(ours, peer) == pytest.approx(1 / factor)


def test_the_ratio_is_not_that_of_the_medians():
    peer, ours = [2.0, 20.0, 3.0], [1.0, 10.0, 6.0]
    assert pairwise_ratio(peer, ours) == 2.0
    assert spread(peer).median_seconds / spread(ours).median_seconds == 0.5


@given(seconds)
def test_a_spread_is_in_order_and_within_the_rounds(times):
    found = spread(times)
    assert found.p10_seconds <= found.median_seconds <= found.p90_seconds
    assert min(times) <= found.p10_seconds + 1e-12
    assert found.p90_seconds <= max(times) + 1e-12


def test_one_round_has_no_spread():
    assert spread([2.0]) == Spread(2.0, 2.0, 2.0)


def spinning(clock, until, cores=1.0):
    """Processor seconds of threads that spin until some moment, and then sleep."""
    return lambda: cores * min(clock(), until)


@pytest.mark.parametrize(
    ("spins_until", "woken_at"),
    [(0.0, 0.01), (0.045, 0.06), (0.05, 0.06), (10.0, 0.5)],
    ids=["idle", "mid-slice", "end of a slice", "for ever"],
)
def test_waiting_ends_with_the_first_idle_slice_or_at_the_limit(spins_until, woken_at):
    clock = Clock()
    is_idle = wait_until_idle(
        sleep=clock.advance, now=clock, cpu_seconds=spinning(clock, spins_until, cores=2.0)
    )
    assert clock() == pytest.approx(woken_at, abs=1e-6)
    assert is_idle is (spins_until < woken_at)
