"""Images a second in training: our loop's step beside a plain PyTorch loop on timm's same network.

    PYTHONPATH=. .venv/bin/python benchmarks/training.py [ROUNDS] [BATCH]

Both have random images of 224 x 224 in memory, SGD with momentum and weight decay, and float32 on
the CPU. They take turns, so that the machine's moods meet both alike.
"""

import sys
from collections.abc import Callable

import torch
from torch.nn import functional as F

import onebyone
from onebyone.bench import Burst, describe_machine, measure_interleaved, pairwise_ratio, spread
from onebyone.training.data.data import Batch
from onebyone.training.engine import make_engine
from onebyone.training.learner import Learner
from onebyone.training.recipe import Recipe
from tests.helpers.oracles import timm

NETWORKS = {"resnet50": "resnet50", "mobilenet_v2": "mobilenetv2_100"}
"""Our name: timm's."""

SIZE = 224
CLASSES = 1000


def ours(name: str, batch: Batch) -> Callable[[], object]:
    """Return a step of our loop."""
    recipe = Recipe(epochs=1, batch_size=len(batch.images), learning_rate=1e-3)
    learner = Learner(onebyone.create_model(name), recipe, make_engine())
    learner.train()
    return lambda: learner.learn(batch, rate=1e-3, step=0).tolist()


def plain(name: str, batch: Batch) -> Callable[[], object]:
    """Return a step as PyTorch's tutorials have it."""
    network = timm.create_model(name).train()
    optimizer = torch.optim.SGD(
        network.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4
    )

    def step() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(network(batch.images), batch.targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def main() -> None:
    """Measure both networks, and print a line for each loop."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    print(describe_machine())  # noqa: T201
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(size, 3, SIZE, SIZE, generator=generator)
    batch = Batch(images, torch.randint(CLASSES, (size,), generator=generator))
    for name, theirs in NETWORKS.items():
        calls = {"onebyone": ours(name, batch), "timm, plain loop": plain(theirs, batch)}
        seconds = measure_interleaved(calls, rounds=rounds, burst=Burst(discarded=1, timed=1))
        for loop, times in seconds.items():
            middle = spread(times)
            print(  # noqa: T201
                f"{name:14} {loop:18} {size / middle.median_seconds:7.2f} images/s "
                f"({size / middle.p90_seconds:.2f} to {size / middle.p10_seconds:.2f})"
            )
        ratio = pairwise_ratio(seconds["timm, plain loop"], seconds["onebyone"])
        print(f"{name:14} onebyone is {ratio:.2f} times as fast, {rounds} rounds")  # noqa: T201


if __name__ == "__main__":
    main()
