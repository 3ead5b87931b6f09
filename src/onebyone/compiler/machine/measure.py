"""How fast this machine is: measured in half a second."""

import os
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Barrier

import torch
from torch import Tensor

from onebyone.compiler.machine.loops import ACCUMULATORS, Loops, load_loops
from onebyone.compiler.machine.speeds import (
    KB,
    MB,
    NOMINAL,
    Calibration,
    Reading,
    Speeds,
)
from onebyone.compiler.memory.arena import LINE_FLOATS
from onebyone.compiler.target import Target

SIZES = tuple(256 * KB << number for number in range(10))
"""What one core reads: from a part of most private caches to 128 MB, beyond most shared ones."""

MOST_BYTES = SIZES[-1]
"""What all cores go through together; more could be more than a container has."""

ROUNDS = 5
"""How often everything is measured. The fastest counts: others only ever make us slower."""

BEST: Mapping[str, Callable[[Sequence[float]], float]] = {"handed": statistics.median}
"""But for what is handed over: where threads cannot be placed and both are on one core, it seems
ten times as fast."""

TURNS = 1_000_000
"""Of a loop of multiply-adds: some two milliseconds, a thousand times what it takes to call it."""

BF16_TURNS = TURNS // 16
"""Likewise, of a loop that multiplies bfloat16, whose instructions do more and take longer."""

READ_BYTES = 64 * MB
"""Likewise, of what is in a cache."""

HANDED_BYTES = 512 * KB
"""What one core writes and another reads: as much as lies between two layers."""

MEETINGS = 200

TRIES = 3
"""How often a busy machine is measured."""

PAUSE_SECONDS = 0.3
"""Between two tries."""


def measure_speeds(
    target: Target, cores: int, *, sleep: Callable[[float], None] = time.sleep
) -> Calibration:
    """Measure this machine; a busy one is measured again after a pause, and its best counts.

    Args:
        target: Whose vectors are used.
        cores: How many threads are to run at once.
        sleep: Sleeps for some seconds.
    """
    loops, memory = load_loops(target), _memory(MOST_BYTES)
    jobs = _jobs(loops, memory.data_ptr(), cores)
    rates: dict[str, list[float]] = {name: [] for name in jobs}

    def measure() -> Calibration:
        for _ in range(ROUNDS):
            for name, job in jobs.items():
                rates[name].append(job())
        best = {name: BEST.get(name, max)(found) for name, found in rates.items()}
        return Calibration(
            speeds=_speeds(best, cores), spread=_spread(rates["multiply"]), measured_at=time.time()
        )

    measured = measure()
    for _ in range(TRIES - 1):
        if measured.is_steady:
            break
        sleep(PAUSE_SECONDS)
        measured = measure()
    return measured


def _spread(rates: Sequence[float]) -> float:
    return max(rates) / statistics.median(rates) - 1


def _speeds(rates: Mapping[str, float], cores: int) -> Speeds:
    def readings(name: str) -> tuple[Reading, ...]:
        sizes = _sizes(cores if name == "all read" else 1)
        return tuple(Reading(size, rates[f"{name} {size}"]) for size in sizes)

    read = readings("read")
    return Speeds(
        steps_per_second=rates["multiply"],
        readings=read,
        cores=cores,
        all_steps_per_second=rates["all multiply"],
        all_readings=readings("all read"),
        handed_bytes_per_second=rates["handed"] or read[0].bytes_per_second,
        wait_seconds=1 / rates["meet"] if rates["meet"] else NOMINAL.wait_seconds,
        bf16_macs_per_second=rates.get("multiply bf16", 0.0),
        all_bf16_macs_per_second=rates.get("all multiply bf16", 0.0),
    )


