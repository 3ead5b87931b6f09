"""Train in one or more processes and print each step's loss, and what the test gave.

PYTHONPATH=src python -m tests.training.several DEVICES [OUT]
"""

import json
import sys

import torch

from onebyone.training.engine import make_engine
from onebyone.training.loop import train_network
from tests.training.small import SmallNet, recipe, small_data


def main() -> None:
    torch.set_num_threads(1)
    devices = int(sys.argv[1])
    engine = make_engine(devices=devices)
    # No batch norm and no dropout: those look at one process's images, or draw for them.
    network = SmallNet(norm=False, dropout=0.0)
    data = small_data(train=90, test=51)
    out = sys.argv[2] if len(sys.argv) > 2 else None
    result = train_network(network, data, recipe(), out, engine=engine)
    if result.is_first:
        row = result.epochs[-1]
        print(  # noqa: T201
            json.dumps(
                {
                    "world": engine.world,
                    "losses": [step.loss for step in result.steps],
                    "test": [row.test_loss, row.test_accuracy],
                    "weights": [p.flatten().tolist() for p in result.network.parameters()],
                }
            )
        )


if __name__ == "__main__":
    main()
