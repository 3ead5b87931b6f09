"""Where workers wake: not on the core of the thread that calls them.

A worker that sleeps is woken where it last ran, and that is where the caller may be by now: after a
pause, systems start a thread wherever its timer rang. On machines whose cores do not tell which
caches they share, as many virtual ones, the worker is then put behind the caller, and two threads
take turns on one core for many calls. So for a call that wakes a worker on its own core, that core
is taken from the worker's set. Afterwards the worker has its set back, and the system may move it
as it likes: beside a busy neighbour, that is what keeps calls going.

Sets are read anew each time, so what a user or a container allows is what holds.
"""

import ctypes
import functools
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from onebyone.compiler.abi import WorkerWord

Words = ctypes.Array[ctypes.c_int64]


@dataclass(frozen=True, slots=True)
class Moved:
    """A worker that is kept off a core for the time of a call.

    Args:
        thread: Its number in the system.
        before: Cores that it may run on.
        meanwhile: Those of them that it has during the call.
    """

    thread: int
    before: set[int]
    meanwhile: set[int]


def make_room(workers: Sequence[Words]) -> list[Moved]:
    """Keep workers that sleep on this thread's core from waking there; return who was moved."""
    core = _current_core()()
    found = (_move(worker, core, workers) for worker in workers if worker[WorkerWord.CORE] == core)
    return [moved for moved in found if moved]


def _move(worker: Words, core: int, workers: Sequence[Words]) -> Moved | None:
    """Take a core from a worker, and those that others sleep on if any are left; if it has more."""
    with suppress(OSError):  # a system that does not let us leaves it where it is
        before = os.sched_getaffinity(worker[WorkerWord.THREAD])
        others = before - {core}
        if others and others != before:
            meanwhile = others - {other[WorkerWord.CORE] for other in workers} or others
            os.sched_setaffinity(worker[WorkerWord.THREAD], meanwhile)
            return Moved(worker[WorkerWord.THREAD], before, meanwhile)
    return None


def let_go(moved: Iterable[Moved]) -> None:
    """Let workers run where they could before; one with a set of another's since then keeps it."""
    for one in moved:
        with suppress(OSError):
            if os.sched_getaffinity(one.thread) == one.meanwhile:
                os.sched_setaffinity(one.thread, one.before)


@functools.cache
def _current_core() -> Callable[[], int]:
    """Return the C library's function for it; Python has none."""
    return ctypes.PyDLL(None).sched_getcpu
