"""A network compiled for several sizes of images, beside one compiled for each size.

    PYTHONPATH=. python benchmarks/shapes.py [--rounds 15] [--numerics fp32] [NETWORK...]

Both are called in turn, each call twice, of which the second counts. Prints a row for each size:
the time of the one for several sizes over that of the other, median and range of rounds, and the
memory of the one over that of the other.
"""

import argparse
import time

import torch

import onebyone
from benchmarks.batches import ratio_of

SHAPES = ((192, 192), (224, 224), (256, 320))


def compare(name: str, rounds: int, numerics: str) -> None:
    """Print the rows of one network."""
    model = onebyone.create_model(name).eval()
    start = time.perf_counter()
    whole = onebyone.compile(model, torch.empty(1, 3, 224, 224), shapes=SHAPES, numerics=numerics)
    print(f"{name}: compiled in {time.perf_counter() - start:.1f} s")  # noqa: T201
    for height, width in SHAPES:
        x = torch.rand(1, 3, height, width)
        one = onebyone.compile(model, x, numerics=numerics)
        assert torch.equal(one(x), whole(x))
        size, share = f"{height}x{width}", whole.memory_bytes / one.memory_bytes
        print(f"| {name} | {size} | {ratio_of(whole, one, x, rounds)} | {share:.3f} |")  # noqa: T201
        del one


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=["resnet50", "mobilenet_v2"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--numerics", default="fp32")
    asked = parser.parse_args()
    for name in asked.networks:
        compare(name, asked.rounds, asked.numerics)
