"""Judging networks in a process of its own: if it dies or hangs, that is a finding too."""

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any

from tests.helpers.fuzz.grammar import draw_network
from tests.helpers.fuzz.judge import Verdict, judge

NETWORKS_A_PROCESS = 40
"""PyTorch's own door keeps something of every network that it has seen."""

MOST_SECONDS = 120
"""Of one network; what takes longer hangs."""


def judge_seed(seed: int, *, backend_every: int = 1) -> Verdict:
    """Draw the network of a seed and judge it; through PyTorch's door, some seeds only."""
    doors = ("compile", "backend") if seed % backend_every == 0 else ("compile",)
    return judge(draw_network(seed), doors=doors)


Judge = Callable[[int], Verdict]


def judge_in_processes(seeds: Iterable[int], judge: Judge = judge_seed) -> Iterator[Verdict]:
    """Judge the networks of these seeds, in order."""
    left = NETWORKS_A_PROCESS
    process, pipe = start(judge)
    try:
        for seed in seeds:
            if not left or not process.is_alive():
                stop(process, pipe)
                (process, pipe), left = start(judge), NETWORKS_A_PROCESS
            left -= 1
            yield ask(process, pipe, seed)
    finally:
        stop(process, pipe)


def start(judge: Judge) -> tuple[BaseProcess, Any]:
    """Start a process that judges the seeds that come through the pipe."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = multiprocessing.Pipe()
    process = context.Process(target=work, args=(theirs, judge), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def work(pipe: Any, judge: Judge) -> None:
    """Judge until there are no more seeds; the process's own cache of compiled networks."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ONEBYONE_CACHE_DIR"] = folder
        while (seed := pipe.recv()) is not None:
            pipe.send(judge(seed))


def ask(process: BaseProcess, pipe: Any, seed: int) -> Verdict:
    """Have a network judged."""
    pipe.send(seed)
    try:
        if pipe.poll(MOST_SECONDS):
            return pipe.recv()
    except (EOFError, ConnectionResetError):
        process.join()
        return Verdict(seed, findings=[f"the process died: {describe(process.exitcode)}"])
    process.kill()
    process.join()
    return Verdict(seed, findings=[f"no answer after {MOST_SECONDS} s"])


def stop(process: BaseProcess, pipe: Any) -> None:
    """Let the process end."""
    if process.is_alive():
        pipe.send(None)
    process.join()
    pipe.close()


def describe(exitcode: Any) -> str:
    """Say how a process ended: `SIGSEGV`, or `exit status 3`."""
    return signal.Signals(-exitcode).name if exitcode < 0 else f"exit status {exitcode}"
