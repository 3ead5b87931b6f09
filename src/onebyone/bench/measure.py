"""Timing several engines in one process, so that none disturbs the next."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

Item = TypeVar("Item")


class Watch(Protocol):
    """Show a person how far a sequence of things has come."""

    def __call__(self, items: Sequence[Item], description: str) -> Iterable[Item]:
        """Give the items one by one."""
        ...


def unwatched(items: Sequence[Item], description: str) -> Iterable[Item]:  # noqa: ARG001
    """Give the items one by one, and show nobody."""
    return items


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Say what one round does with one engine.

    Attributes:
        discarded: Calls that are not timed: they wake the engine's threads, and bring its weights
            into the caches that the engine before has filled.
        timed: Calls that are timed; their median is the round's time.
    """

    discarded: int = 1
    timed: int = 3


BURST = Burst()


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of an engine's rounds, and where all but the fastest and slowest tenth lie."""

    median_seconds: float
    p10_seconds: float
    p90_seconds: float


@dataclass(frozen=True, slots=True)
class RatioSpread:
    """A peer's time over ours in the same round: the middle, and all but the outermost tenths."""

    median: float
    p10: float
    p90: float


def wait_until_idle(
    *,
    slice_seconds: float = 0.01,
    busy_share: float = 0.2,
    limit_seconds: float = 0.5,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.perf_counter,
    cpu_seconds: Callable[[], float] = time.process_time,
) -> bool:
    """Sleep until the threads of this process have stopped spinning, and return whether they have.

    Thread pools spin when their work is done, in the hope of more: ONNX Runtime's for about 50 ms,
    OpenMP's for a few. An engine that is called meanwhile shares its cores with them, and all seem
    half as fast as they are.

    Args:
        slice_seconds: How long to sleep between looks.
        busy_share: Share of one core's time, over a slice, below which the process counts as idle.
        limit_seconds: When to go on in any case.
        sleep: Sleeps for some seconds.
        now: Reads the clock.
        cpu_seconds: Reads the processor time that all threads of the process have used.
    """
    start = now()
    while (before := now()) - start < limit_seconds:
        used = cpu_seconds()
        sleep(slice_seconds)
        if cpu_seconds() - used < busy_share * (now() - before):
            return True
    return False


def measure_interleaved(
    calls: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    burst: Burst = BURST,
    rest: Callable[[], object] = wait_until_idle,
    now: Callable[[], float] = time.perf_counter,
    watch: Watch = unwatched,
) -> dict[str, tuple[float, ...]]:
    """Time engines in turn, all of them in every round, and return each one's seconds a round.

    The machine's speed drifts with its clock rate, its temperature and its other users; it does so
    for all engines of a round alike. Every round starts with another engine, so that each comes
    after each other one equally often as far as a rotation can do it.

    Args:
        calls: Runs an engine once, by the engine's name.
        rounds: How often each engine has its turn.
        burst: What a turn is.
        rest: Waits, before each turn, until the engine before has gone to sleep.
        now: Reads the clock.
        watch: Shows a person how far it has come.
    """
    names = list(calls)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in watch(range(rounds), "measuring"):
        for name in rotated(names, number):
            rest()
            seconds[name].append(_time_burst(calls[name], burst, now))
    return {name: tuple(times) for name, times in seconds.items()}


def rotated(names: Sequence[str], number: int) -> list[str]:
    """Return the order of the engines in a round, which begins with another one each time.

    Example:
        >>> rotated(["a", "b", "c"], 4)
        ['b', 'c', 'a']
    """
    first = number % max(len(names), 1)
    return [*names[first:], *names[:first]]


def spread(seconds: Sequence[float]) -> Spread:
    """Summarize the rounds of one engine.

    Example:
        >>> spread([1.0, 2.0, 3.0, 4.0, 50.0])
        Spread(median_seconds=3.0, p10_seconds=1.4, p90_seconds=31.6)
    """
    p10, median, p90 = (round(float(p), 12) for p in np.percentile(seconds, (10, 50, 90)))
    return Spread(median, p10, p90)


def pairwise_ratio(peer: Sequence[float], ours: Sequence[float]) -> float:
    """Return the median, over the rounds, of the peer's time over ours in the same round.

    Above 1 we are the faster. What slows down a whole round cancels out of it.

    Example:
        >>> pairwise_ratio([2.0, 20.0, 3.0], ours=[1.0, 10.0, 1.0])
        2.0
    """
    return ratio_spread(peer, ours).median


def ratio_spread(peer: Sequence[float], ours: Sequence[float]) -> RatioSpread:
    """Summarize the ratios of `pairwise_ratio`, round by round.

    Example:
        >>> ratio_spread([2.0, 20.0, 3.0], ours=[1.0, 10.0, 1.0])
        RatioSpread(median=2.0, p10=2.0, p90=2.8)
    """
    ratios = [p / o for p, o in zip(peer, ours, strict=True)]
    p10, p90 = (round(float(p), 12) for p in np.percentile(ratios, (10, 90)))
    return RatioSpread(statistics.median(ratios), p10, p90)


def _time_burst(call: Callable[[], object], burst: Burst, now: Callable[[], float]) -> float:
    for _ in range(burst.discarded):
        call()
    times: list[float] = []
    for _ in range(burst.timed):
        start = now()
        call()
        times.append(now() - start)
    return statistics.median(times)
