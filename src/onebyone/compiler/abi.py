"""The native interface: the words that machine code and its callers share, and names of functions.

Whoever calls machine code goes by this file: the runtime, and programs without Python. A word has
64 bits. A network has a program for each shape of inputs that it is called with. A context
describes one of them with its memory, a pool its threads, a worker one of these.
"""

from enum import IntEnum

NETWORK_SYMBOLS = ("run", "prepare")
"""`run(context, thread)` does a thread's part of a call, `prepare(context)` sets all counters."""

THREAD_SYMBOLS = ("work", "invoke", "spin")
"""`work(worker)` serves calls for ever, `invoke(pool, context)` makes one, `spin(count)` pauses."""


class ContextWord(IntEnum):
    """Words of a context: two functions, two tables, two numbers, timings or 0, and two numbers.

    The counters' table has, for each group, `counter_words` words at a cache line of its own. The
    last two words are the call's number, and which of the network's programs it calls.
    """

    RUN, PREPARE, BASES, COUNTERS, THREADS, SPINS, PROFILE, CALL, PROGRAM = range(9)


class BaseWord(IntEnum):
    """Entries of the table of base addresses, of which each thread makes its own copy in a call.

    What a band of convolutions works on has entries that move: its input, the rows between its
    first two convolutions, the row between its last two, what is added at its end, its output.
    `BAND_OWNER` is whose rows the thread still has (the record's address, or 0), and `BAND_NEXT`
    which chunk goes on there. The caller's tensors follow from `FIRST_TENSOR` on.
    """

    ARENA, CONSTANTS, SCRATCH = range(3)
    BAND_SOURCE, BAND_WINDOW, BAND_ROW, BAND_RESIDUAL, BAND_TARGET = range(3, 8)
    BAND_OWNER, BAND_NEXT, FIRST_TENSOR = range(8, 11)


class PoolWord(IntEnum):
    """Words of a pool.

    They are calls made (32 bits, and 32 bits of sleepers), the latest call's context, how many
    workers are inside one, and how long to look before sleeping.
    """

    CALLS, JOB, ACTIVE, SPINS = range(4)


class WorkerWord(IntEnum):
    """Words of a worker.

    They are its pool, its number, the system's number of its thread, and the core that it sleeps
    on, `AWAKE` if it does not.
    """

    POOL, NUMBER, THREAD, CORE = range(4)


AWAKE = -1

POOL_WORDS = 8
"""A cache line."""

INPUT_WORDS = 5
"""An input takes five entries of the base table: its address and the strides of N, C, H and W."""

TIMING_WORDS = 3
"""First start, last end and busy time, in nanoseconds, of one operation on one thread."""


def counter_words(threads: int) -> int:
    """Return the words of a group's counters: done, and one for each share; whole cache lines."""
    return (1 + threads + 7) // 8 * 8
