"""How narrow a bottleneck may be: quality against multiply-adds, times and information kept."""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from statistics import fmean

import torch
from torch import Tensor, nn

from onebyone.explainer.information import Kept, measure_information
from onebyone.explainer.samples import prepared_images
from onebyone.graph import capture
from onebyone.nn import Bottleneck
from onebyone.studies.skeleton import Skeleton
from onebyone.studies.study import Arm, Comparison, Panel, Quantity, Rows, Scale, Series, Study
from onebyone.training.data.data import Data
from onebyone.training.evaluate import Score
from onebyone.training.recipe import RECIPES

WIDTHS = (64, 128, 256)
BLOCKS = 2

SHARES = {"sixteenth": 16, "eighth": 8, "quarter": 4, "half": 2, "full": 1}
"""How many times narrower the bottleneck is than the stream around it, by the arm's name."""

LOOKED_AT = 256
"""Test images whose pixels the information is measured on: 4,096 samples in the last stage, which
is 16 for each of its channels."""


def bottleneck_block(
    in_channels: int, out_channels: int, *, stride: int, narrower: int
) -> nn.Module:
    """Make ResNet-50's block, but for how much narrower it is inside."""
    return Bottleneck(in_channels, out_channels // narrower, out_channels, stride=stride)


def skeleton(narrower: int) -> Skeleton:
    """Return the network whose bottlenecks are some times narrower than the stream."""
    return Skeleton(
        block=partial(bottleneck_block, narrower=narrower),
        widths=WIDTHS,
        blocks=BLOCKS,
        starts_quiet=True,
    )


def reductions(network: nn.Module) -> dict[str, Bottleneck]:
    """Return the blocks whose first 1x1 reads a stream as wide as their own, by their paths.

    The first blocks of the other stages read the narrower stream of the stage before, and reduce
    it by less; there they are left out, so that one number says how much all others reduce.
    """
    return {
        path: block
        for path, block in network.named_modules()
        if isinstance(block, Bottleneck) and block.conv1.in_channels == block.conv3.out_channels
    }


def first_images(data: Data, count: int) -> Tensor:
    """Return the first of the test images, as a network reads them."""
    batch = next(iter(data.test.batches(count, epoch=None)))
    return batch.images


def measure_kept(network: nn.Module, data: Data, _: Score) -> Rows:
    """Return what part of their input's variance the reductions keep, the mean over them.

    "" has what they keep; "random" and "best" what as many random mixtures of the channels, and
    the best choice of as many, would. A bottleneck that does not narrow keeps all, and is not
    measured.
    """
    images = prepared_images(first_images(data, LOOKED_AT))
    graph = capture(network.eval(), (images[0],)).graph
    wanted = {f"{path}.conv1" for path in reductions(network)}
    with torch.no_grad():
        information = measure_information(graph, images)
    layers = [one for one in information.layers if one.path in wanted]
    return {
        "": {"kept": _mean(layers, "kept")},
        "random": {"kept": _mean(layers, "random")},
        "best": {"kept": _mean(layers, "best")},
    }


def _mean(layers: list[Kept], field: str) -> float:
    return fmean(getattr(one, field) for one in layers) if layers else 1.0


def _label(narrower: int) -> str:
    return f"1/{narrower} of the stream" if narrower > 1 else "as wide as the stream"


_NAMED = {"accuracy": "test accuracy", "loss": "test loss"}


def _compared(this: str, that: str, quantity: str) -> Comparison:
    """Ask what narrowing costs, which is less accuracy, or more loss."""
    named = _NAMED[quantity]
    costs = f"The narrower bottleneck costs {named}."
    gains = f"The narrower bottleneck even gains {named}."
    if quantity == "loss":
        costs = f"The narrower bottleneck has the higher {named}."
        gains = f"The narrower bottleneck even has the lower {named}."
    return Comparison(
        this=this,
        that=that,
        quantity=quantity,
        question=f"{_label(SHARES[this])}, not {_label(SHARES[that])}: what of the {named}?",
        more=gains if quantity == "accuracy" else costs,
        less=costs if quantity == "accuracy" else gains,
        alike="No difference can be told.",
    )


def _beside_random(name: str) -> Comparison:
    return Comparison(
        this=name,
        that=f"{name}/random",
        quantity="kept",
        question=(
            f"Do reductions to {_label(SHARES[name])} keep more of their input than as many random "
            "mixtures of its channels?"
        ),
        more="Yes: training has made them keep more of what varies than chance would.",
        less=(
            "No, less. The article's picture of compression, in which as much is kept as can be, "
            "does not hold here: a branch takes what it needs, and the shortcut carries the rest."
        ),
        alike="It cannot be told.",
    )


_NAMES = tuple(SHARES)
_NARROW = _NAMES[:-1]

STUDY = Study(
    name="width",
    title="How narrow a bottleneck may be",
    question=(
        "The same network with bottlenecks that are 1/16, 1/8, 1/4, 1/2 of the stream around them, "
        "or as wide as it. What does narrowing cost in quality, what does it save in multiply-adds "
        "and in time, and how much of its input does a reduction keep?"
    ),
    article=(
        "A 1x1 reduces the dimension to save work; as with the compression of images, the more is "
        "compressed the more is lost. It asks how the 1x1 strikes the balance between quality and "
        "speed, and gives no number."
    ),
    literature=(
        "ResNet-50 narrows to a quarter. RegNet's search over widths ([arXiv 2003.13678]"
        "(https://arxiv.org/abs/2003.13678)) ends at bottlenecks that do not narrow at all. "
        "Multiply-adds tell little of times (ShuffleNetV2, [arXiv 1807.11164]"
        "(https://arxiv.org/abs/1807.11164))."
    ),
    arms=tuple(
        Arm(name=name, label=_label(narrower), build=skeleton(narrower).build)
        for name, narrower in SHARES.items()
    ),
    comparisons=(
        *(
            _compared(this, that, quantity)
            for quantity in ("accuracy", "loss")
            for this, that in pairwise(_NAMES)
        ),
        _compared("quarter", "full", "accuracy"),
        _compared("quarter", "full", "loss"),
        *(_beside_random(name) for name in _NARROW),
    ),
    full=Scale(
        data="fashion-mnist",
        images=11_000,
        recipe=replace(RECIPES["small-images"], epochs=4),
        seeds=5,
    ),
    quick=Scale(
        data="digits",
        images=None,
        recipe=replace(RECIPES["digits"], epochs=2, batch_size=64),
        seeds=2,
        rounds=2,
    ),
    panels=(
        Panel(title="Accuracy by work", y="accuracy", x="macs", is_log=True),
        Panel(title="Accuracy by time (PyTorch)", y="accuracy", x="eager_ms_128", is_log=True),
        Panel(title="Accuracy by time (compiled)", y="accuracy", x="compiled_ms_128", is_log=True),
        Panel(
            title="Information kept",
            y="kept",
            x="macs",
            is_log=True,
            series=(
                Series(label="the reductions", conditions=_NAMES),
                Series(
                    label="random mixtures", conditions=tuple(f"{name}/random" for name in _NAMES)
                ),
                Series(label="best choice", conditions=tuple(f"{name}/best" for name in _NAMES)),
            ),
        ),
    ),
    limits=(
        "One small network on small grey images, trained for a few epochs: a network that learns "
        "for longer may make more of its width. Information is the share of the variance of what a "
        "reduction reads that the best linear decoder gets back from its output, the mean over the "
        f"reductions, on {LOOKED_AT} test images; a decoder that is not linear may get back more."
    ),
    measure=measure_kept,
    labels={"random": "random mixtures", "best": "best choice"},
    quantities={"kept": Quantity(label="variance kept, %", scale=100.0, digits=1)},
)
