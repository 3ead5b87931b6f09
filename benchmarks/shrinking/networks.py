"""The networks that are made smaller, and the images that they are trained and judged on.

Fashion-MNIST in three parts: of its 60,000 training images, 55,000 to learn from and 5,000 to
choose by; its 10,000 test images to report, once.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from onebyone.models.naming import load_tensors
from onebyone.models.weight_files import read_tensors
from onebyone.studies.bottleneck import BOTTLENECK, PLAIN
from onebyone.studies.skeleton import Skeleton
from onebyone.training import RECIPES, Recipe
from onebyone.training.data import read_data
from onebyone.training.data.data import Data
from onebyone.training.data.resident import Pixels, ResidentSplit
from onebyone.training.engine import make_engine
from onebyone.training.evaluate import evaluate
from onebyone.training.loop import train_network
from onebyone.training.run import LAST_FILE

SKELETONS: dict[str, Skeleton] = {"basic": PLAIN, "bottleneck": BOTTLENECK}
"""Both have about 22 million multiply-adds; see the study `bottleneck`."""

CHOSEN_BY = 5_000
EPOCHS = 6
RECIPE: Recipe = replace(RECIPES["small-images"], epochs=EPOCHS)


@cache
def read_parts() -> tuple[Data, ResidentSplit]:
    """Return the data with what chooses in the place of the test, and the test."""
    data = read_data("fashion-mnist")
    assert isinstance(data.train, ResidentSplit)
    assert isinstance(data.test, ResidentSplit)
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    chosen, learnt = order[:CHOSEN_BY], order[CHOSEN_BY:]
    return replace(data, train=part(data.train, learnt), test=part(data.train, chosen)), data.test


def part(split: ResidentSplit, numbers: Tensor) -> ResidentSplit:
    """Return some of a split's images."""
    pixels = Pixels(split.pixels.images[numbers], split.pixels.targets[numbers])
    return ResidentSplit(pixels=pixels, finish=split.finish)


def calibration(count: int, *, seed: int) -> Tensor:
    """Return images that the network learnt from, without their labels, `(count, 1, 28, 28)`."""
    return labelled(count, seed=seed)[0]


def labelled(count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return the same images, and their labels for those who need them."""
    data, _ = read_parts()
    assert isinstance(data.train, ResidentSplit)
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
    batches = list(part(data.train, order[:count]).batches(256, epoch=None))
    return torch.cat([one.images for one in batches]), torch.cat([one.targets for one in batches])


def chosen_accuracy(network: nn.Module) -> float:
    """Return the share of right answers on the images that choose."""
    return evaluate(network, read_parts()[0].test, make_engine(), batch_size=256).accuracy


def test_accuracy(network: nn.Module) -> float:
    """Return the share of right answers on the test images: what is reported."""
    return evaluate(network, read_parts()[1], make_engine(), batch_size=256).accuracy


def build(name: str) -> nn.Module:
    """Return an untrained network."""
    return SKELETONS[name].build(read_parts()[0])


def train(network: nn.Module, out: Path, *, seed: int, recipe: Recipe = RECIPE) -> nn.Module:
    """Train a network, or go on; return it as it is after the last epoch.

    Returns:
        The network, in evaluation.

    Raises:
        SystemExit: If a signal asked for the end.
    """
    if not (out / "done").exists():
        result = train_network(
            network, read_parts()[0], recipe, out, seed=seed, engine=make_engine(), resume=True
        )
        if result.signal:
            raise SystemExit(128 + result.signal)
        (out / "done").touch()
    load_tensors(network, read_tensors(out / LAST_FILE))
    return network.eval()


def trained(name: str, runs: Path, *, seed: int) -> nn.Module:
    """Return a network of the benchmark, trained with a seed now or earlier."""
    torch.manual_seed(seed)
    return train(build(name), runs / f"{name}-{seed}", seed=seed)
