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
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from onebyone.bench import OURS, describe_machine, load_subject
from onebyone.bench.crew import open_crew
from onebyone.bench.worker import Order

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


def measure(model: str, contenders: Sequence[Contender], rounds: int) -> list[Row]:
    """Let all contenders take turns."""
    loops: list[list[float]] = [[] for _ in contenders]
    bursts: dict[tuple[int, float], list[tuple[float, ...]]] = {}
    with open_crew(load_subject(model), batch=1) as crew:
        workers = [crew.hire(name, threads=threads)[0] for name, threads in contenders]
        for _ in range(rounds):
            for number, worker in enumerate(workers):
                seconds = worker.ask(Order(calls=LOOP_CALLS)).seconds
                loops[number] += seconds[LOOP_CALLS // 2 :]
            for pause in PAUSES_SECONDS:
                # A pause after work, as between requests.
                order = Order(before=3, pause_seconds=pause, calls=CALLS)
                for number, worker in enumerate(workers):
                    bursts.setdefault((number, pause), []).append(worker.ask(order).seconds)
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
    contenders = [(OURS, 1), *((name, cores) for name in (OURS, *peers))]
    rows = measure(options.model, contenders, options.rounds)
    print(render(rows))  # noqa: T201
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2))


if __name__ == "__main__":
    main()
