"""Networks that were made, and how good they are: kept one by one, so that a run can go on."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from onebyone.errors import InfeasibleBudget
from onebyone.files import replacing
from shrinking.methods import (
    LEARNERS,
    METHODS,
    SCRATCH_SHARES,
    SHARES,
    TUNED_SHARES,
    distilled,
    from_scratch,
)
from shrinking.networks import chosen_accuracy, test_accuracy
from shrinking.pruning import macs_of
from shrinking.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A network that was made.

    Attributes:
        network: What it was made of.
        seed: That this was trained with.
        method: How it was made.
        share: Of the multiply-adds, that was asked for.
        macs: Multiply-adds; None if the method does not go as far.
        chosen: Share of right answers on the images that choose.
        test: The same on the test images.
        seconds: That it took to make it, on one core beside other work.
    """

    network: str
    seed: int
    method: str
    share: float
    macs: int | None = None
    chosen: float = 0.0
    test: float = 0.0
    seconds: float = 0.0

    @property
    def key(self) -> str:
        """What its files are called."""
        return f"{self.network}-{self.seed}-{self.method}-{self.share:g}"


def make_quick(subject: Subject, folder: Path) -> None:
    """Make all networks that take no training."""
    plain = Made(network=subject.name, seed=subject.seed, method="original", share=1.0)
    _keep(folder, plain, lambda: subject.prepared.original)
    for method, how in METHODS.items():
        for share in SHARES:
            it = Made(network=subject.name, seed=subject.seed, method=method, share=share)
            _keep(folder, it, lambda how=how, share=share: how.make(subject, share))


def make_learners(subject: Subject, folder: Path) -> None:
    """Let networks learn from the original."""
    for share in TUNED_SHARES:
        for method in LEARNERS:
            name, seed = subject.name, subject.seed
            it = Made(network=name, seed=seed, method=f"{method}-tuned", share=share)
            start = folder / f"{Made(network=name, seed=seed, method=method, share=share).key}.pt"
            if start.exists():
                out = folder / it.key
                _keep(folder, it, lambda s=start, o=out: distilled(subject, load_made(s), o))


def make_scratch(subject: Subject, folder: Path) -> None:
    """Train ours from a random start."""
    for share in SCRATCH_SHARES:
        it = Made(network=subject.name, seed=subject.seed, method="scratch", share=share)
        out = folder / it.key
        _keep(folder, it, lambda share=share, out=out: from_scratch(subject, share, out))


def load_made(file: Path) -> nn.Module:
    """Return a network that this benchmark made before."""
    return torch.load(file, weights_only=False)


def read_made(folder: Path) -> list[Made]:
    """Return all that was made."""
    return [Made(**json.loads(file.read_text())) for file in sorted(folder.glob("*.json"))]


def _keep(folder: Path, it: Made, make: Callable[[], nn.Module]) -> None:
    """Make a network and keep it, with how good it is, unless that was done before."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{it.key}.json"
    if file.exists():
        return
    start = time.perf_counter()
    try:
        network = make()
    except InfeasibleBudget as error:
        print(it.key, error, flush=True)  # noqa: T201
        found = it
    else:
        seconds = time.perf_counter() - start
        found = Made(
            network=it.network,
            seed=it.seed,
            method=it.method,
            share=it.share,
            macs=macs_of(network),
            chosen=chosen_accuracy(network),
            test=test_accuracy(network),
            seconds=round(seconds, 1),
        )
        with replacing(folder / f"{it.key}.pt") as temporary:
            torch.save(network, temporary)
        print(it.key, found.macs, found.test, f"{seconds:.0f} s", flush=True)  # noqa: T201
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(asdict(found)) + "\n")
