"""What numerics cost: time of a call, and memory of packed weights, side by side.

    .venv/bin/python benchmarks/numerics.py [--numerics A,B] [--batch N] [--threads N] NAME...

Names are networks of the zoo; their weights are drawn, which changes no time. All numerics are
compiled first and then called in turn, each in each round, so that drift of the machine meets all
alike. A line has the median of the rounds, where all but the fastest and slowest tenth lie, and the
first one's time over its own (median of the rounds' ratios).
"""

import argparse
import statistics

import torch

import onebyone
from onebyone.bench.measure import Burst, measure_interleaved
from onebyone.compiler import plan_model
from onebyone.models import create_model
from onebyone.models.registry import ZOO

HEAD = "network              batch threads numerics            ms     10 %     90 %  ratio      MB"
BURST = Burst(discarded=2, timed=5)


def examine(name: str, numerics: list[str], batch: int, threads: int, rounds: int) -> list[str]:
    """Return a line for each of the numerics."""
    network = create_model(name).eval()
    x = torch.randn(batch, 3, *[ZOO[name].input_size] * 2)
    megabytes = {
        one: sum(4e-6 * plan.constants.size for plan in plan_model(network, x, numerics=one))
        for one in numerics
    }
    compiled = {
        one: onebyone.compile(network, x, numerics=one, threads=threads) for one in numerics
    }
    calls = {one: lambda fast=fast: fast(x) for one, fast in compiled.items()}
    seconds = measure_interleaved(calls, rounds=rounds, burst=BURST)
    lines = []
    for one, own in seconds.items():
        tenths = statistics.quantiles(own, n=10)
        ratio = statistics.median(a / b for a, b in zip(seconds[numerics[0]], own, strict=True))
        lines.append(
            f"{name:20} {batch:5} {threads:7} {one:13} {1e3 * statistics.median(own):8.2f} "
            f"{1e3 * tenths[0]:8.2f} {1e3 * tenths[-1]:8.2f} {ratio:6.3f} {megabytes[one]:7.1f}"
        )
    return lines


def main() -> None:
    """Print the lines of each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--numerics", default="fp32,fp32-direct,fp16-weights")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    print(HEAD)  # noqa: T201
    for name in given.names:
        facts = (given.batch, given.threads, given.rounds)
        print(*examine(name, given.numerics.split(","), *facts), sep="\n", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
