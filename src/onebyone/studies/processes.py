"""Running programs, some at a time, none of which outlives us."""

import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

from onebyone.errors import TrainingError, exit_summary

SIGNALLED = 128
"""Exit status of a program that was asked to end, and did."""

POLL_SECONDS = 0.05
PATIENCE_SECONDS = 10.0
"""How long a program may take to end when it is asked to."""

ENVIRONMENT: Mapping[str, str] = {
    # One thread, from the first library that is loaded.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # On the processor, whatever else there is: so results do not depend on it.
    "CUDA_VISIBLE_DEVICES": "",
}
"""What programs find in their environment besides what we do."""


@dataclass(frozen=True, slots=True)
class Task:
    """A Python module to run as a program.

    Attributes:
        name: What it is called.
        module: Full name of the module.
        arguments: What it is given.
    """

    name: str
    module: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Running:
    task: Task
    process: subprocess.Popen[bytes]
    errors: IO[bytes]


def run_tasks(tasks: Sequence[Task], *, jobs: int) -> Iterator[Task]:
    """Run programs, and give each one when it has succeeded.

    When the iteration ends early, by an error or by Ctrl-C, those that are running are asked to
    end, and then made to. Each one's standard input is open as long as this process lives.

    Args:
        tasks: In this order they are begun.
        jobs: How many at a time.

    Raises:
        TrainingError: If one does not succeed; says how it ended.
    """
    waiting, running = deque(tasks), list[_Running]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_start(waiting.popleft()))
            ended = [one for one in running if one.process.poll() is not None]
            for one in ended:
                running.remove(one)
                _close(one)
                yield one.task
            if not ended:
                time.sleep(POLL_SECONDS)
    finally:
        _stop(running)


def _start(task: Task) -> _Running:
    errors = TemporaryFile()  # noqa: SIM115  (a pipe that nobody reads could fill up)
    process = subprocess.Popen(
        [sys.executable, "-m", task.module, *task.arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        env=os.environ | ENVIRONMENT,
        start_new_session=True,  # Ctrl-C comes to us alone
    )
    return _Running(task, process, errors)


def _close(ended: _Running) -> None:
    """Check that a program that has ended has succeeded."""
    assert ended.process.stdin is not None
    ended.process.stdin.close()
    ended.errors.seek(0)
    lines = ended.errors.read().decode(errors="replace").strip().splitlines()
    ended.errors.close()
    status = ended.process.returncode
    if status:
        how = f"it {exit_summary(status)}" if status < 0 or not lines else lines[-1]
        raise TrainingError(
            f"the trial {ended.task.name} failed: {how}; those that are done are kept, and the "
            "same command goes on"
        )


def _stop(running: Sequence[_Running]) -> None:
    for one in running:
        one.process.terminate()
    deadline = time.monotonic() + PATIENCE_SECONDS
    for one in running:
        try:
            one.process.wait(max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()
        assert one.process.stdin is not None
        one.process.stdin.close()
        one.errors.close()


def end_with_parent() -> None:
    """Let this process end when the one that started it by `run_tasks` is gone, however it went."""
    threading.Thread(target=_wait_for_end, daemon=True).start()


def _wait_for_end() -> None:
    while os.read(0, 1):  # sys.stdin has a lock, and Python could not end while this waits in it
        pass
    os._exit(SIGNALLED)
