"""Kill a training at random moments, go on, and compare what comes out: nothing may be lost.

    PYTHONPATH=src python -m tests.training.kill --times 20

Each child is killed by SIGKILL, which no program can answer.
"""

import argparse
import csv
import multiprocessing
import random
import tempfile
import time
from pathlib import Path

import torch

from onebyone.training.loop import train_network
from onebyone.training.state import STATE_FILE, read_state
from tests.training.small import SmallNet, recipe, small_data

MEASURED = ("seconds", "images_per_second")
"""Columns that are times, and differ from one run to the next."""

PRELOADED = (
    "altair",
    "lightning_fabric",
    "onebyone.training.loop",
    "tests.training.small",
    "torch.utils.tensorboard",
    "vl_convert",
)
"""What children need, imported once."""


def run(out: str) -> None:
    """Train, or go on: a state a step."""
    torch.set_num_threads(1)
    whole = recipe(epochs=4, batch_size=8, optimizer="adamw", learning_rate=1e-3)
    train_network(SmallNet(), small_data(), whole, out, resume=True, save_seconds=0.0)


def results(out: Path) -> tuple[object, ...]:
    """Everything that an uninterrupted run would leave the same."""
    state = read_state(out / STATE_FILE)
    with (out / "metrics.csv").open() as file:
        rows = [{k: v for k, v in row.items() if k not in MEASURED} for row in csv.DictReader(file)]
    checkpoints = [(out / f"{name}.safetensors").read_bytes() for name in ("best", "last")]
    tensors = {name: tensor.numpy().tobytes() for name, tensor in state.tensors.items()}
    return (state.epoch, state.step, tensors, rows, checkpoints, (out / "steps.csv").read_text())


def position(out: Path) -> tuple[int, int]:
    """Where a run stands; (0, 0) before its first state."""
    path = out / STATE_FILE
    if not path.exists():
        return 0, 0
    state = read_state(path)  # raises if anything is half-written
    return state.epoch, state.step


def kill_often(times: int, *, seed: int = 0) -> int:
    """Kill runs `times` times, check all that are brought to their end, and return their number."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED])

    def start(out: Path):
        child = context.Process(target=run, args=(str(out),))
        child.start()
        return child

    def finish(out: Path) -> None:
        child = start(out)
        child.join(timeout=120)
        assert child.exitcode == 0

    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        finish(whole)  # the first one waits for the server
        expected = results(whole)
        begun = time.perf_counter()
        finish(Path(folder) / "timed")
        duration = time.perf_counter() - begun
        assert results(Path(folder) / "timed") == expected
        moments, killed, runs = random.Random(seed), 0, 0
        while killed < times:
            runs += 1
            out = Path(folder) / f"run{runs}"
            reached = (0, 0)
            for _ in range(min(4, times - killed)):
                child = start(out)
                child.join(timeout=moments.uniform(0, duration))
                child.kill()
                child.join()
                killed += 1
                now = position(out)
                assert now >= reached, "steps behind a state were lost"
                reached = now
            finish(out)
            assert results(out) == expected
            assert not list(out.glob(".*")), "something half-written was left"
    return runs


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    runs = kill_often(arguments.times, seed=arguments.seed)
    print(  # noqa: T201
        f"killed {arguments.times} times; {runs} runs went on to the same weights, rows and states"
    )
