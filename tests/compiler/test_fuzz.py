"""Some random networks, judged as `benchmarks/fuzz.py` judges thousands."""

from functools import partial

from tests.helpers.fuzz.processes import judge_in_processes, judge_seed

SEEDS = (0, 2, 4, 5, 6, 8, 10, 12, 15, 20, 22, 23, 24, 25, 26, 27, 28, 29, 31, 33, 34, 36)
"""Half of them fully native, with every kind of node among them."""

BACKEND_EVERY = 12
"""PyTorch's own door takes a second for a network."""


def test_random_networks_are_compiled_right():
    judge = partial(judge_seed, backend_every=BACKEND_EVERY)
    for verdict in judge_in_processes(SEEDS, judge):
        assert (verdict.findings, verdict.refusals) == ([], []), f"seed {verdict.seed}"
