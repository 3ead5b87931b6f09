"""A network compiled for any number of images, beside one compiled for each number.

    python benchmarks/batches.py [--rounds 15] [NETWORK...]

Both are called in turn, each call twice, of which the second counts. Prints a row for each number
of images: the time of the one for any number over that of the other, median and range of rounds.
"""

import argparse
import statistics
import time

import torch

import onebyone

BATCHES = (1, 2, 3, 4, 5, 6, 7, 8, 16, 19, 32)


def seconds_of(network, images):
    """Return the seconds of a call, after one that does not count."""
    network(images)
    start = time.perf_counter()
    network(images)
    return time.perf_counter() - start


def ratio_of(whole, one, images, rounds):
    """Return the time of one network over that of another in turn: median and range, as text."""
    ratios = []
    for number in range(rounds):
        pair = (whole, one) if number % 2 else (one, whole)
        times = {id(network): seconds_of(network, images) for network in pair}
        ratios.append(times[id(whole)] / times[id(one)])
    low, *_, high = statistics.quantiles(ratios, n=10)
    return f"{statistics.median(ratios):.3f} ({low:.3f}..{high:.3f})"


def compare(name: str, rounds: int) -> None:
    """Print the rows of one network."""
    model = onebyone.create_model(name).eval()
    size = 299 if name == "inception_resnet_v2" else 224
    start = time.perf_counter()
    whole = onebyone.compile(model, torch.empty(1, 3, size, size), batch="any")
    took = time.perf_counter() - start
    eight = onebyone.compile(model, torch.empty(8, 3, size, size))
    share = whole.memory_bytes / eight.memory_bytes
    print(f"{name}: compiled in {took:.1f} s; {share:.3f} of the memory of 8 images alone")  # noqa: T201
    for images in BATCHES:
        x = torch.rand(images, 3, size, size)
        one = onebyone.compile(model, x)
        assert torch.equal(one(x), whole(x))
        print(f"| {name} | {images} | {ratio_of(whole, one, x, rounds)} |")  # noqa: T201
        del one


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=["resnet50", "mobilenet_v2"])
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    for name in asked.networks:
        compare(name, asked.rounds)
