"""Processes that run one engine each, from their start to their end."""

import signal
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from onebyone.bench.accuracy import float64_output
from onebyone.bench.engine import Engine
from onebyone.bench.engines import find_engine
from onebyone.bench.numerics import FP32
from onebyone.bench.subject import Subject
from onebyone.bench.worker import Done, Failed, Job, Order, Ready, serve
from onebyone.errors import EngineError, exit_summary, located

PATIENCE_SECONDS = 5.0
"""How long a process may take to end when it is asked to."""


class Worker:
    """A process that runs one engine, as seen by the one that started it."""

    def __init__(self, job: Job) -> None:
        context = get_context("spawn")
        self._line, there = context.Pipe()
        self._process = context.Process(target=serve, args=(job, there), daemon=True)
        with _interrupts_kept():
            self._process.start()
        there.close()  # so that the line ends when the process does

    def wait_until_ready(self) -> Ready:
        """Wait until its engine is built and checked; raises as `ask`."""
        ready = self._answer()
        assert isinstance(ready, Ready)
        return ready

    def ask(self, order: Order) -> Done:
        """Let it make calls, and wait until it has, and until its threads sleep.

        Raises:
            EngineError: If the engine fails, or the process ends.
        """
        with suppress(ConnectionError):  # then it has ended, and has no answer
            self._line.send(order)
        done = self._answer()
        assert isinstance(done, Done)
        return done

    def dismiss(self) -> None:
        """Ask it to end."""
        with suppress(OSError):
            self._line.send(None)

    def end(self, deadline: float) -> None:
        """Wait for its end until some moment of the monotonic clock, and then make it end."""
        self._process.join(max(deadline - time.monotonic(), 0.0))
        self._process.kill()
        self._process.join()
        self._line.close()

    def _answer(self) -> Ready | Done:
        wait([self._line, self._process.sentinel])
        try:
            # A process that was forked off it may hold its end of the line: so, no blind waiting.
            answer = self._line.recv() if self._line.poll() else None
        except (EOFError, ConnectionError):
            answer = None
        if answer is None:
            self._process.join(PATIENCE_SECONDS)
            status = self._process.exitcode
            how = "is silent" if status is None else exit_summary(status)
            raise EngineError(f"its process {how}")
        if isinstance(answer, Failed):
            raise EngineError(answer.reason)
        assert isinstance(answer, Ready | Done)
        return answer


class Crew:
    """The processes of one network; see `open_crew`."""

    def __init__(
        self, subject: Subject, *, batch: int, materials: Path, find: Callable[[str, str], Engine]
    ) -> None:
        self._subject = subject
        self._batch = batch
        self._materials = materials
        self._find = find
        self._workers: list[Worker] = []

    def hire(self, engine: str, *, threads: int, numerics: str = FP32) -> tuple[Worker, Ready]:
        """Start a process for an engine, wait until it is ready, and return what it says then.

        Raises:
            EngineError: If the engine is not to be had, fails, or its process ends.
        """
        job = Job(
            engine=engine,
            numerics=numerics,
            find=self._find,
            model=self._subject.name,
            batch=self._batch,
            threads=threads,
            materials=self._materials,
        )
        worker = Worker(job)
        self._workers.append(worker)
        return worker, worker.wait_until_ready()

    def end(self, patience_seconds: float) -> None:
        """End all processes: those that do not do so by themselves are made to."""
        for worker in self._workers:
            worker.dismiss()
        deadline = time.monotonic() + patience_seconds
        for worker in self._workers:
            worker.end(deadline)


@contextmanager
def open_crew(
    subject: Subject, *, batch: int, find: Callable[[str, str], Engine] = find_engine
) -> Generator[Crew]:
    """Prepare what processes need that run a network, one engine each; they end with the block.

    Args:
        subject: The network. The processes build it by its name, and take its weights.
        batch: Images a call.
        find: Gives the engine of a name and of numerics; a function that an import finds.

    Raises:
        ModelError: If the network itself does not run, or its output is not one finite tensor.
    """
    with located(subject.name):
        output = float64_output(subject.network, subject.images(batch))
    with TemporaryDirectory(prefix="onebyone-") as folder:
        materials = Path(folder) / "materials.pt"
        torch.save({"weights": subject.network.state_dict(), "output": output}, materials)
        crew = Crew(subject, batch=batch, materials=materials, find=find)
        patience_seconds = 0.0  # after Ctrl-C, nobody waits
        try:
            yield crew
            patience_seconds = PATIENCE_SECONDS
        finally:
            crew.end(patience_seconds)


@contextmanager
def _interrupts_kept() -> Generator[None]:
    """Keep Ctrl-C from processes that are started meanwhile: it is for us, who end them."""
    resource_tracker.ensure_running()  # as its start would let them through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
