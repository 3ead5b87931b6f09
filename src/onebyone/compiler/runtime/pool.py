"""Threads that serve calls into native code.

One pool for each number of threads, shared by all compiled models of the process. Workers are
native threads: they know nothing of Python, and Python's lock is free while they run. Between calls
they look for the next one for at most 100 microseconds, then sleep in the kernel.
"""

import ctypes
import functools
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from onebyone.compiler.abi import AWAKE, POOL_WORDS, THREAD_SYMBOLS, PoolWord, WorkerWord
from onebyone.compiler.emit.threads import emit_threads
from onebyone.compiler.jit import Loaded, compile_module, load_object
from onebyone.compiler.runtime.placing import Words, let_go, make_room
from onebyone.compiler.target import host_target
from onebyone.errors import CompileError

SPIN_SECONDS = 100e-6
"""How long a thread looks before it sleeps; waking one takes about half as long."""


def _native() -> Mapping[str, int]:
    """Return the functions' addresses; their code stays loaded for as long as the process."""
    return _loaded().addresses


@functools.cache
def _loaded() -> Loaded:
    target = host_target()
    code = compile_module(emit_threads(target), target)
    return load_object(code, THREAD_SYMBOLS)


@functools.cache
def spin_count() -> int:
    """Return how many pauses of this processor last as long as a thread should look."""
    spin = ctypes.CFUNCTYPE(None, ctypes.c_int64)(_native()["spin"])
    spin(1000)
    start = time.perf_counter()
    spin(10_000)
    return max(1, int(10_000 * SPIN_SECONDS / (time.perf_counter() - start)))


@dataclass(slots=True)
class Pool:
    """Run contexts on `threads` threads: the caller's, and workers of its own.

    One call at a time: further callers wait for their turn, each with all threads. Who holds the
    lock may take it again, because Python may collect garbage there, and retire a model.
    """

    threads: int
    lock: threading.RLock = field(default_factory=threading.RLock)
    _words: Words = field(default_factory=lambda: (ctypes.c_int64 * POOL_WORDS)())
    _workers: list[Words] = field(default_factory=list)
    _address: int = 0

    def __post_init__(self) -> None:
        """Start the workers."""
        self._words[PoolWord.SPINS] = spin_count()
        if self.threads > 1:
            self._address = ctypes.addressof(self._words)
        for number in range(1, self.threads):
            worker = (ctypes.c_int64 * len(WorkerWord))()
            worker[WorkerWord.POOL], worker[WorkerWord.NUMBER], worker[WorkerWord.CORE] = (
                self._address,
                number,
                AWAKE,
            )
            self._workers.append(worker)
            _start_thread(_native()["work"], ctypes.addressof(worker))

    def run(self, context: int) -> None:
        """Make one call with the context at that address; `lock` is held by the caller."""
        if not self._words[PoolWord.CALLS] >> 32:  # nobody sleeps
            _invoke()(self._address, context)
            return
        moved = make_room(self._workers)
        try:
            _invoke()(self._address, context)
        finally:
            let_go(moved)

    def retire(self, context: int) -> None:
        """Forget a context: no worker will look at it when this returns."""
        if not self._address:
            return
        with self.lock:
            if self._words[PoolWord.JOB] == context:
                self._words[PoolWord.JOB] = 0
        while self._words[PoolWord.ACTIVE]:
            time.sleep(50e-6)


@functools.cache
def _invoke() -> Callable[[int, int], None]:
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
    return kind(_native()["invoke"])


def _start_thread(function: int, argument: int) -> None:
    library = ctypes.CDLL(None)
    handle = ctypes.c_ulong()
    status = library.pthread_create(
        ctypes.byref(handle), None, ctypes.c_void_p(function), ctypes.c_void_p(argument)
    )
    if status:
        raise CompileError(
            f"no thread could be started ({os.strerror(status)}); ask for fewer `threads`"
        )
    library.pthread_detach(handle)


_pools: dict[int, Pool] = {}
_pools_lock = threading.RLock()


def pool_of(threads: int) -> Pool:
    """Return the process's pool of that many threads, started when it is first asked for."""
    with _pools_lock:
        if threads not in _pools:
            _pools[threads] = Pool(threads)
        return _pools[threads]


def retire(threads: int, context: int) -> None:
    """Let the pool of that many threads, if it has been started, forget a context."""
    if threads in _pools:
        _pools[threads].retire(context)


def _forget_pools() -> None:
    """Let a forked child start anew: it has no threads, and maybe a lock that nobody holds."""
    global _pools_lock
    _pools_lock = threading.RLock()
    _pools.clear()


os.register_at_fork(after_in_child=_forget_pools)
