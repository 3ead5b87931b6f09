"""Times of variants of one network, called in turn."""

import statistics
import time

import torch

from onebyone.compiler.account import Account
from onebyone.compiler.build import Built
from onebyone.compiler.profile import read_timings
from onebyone.compiler.runtime.native import Memory, NativeFunction

ROUNDS = 15
"""Turns that each variant has; a turn is a call that does not count, and one that does."""

Times = dict[str, list[float]]
"""Seconds of all threads together in each turn, by the names of nodes."""


def measure_variants(built: Built, threads: int) -> list[Times]:
    """Return how long each node takes in each variant: each program of a network."""
    functions, inputs = _functions(built, threads), _inputs(built)
    times: list[Times] = [{} for _ in functions]
    for number in range(ROUNDS):
        for index in _turns(len(functions), number):
            functions[index](inputs)
            _, timings = functions[index].timed(inputs)
            for name, seconds in _by_node(built.accounts[index], timings).items():
                times[index].setdefault(name, []).append(seconds)
    return times


def compare_whole(built: Built, threads: int) -> float:
    """Return the time of the first of two programs over that of the second, median of turns."""
    functions, inputs = _functions(built, threads), _inputs(built)
    seconds: list[list[float]] = [[], []]
    for number in range(2 * ROUNDS):
        for index in _turns(2, number):
            functions[index](inputs)
            start = time.perf_counter()
            functions[index](inputs)
            seconds[index].append(time.perf_counter() - start)
    return statistics.median(one / other for one, other in zip(*seconds, strict=True))


def _functions(built: Built, threads: int) -> list[NativeFunction]:
    memory = Memory(built.binary, threads)
    return [NativeFunction(memory, number) for number in range(len(built.accounts))]


def _inputs(built: Built) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(shape, generator=generator) for shape in built.binary.programs[0].inputs]


def _turns(count: int, number: int) -> list[int]:
    """Return an order in which each begins as often as each other."""
    first = number % count
    return [*range(first, count), *range(first)]


def _by_node(account: Account, timings: torch.Tensor) -> dict[str, float]:
    """Add up what is done for a node: "conv1 transform" helps to compute "conv1"."""
    seconds: dict[str, float] = {}
    for one in read_timings(account.layers, timings):
        name = one.layer.name.partition(" ")[0]
        seconds[name] = seconds.get(name, 0.0) + one.seconds
    return seconds
