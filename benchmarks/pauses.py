"""The first calls after a pause, which is what a server sees.

    .venv/bin/python benchmarks/pauses.py [--model NAME] [--against PEERS] [--rounds N]

Each engine has a process of its own, and they take turns: a burst of calls right after each other
(the loop), then for each pause a sleep and eight calls. Shown are the medians over all rounds: the
loop in milliseconds, and calls 1 to 8 after each pause over that loop. The row of one thread says
what the machine itself does after a pause, as its clock rate rises and its caches fill: nothing is
woken there.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from onebyone.bench import describe_machine

PAUSES_SECONDS = (0.0, 0.001, 0.01, 0.1, 1.0)
CALLS = 8
LOOP_CALLS = 100
PEERS = "onnxruntime,openvino"

Contender = tuple[str, int]
"""Engine and threads."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one contender did after one pause.

    Attributes:
        engine: Its name.
        threads: Its threads.
        loop_seconds: Median of a call in a loop.
        pause_seconds: How long it slept before.
        calls_over_loop: Median of each call after the pause, over that of the loop.
    """

    engine: str
    threads: int
    loop_seconds: float
    pause_seconds: float
    calls_over_loop: tuple[float, ...]


def serve(name: str, threads: int, model: str, orders: Connection) -> None:
    """Build one engine, then make the calls that are asked for: a pause, and how many calls."""
    import torch

    from onebyone.bench import find_engines, load_subject

    subject = load_subject(model)
    images = subject.images(1)
    torch.set_num_threads(threads)
    engine = next(
        one for one in find_engines([] if name == "onebyone" else [name]) if one.name == name
    )
    run = engine.build(subject.network, images, threads)
    for _ in range(20):
        run(images)
    orders.send("ready")
    while True:
        pause, calls = orders.recv()
        if calls == 0:
            return
        seconds: list[float] = []
        for _ in range(3):  # a pause after work, as between requests
            run(images)
        time.sleep(pause)
        for _ in range(calls):
            start = time.perf_counter()
            run(images)
            seconds.append(time.perf_counter() - start)
        orders.send(seconds)


def measure(model: str, contenders: Sequence[Contender], rounds: int) -> list[Row]:
    """Let all contenders take turns."""
    context = multiprocessing.get_context("spawn")
    lines: list[Connection] = []
    for name, threads in contenders:
        here, there = context.Pipe()
        context.Process(target=serve, args=(name, threads, model, there), daemon=True).start()
        lines.append(here)
        here.recv()  # one after the other, as compiling disturbs

    def ask(line: Connection, pause: float, calls: int) -> list[float]:
        line.send((pause, calls))
        seconds: list[float] = line.recv()
        time.sleep(0.1)  # until its threads have gone to sleep
        return seconds

    loops: list[list[float]] = [[] for _ in lines]
    bursts: dict[tuple[int, float], list[list[float]]] = {}
    for _ in range(rounds):
        for number, line in enumerate(lines):
            loops[number] += ask(line, 0.0, LOOP_CALLS)[LOOP_CALLS // 2 :]
        for pause in PAUSES_SECONDS:
            for number, line in enumerate(lines):
                bursts.setdefault((number, pause), []).append(ask(line, pause, CALLS))
    for line in lines:
        line.send((0.0, 0))
    rows: list[Row] = []
    for (number, pause), found in sorted(bursts.items(), key=lambda item: item[0][::-1]):
        loop = statistics.median(loops[number])
        calls = tuple(statistics.median(column) / loop for column in zip(*found, strict=True))
        rows.append(Row(*contenders[number], loop, pause, calls))
    return rows


def render(rows: Iterable[Row]) -> str:
    """Show a line for each contender and pause, as a table in Markdown."""
    calls = " | ".join(f"call {number + 1}" for number in range(CALLS))
    lines = [f"| pause | engine | loop | {calls} |", "|---" * (CALLS + 3) + "|"]
    for row in rows:
        cells = " | ".join(f"{ratio:.2f}" for ratio in row.calls_over_loop)
        threads = f"{row.threads} thread{'s' if row.threads > 1 else ''}"
        lines.append(
            f"| {row.pause_seconds * 1e3:g} ms | {row.engine}, {threads} | "
            f"{row.loop_seconds * 1e3:.2f} ms | {cells} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--against", default=PEERS, help="peers, between commas; or nothing")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path, help="also write the rows there")
    options = parser.parse_args()
    print(f"{options.model}, {describe_machine()}\n", flush=True)  # noqa: T201
    cores = len(os.sched_getaffinity(0))
    peers = filter(None, options.against.split(","))
    contenders = [("onebyone", 1), *((name, cores) for name in ("onebyone", *peers))]
    rows = measure(options.model, contenders, options.rounds)
    print(render(rows))  # noqa: T201
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2))


if __name__ == "__main__":
    main()
