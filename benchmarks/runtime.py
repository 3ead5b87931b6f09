"""How a compiled network behaves beside others: memory, idle time, a busy neighbour, many callers.

    .venv/bin/python benchmarks/runtime.py [NAME]

Prints: growth of resident memory over 10,000 calls (of a small network, so that it ends), processor
    time
used in a second without calls, the slowdown of a call while another process keeps one core busy (at
most 2.5 is the budget), and whether 8 Python threads that call at once get the right numbers.
"""

import multiprocessing
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

import onebyone
from onebyone.compiler import CompiledModel


def resident_bytes() -> int:
    """Return the memory that this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def keep_busy(core: int) -> None:
    """Use one core for ever."""
    os.sched_setaffinity(0, {core})
    while True:
        pass


def call_seconds(fast: CompiledModel, x: torch.Tensor, calls: int) -> float:
    """Return the median time of a call."""
    found = []
    for _ in range(calls):
        start = time.perf_counter()
        fast(x)
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def main() -> None:
    """Measure all four, and print a line for each."""
    name = sys.argv[1] if len(sys.argv) > 1 else "mobilenet_v2"
    network = onebyone.create_model(name)
    size = network.card.preprocess.input_size
    x = torch.randn(1, 3, size, size)
    fast = onebyone.compile(network, x)
    expected = fast(x)

    small = torch.randn(1, 3, 64, 64)
    compiled = onebyone.compile(network, small)
    call_seconds(compiled, small, 200)
    before = resident_bytes()
    call_seconds(compiled, small, 10_000)
    print(f"10,000 calls: resident memory {(resident_bytes() - before) / 1e6:+.2f} MB")  # noqa: T201

    call_seconds(fast, x, 20)
    time.sleep(0.01)
    start = time.process_time()
    time.sleep(1.0)
    print(f"idle: {(time.process_time() - start) * 1e3:.2f} ms of processor time in 1 s")  # noqa: T201

    alone, beside = [], []
    core = max(os.sched_getaffinity(0))
    for _ in range(5):  # in turn, because the machine's own speed changes
        alone.append(call_seconds(fast, x, 50))
        neighbour = multiprocessing.Process(target=keep_busy, args=(core,), daemon=True)
        neighbour.start()
        time.sleep(0.3)
        beside.append(call_seconds(fast, x, 50))
        neighbour.kill()
        neighbour.join()
    ratios = sorted(b / a for a, b in zip(alone, beside, strict=True))
    print(  # noqa: T201
        f"a busy neighbour on one of {len(os.sched_getaffinity(0))} cores: a call takes "
        f"{ratios[2]:.2f} times as long ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )

    with ThreadPoolExecutor(8) as pool:
        right = sum(torch.equal(got, expected) for got in pool.map(fast, [x] * 400))
    print(f"8 threads calling at once: {right} of 400 answers are the same bits")  # noqa: T201


if __name__ == "__main__":
    main()
