"""Processes that decode photos, while the one that trains is busy."""

import os
import signal
import threading
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch.utils.data import DataLoader

from onebyone.errors import DataError, ShapeError, first_line
from onebyone.training.data.decode import Decoded, Decoder, Request

MOST_WORKERS = 8
"""As many as one network on a GPU most often needs; `--workers` says otherwise."""

IGNORED = (signal.SIGINT, signal.SIGTERM)
"""Signals that ask for an end, which workers leave to the process that trains."""


def count_workers(wanted: int | None, *, world: int) -> int:
    """Return how many processes decode photos for this one.

    Args:
        wanted: What the user says; None for a core each, shared by the processes of this machine.
        world: Number of processes that train.

    Raises:
        ShapeError: If `wanted` is negative.
    """
    if wanted is not None:
        if wanted < 0:
            raise ShapeError(f"`workers` (={wanted}) must be 0 or more")
        return wanted
    # With GPUs, there are at most as many of these processes here; else all may be.
    here = min(world, torch.cuda.device_count() or world)
    return max(1, min(MOST_WORKERS, len(os.sched_getaffinity(0)) // here))


def decode(
    decoder: Decoder, requests: Iterable[Request], *, workers: int, ahead: int
) -> Iterator[Decoded]:
    """Give the answers to requests in their order, whoever decodes.

    Args:
        decoder: What answers them.
        requests: What is asked; looked at as late as can be.
        workers: Processes; 0 to decode in this one.
        ahead: Answers that are to be ready before they are wanted.

    Raises:
        DataError: If a process ends before its time.
    """
    if not workers:
        yield from map(decoder.__getitem__, requests)
        return
    loader = DataLoader(
        decoder,  # pyright: ignore[reportArgumentType]  (all that it is asked for is `[]`)
        sampler=requests,
        batch_size=None,
        collate_fn=_as_it_is,  # pyright: ignore[reportArgumentType]
        num_workers=workers,
        prefetch_factor=max(2, -(-ahead // workers)),
        worker_init_fn=_begin_worker,
        # No other start is as quick, and a user's script needs no guard. Workers touch no GPU, and
        # run no operator on more than one thread, so they need nothing that a fork cuts in two.
        multiprocessing_context="fork",
        generator=torch.Generator(),  # else it would draw from everybody's
    )
    try:
        with warnings.catch_warnings(), _keeping_children_quiet(), _holding_signals():
            # Python 3.12 warns of each fork beside other threads.
            warnings.filterwarnings("ignore", "This process .* is multi-threaded")
            answers = iter(loader)
        yield from answers
    except (RuntimeError, ConnectionError, EOFError) as error:  # of the last two, if it was writing
        if str(error).startswith("Caught "):  # in a worker, in our code
            raise
        raise DataError(
            f"a process that decodes photos has ended ({first_line(error)}); it may have had too "
            "little memory: use fewer (--workers N), or none (--workers 0)"
        ) from error


@contextmanager
def _keeping_children_quiet() -> Generator[None]:
    """Undo what the loader sets up for a worker's end: an error wherever this process is then.

    It also looks itself, every few seconds, while it waits for an answer.
    """
    before = signal.getsignal(signal.SIGCHLD)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)


@contextmanager
def _holding_signals() -> Generator[None]:
    """Let no signal in while workers begin: they would be ended before they could ignore it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _as_it_is(decoded: Decoded) -> Decoded:
    return decoded


def _begin_worker(_: int) -> None:
    # Ctrl-C and a job's SIGTERM go to all of its processes. The one that trains takes a last step
    # and keeps a state, for which it needs the photos; then it ends these.
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
