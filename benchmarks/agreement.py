"""How often other numerics name the same class as float32, on crops of the sample photos.

    .venv/bin/python benchmarks/agreement.py [--numerics bf16|fp16-weights] [--crops N] NAME...

Names are networks of the zoo whose ImageNet weights are installed (`efficientnet_lite0` with the
extra `demo`, `efficientnet_lite1` and `efficientnet_lite2` with `test`). Crops have 20 to 100 % of
a photo's area, any place, and are mirrored half of the time; the same ones in every run. Beside the
agreement stands that of crops whose class is clear (its probability is 0.1 above the next one's),
and how far the scores are from float32's (relative root mean square).
"""

import argparse
import random
from collections.abc import Iterator

import torch
from PIL import Image, ImageOps
from torch import Tensor

from onebyone.bench.accuracy import relative_rms
from onebyone.compiler import compile_model
from onebyone.compiler.options import NUMERICS
from onebyone.models import load_model, open_photo
from onebyone.models.preprocess import Preprocess
from onebyone.models.samples import SAMPLE_PHOTOS

BATCH = 16
SMALLEST_AREA = 0.2
CLEAR_MARGIN = 0.1


def crops(preprocess: Preprocess, count: int) -> Iterator[Tensor]:
    """Give crops as batches of what a network reads; one and the next are of different photos."""
    chance = random.Random(0)
    photos = [open_photo(path) for path in SAMPLE_PHOTOS]
    made = [crop(photos[index % len(photos)], preprocess, chance) for index in range(count)]
    yield from torch.stack(made).split(BATCH)


def crop(photo: Image.Image, preprocess: Preprocess, chance: random.Random) -> Tensor:
    """Cut a square out of a photo, by chance."""
    side = int(min(photo.size) * chance.uniform(SMALLEST_AREA, 1) ** 0.5)
    left, top = (chance.randint(0, length - side) for length in photo.size)
    part = photo.crop((left, top, left + side, top + side))
    part = ImageOps.mirror(part) if chance.random() < 0.5 else part
    size = preprocess.resize_size
    return preprocess(part.resize((size, size), Image.Resampling.BICUBIC))


def examine(name: str, count: int, numerics: str) -> str:
    """Return the line of one network."""
    network, card = load_model(name, weights="imagenet")
    batches = list(crops(card.preprocess, count))
    example = torch.zeros_like(batches[0])
    scores = []
    for one in ("fp32", numerics):
        compiled = compile_model(network.eval(), example, numerics=one)
        padded = [torch.cat([some, example[len(some) :]]) for some in batches]
        scores.append(
            torch.cat([compiled(x)[: len(some)] for x, some in zip(padded, batches, strict=True)])
        )
    exact, rounded = scores
    same = exact.argmax(1) == rounded.argmax(1)
    first, second = exact.softmax(1).topk(2).values.T
    clear = first - second > CLEAR_MARGIN
    error = relative_rms(rounded, exact)
    return (
        f"{name:20} {len(same):5} {100 * same.double().mean():7.2f} {int(clear.sum()):6} "
        f"{100 * same[clear].double().mean():7.2f} {error:9.1e}"
    )


def main() -> None:
    """Print a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--crops", type=int, default=1200)
    parser.add_argument("--numerics", choices=NUMERICS, default="bf16")
    given = parser.parse_args()
    print(f"{'network':20} crops  same, %  clear same, %     error")  # noqa: T201
    for name in given.names:
        print(examine(name, given.crops, given.numerics), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