def _memory(size_bytes: int) -> Tensor:
    """Return memory that starts at a cache line, and has been written to."""
    numbers = torch.ones(size_bytes // 4 + LINE_FLOATS, dtype=torch.float32, device="cpu")
    skipped = -(numbers.data_ptr() // 4) % LINE_FLOATS
    return numbers[skipped : skipped + size_bytes // 4]


Job = Callable[[], float]
"""Does something once, and returns how much of it was done in a second."""


def _jobs(loops: Loops, address: int, cores: int) -> Mapping[str, Job]:
    """Return what is measured, by name; `address` is that of the memory."""
    places = [address + core * (MOST_BYTES // cores) for core in range(cores)]

    def multiply(places: Sequence[int]) -> Job:
        calls = [partial(loops.multiply, place, TURNS, 1) for place in places]
        return partial(_rate, calls, TURNS * ACCUMULATORS)

    def read(places: Sequence[int], size: int) -> Job:
        rounds = max(1, READ_BYTES // size)
        calls = [partial(loops.read, place, size // 4, rounds) for place in places]
        return partial(_rate, calls, size * rounds)

    def multiply_bf16(places: Sequence[int]) -> Job:
        assert loops.multiply_bf16
        calls = [partial(loops.multiply_bf16, place, BF16_TURNS, 1) for place in places]
        return partial(_rate, calls, BF16_TURNS * loops.bf16_macs)

    bf16 = {"multiply bf16": [address], "all multiply bf16": places} if loops.bf16_macs else {}
    return {
        "multiply": multiply([address]),
        "all multiply": multiply(places),
        **{name: multiply_bf16(some) for name, some in bf16.items()},
        "meet": partial(_meetings, loops, cores),
        "handed": partial(_handed, loops, address, cores),
        **{f"read {size}": read([address], size) for size in _sizes(1)},
        **{f"all read {size}": read(places, size) for size in _sizes(cores)},
    }


def _sizes(cores: int) -> Sequence[int]:
    """Return what each core goes through, if so many do."""
    return [size for size in SIZES if size * cores <= MOST_BYTES] or SIZES[:1]


def _rate(calls: Sequence[Callable[[], object]], amount: float) -> float:
    return sum(amount / seconds for seconds in _side_by_side(calls))


def _meetings(loops: Loops, cores: int) -> float:
    """Return how often in a second all cores can wait for each other; 0 if they did not meet."""
    word = torch.zeros(1, dtype=torch.int64, device="cpu")
    done: list[int] = []

    def meet() -> None:
        done.append(loops.meet(word.data_ptr(), cores, MEETINGS))

    # Who starts last waits for nobody's start.
    seconds = min(_side_by_side([meet] * cores))
    return MEETINGS / seconds if min(done) == MEETINGS else 0.0


def _handed(loops: Loops, address: int, cores: int) -> float:
    """Return how fast one core reads what another has just written; 0 if there is no other."""
    if cores == 1:
        return 0.0
    words = torch.zeros(2, dtype=torch.int64, device="cpu")
    written, done = words.data_ptr(), words.data_ptr() + words.element_size()
    met: list[int] = []
    seconds: list[float] = []

    def write() -> None:
        loops.write(address, HANDED_BYTES // 4, 1)
        met.append(loops.meet(written, 2, 1))
        met.append(loops.meet(done, 2, 1))

    def read() -> None:
        met.append(loops.meet(written, 2, 1))
        start = time.perf_counter()
        loops.read(address, HANDED_BYTES // 4, 1)
        seconds.append(time.perf_counter() - start)
        met.append(loops.meet(done, 2, 1))

    _side_by_side([write, read])
    return HANDED_BYTES / seconds[0] if min(met) else 0.0


def _side_by_side(calls: Sequence[Callable[[], object]]) -> list[float]:
    """Return the seconds of calls that start at the same time, each on a thread and a core.

    Without cores of their own, two new threads may share one for longer than all of this takes.
    """
    if len(calls) == 1:
        return [_seconds(calls[0])]
    start = Barrier(len(calls))

    def seconds(call: Callable[[], object], core: int | None) -> float:
        if core is not None:
            with suppress(OSError):  # a system that does not let us places threads as it likes
                os.sched_setaffinity(threading.get_native_id(), {core})
        start.wait()
        return _seconds(call)

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(seconds, calls, _cores(len(calls))))


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _cores(count: int) -> Sequence[int | None]:
    """Return so many cores that we may use, far from each other: siblings share what is near."""
    usable = sorted(os.sched_getaffinity(0))
    if count > len(usable):
        return [None] * count
    return [usable[number * (len(usable) - 1) // (count - 1)] for number in range(count)]
