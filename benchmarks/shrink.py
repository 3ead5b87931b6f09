"""Smaller networks by several methods: how good they are, how fast they are, and what that says.

    PYTHONPATH=src python benchmarks/shrink.py make RUNS NETWORK SEED...    # any load, goes on
    PYTHONPATH=src python benchmarks/shrink.py learn RUNS NETWORK SEED...   # one epoch each
    PYTHONPATH=src python benchmarks/shrink.py scratch RUNS NETWORK SEED... # hours
    PYTHONPATH=src python benchmarks/shrink.py time RUNS                    # on a quiet machine
    PYTHONPATH=src python benchmarks/shrink.py report RUNS docs/shrinking

NETWORK is "basic" or "bottleneck", of some 22 million multiply-adds each; three seeds of each are
trained first. Everything is kept in RUNS, one file for each network.
"""

import argparse
from pathlib import Path

import torch
from shrinking.clocks import time_networks
from shrinking.making import make_learners, make_quick, make_scratch
from shrinking.networks import SKELETONS
from shrinking.report import write_report
from shrinking.subject import make_subject

STAGES = {"make": make_quick, "learn": make_learners, "scratch": make_scratch}


def main() -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=[*STAGES, "time", "report"])
    parser.add_argument("runs", type=Path)
    parser.add_argument("rest", nargs="*")
    given = parser.parse_args()
    torch.set_num_threads(1)  # one process a core
    if given.stage in STAGES:
        name, *seeds = given.rest
        for seed in seeds:
            subject = make_subject(name, int(seed), given.runs)
            STAGES[given.stage](subject, given.runs / "made")
    elif given.stage == "time":
        for name in given.rest or SKELETONS:
            time_networks(name, given.runs / "made")
    else:
        write_report(given.runs, Path(given.rest[0]))


if __name__ == "__main__":
    main()
