"""One engine in a process of its own: made ready, checked, and called when it is told to."""

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from onebyone.bench.absent import why_absent
from onebyone.bench.accuracy import relative_rms
from onebyone.bench.engine import Engine
from onebyone.bench.measure import wait_until_idle
from onebyone.bench.subject import Subject
from onebyone.bench.threads import on_threads
from onebyone.models import load_untrained

ORPHANED = 1
"""Exit status of a process that nobody gives orders to any more."""

WARM_CALLS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a process is there for.

    Attributes:
        engine: Name of the engine.
        numerics: What it computes with.
        find: Gives the engine of a name and of numerics; a function that an import finds.
        model: What the user calls the network.
        batch: Images a call.
        threads: Threads for the engine.
        materials: A file with the network's `weights`, and its `output` in float64.
    """

    engine: str
    numerics: str
    find: Callable[[str, str], Engine]
    model: str
    batch: int
    threads: int
    materials: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Calls that a process is to make.

    Attributes:
        before: Calls that are not timed, made first.
        pause_seconds: How long to sleep then.
        calls: Calls that are timed, at least.
        seconds: How long to go on with them, at least.
    """

    before: int = 0
    pause_seconds: float = 0.0
    calls: int
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Ready:
    """Tell that the engine waits for orders, how wrong it is, and what must be known of it."""

    relative_rms: float
    remark: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Tell that the engine has failed, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """Tell how long each call took, and whether the engine's threads sleep again."""

    seconds: tuple[float, ...]
    sleeps: bool


def serve(job: Job, line: Connection) -> None:
    """Make an engine ready, then carry out orders until None comes, or nobody is there any more.

    The network is built here; its weights come from the process that asks, because a user's file
    may draw others each time.

    Side effects:
        Standard output becomes standard error: what engines and users' files print is no result.
        The process ends when the one that started it is gone, whatever it is doing then.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.stdout = sys.stderr
    os.dup2(2, 1)
    with suppress(EOFError, ConnectionError), on_threads(job.threads):
        try:
            call, ready = _make_ready(job)
            line.send(ready)
            while order := line.recv():
                line.send(Done(_carry_out(order, call), wait_until_idle()))
        except (EOFError, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001, RUF100 - whatever an engine fails with
            line.send(Failed(why_absent(error)))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(ORPHANED)


def _make_ready(job: Job) -> tuple[Callable[[], object], Ready]:
    engine = job.find(job.engine, job.numerics)
    materials = torch.load(job.materials, mmap=True, weights_only=True)
    subject = Subject(job.model, *load_untrained(job.model))
    subject.network.load_state_dict(materials["weights"])
    images = subject.images(job.batch)
    runner = engine.build(subject.network, images, job.threads)
    ready = Ready(relative_rms(runner(images), materials["output"]), engine.remark(runner))
    call = partial(runner, images)
    for _ in range(WARM_CALLS):
        call()
    wait_until_idle()
    return call, ready


def _carry_out(order: Order, call: Callable[[], object]) -> tuple[float, ...]:
    for _ in range(order.before):
        call()
    time.sleep(order.pause_seconds)
    seconds: list[float] = []
    begin = time.perf_counter()
    while len(seconds) < order.calls or time.perf_counter() - begin < order.seconds:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return tuple(seconds)
