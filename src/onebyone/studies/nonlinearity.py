"""Where a Network in Network has its non-linearity from.

Between a 3x3 convolution and the 1x1s behind it lies nothing, a batch norm, or a batch norm and a
ReLU. Whatever is linear in the trained network is then folded away, and what is left is counted.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from onebyone.explainer import count_cost
from onebyone.nn import PointwiseConv2d, fold_batch_norm, fold_into_conv
from onebyone.studies.questions import which_is_better
from onebyone.studies.skeleton import Skeleton, SkeletonNetwork
from onebyone.studies.study import Arm, Panel, Quantity, Rows, Scale, Study
from onebyone.training.data.data import Data
from onebyone.training.evaluate import Score
from onebyone.training.recipe import RECIPES

Between = Literal["nothing", "norm", "norm and relu"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NinLayer:
    """A 3x3 convolution, some 1x1s behind it, and a batch norm and a ReLU behind the last of them.

    Called, it makes a layer that is written out: a sequence of the convolutions and what lies
    between them.

    Attributes:
        pointwise: Number of 1x1s.
        between: What lies between two convolutions.
    """

    pointwise: int
    between: Between = "norm and relu"

    def __call__(self, in_channels: int, out_channels: int, *, stride: int) -> nn.Sequential:
        """Return a layer: `(N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride)`."""
        # No biases: the norm behind the last convolution would absorb them.
        parts: list[nn.Module] = [
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        ]
        for _ in range(self.pointwise):
            parts += self._between(out_channels)
            parts.append(PointwiseConv2d(out_channels, out_channels, bias=False))
        return nn.Sequential(*parts, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))

    def _between(self, channels: int) -> list[nn.Module]:
        norm = [] if self.between == "nothing" else [nn.BatchNorm2d(channels)]
        return [*norm, nn.ReLU(inplace=True)] if self.between == "norm and relu" else [*norm]


def fold_layers(network: SkeletonNetwork) -> SkeletonNetwork:
    """Return a copy of a network of `NinLayer`s in which neighbours that are linear are one.

    Raises:
        ShapeError: If the network is in training mode.
    """
    folded = copy.deepcopy(network)
    for stage in folded.stages.children():
        assert isinstance(stage, nn.Sequential)
        for place, layer in enumerate(stage):
            stage[place] = nn.Sequential(*_folded(layer.children()))
    return folded


def _folded(parts: Iterable[nn.Module]) -> list[nn.Module]:
    kept: list[nn.Module] = []
    for part in parts:
        before = kept[-1] if kept else None
        if isinstance(before, nn.Conv2d) and isinstance(part, nn.BatchNorm2d):
            kept[-1] = fold_batch_norm(before, part)
        elif isinstance(before, nn.Conv2d) and isinstance(part, PointwiseConv2d):
            kept[-1] = fold_into_conv(before, part)
        else:
            kept.append(part)
    return kept


@torch.no_grad()
def measure_folded(network: nn.Module, data: Data, _: Score) -> Rows:
    """Return what the folded network is worth, and how far its scores are from the trained one's.

    Quantities of "": `fold_error`, the greatest difference of a score over the greatest score, and
    `folded_macs`. Of "folded": `accuracy`, `loss`, `macs`.
    """
    assert isinstance(network, SkeletonNetwork)
    folded = fold_layers(network)
    expected, got, targets = _scores(network, folded, data)
    macs = count_cost(folded, (1, *data.image_shape)).macs
    error = float((got - expected).abs().max() / expected.abs().max())
    return {
        "": {"fold_error": error, "folded_macs": macs},
        "folded": {
            "accuracy": float((got.argmax(1) == targets).double().mean()),
            "loss": float(nn.functional.cross_entropy(got.double(), targets)),
            "macs": macs,
        },
    }


def _scores(network: nn.Module, folded: nn.Module, data: Data) -> tuple[Tensor, Tensor, Tensor]:
    """Return the scores of both for all test images, and the images' classes."""
    expected, got, targets = [], [], []
    for batch in data.test.batches(256, epoch=None):
        images = batch.images.contiguous(memory_format=torch.channels_last)
        expected.append(network(images))
        got.append(folded(images))
        targets.append(batch.targets)
    return torch.cat(expected), torch.cat(got), torch.cat(targets)


STEM, WIDTHS = 32, (64, 96, 128)
WIDER_STEM, WIDER_WIDTHS = 38, (75, 112, 150)
"""What gives a network without 1x1s the multiply-adds of one with two behind each 3x3."""


def _arm(name: str, label: str, layer: NinLayer) -> Arm:
    skeleton = Skeleton(block=layer, widths=WIDTHS, blocks=1, stem_channels=STEM)
    return Arm(name=name, label=label, build=skeleton.build)


NONE = _arm("none", "no 1x1s", NinLayer(pointwise=0))
LINEAR = _arm("linear", "1x1s, nothing between", NinLayer(pointwise=2, between="nothing"))
NORM = _arm("norm", "1x1s, batch norm between", NinLayer(pointwise=2, between="norm"))
RELU = _arm(
    "relu", "1x1s, batch norm and ReLU between", NinLayer(pointwise=2, between="norm and relu")
)
WIDE = Arm(
    name="wide",
    label="no 1x1s, wider",
    build=Skeleton(
        block=NinLayer(pointwise=0), widths=WIDER_WIDTHS, blocks=1, stem_channels=WIDER_STEM
    ).build,
)

STUDY = Study(
    name="nonlinearity",
    title="Where a network in network has its non-linearity from",
    question=(
        "A 1x1 convolution is said to add non-linearity. Is it the convolution, the batch norm or "
        "the ReLU that does, and does the same cost buy more elsewhere? Three layers of a 3x3 "
        "convolution have no 1x1 behind them, or two: with nothing between the convolutions, with "
        "batch norm, or with batch norm and ReLU. All have a batch norm and a ReLU at the end of a "
        "layer. A fifth network has no 1x1 and is wider, so that it costs what the others with "
        "1x1s cost."
    ),
    article=(
        "“1x1 convolutions in neural networks mainly serve to change the matrix's dimensions and "
        "to add non-linearity”; they “add complexity to the network at a low cost of computation” "
        "(from its abstract and its second section). The article's convolution layer includes "
        "batch norm and ReLU, but what it says, it says of the convolution."
    ),
    literature=(
        "A 1x1 convolution is a linear map of each pixel's channels. Without an activation in "
        "front of it, it folds into the convolution there, exactly. In [Network in "
        "Network](https://arxiv.org/abs/1312.4400) a ReLU follows each 1x1; it had an error of "
        "10.41 % on CIFAR-10 where maxout had 11.68 %, and compared no network without the 1x1s at "
        "equal cost. Linear layers are not for nothing in training, though: they add no function, "
        "and may still learn faster ([Arora et al.](https://arxiv.org/abs/1802.06509)) or "
        "generalise better ([ExpandNets](https://arxiv.org/abs/1811.10495)), and are folded away "
        "afterwards."
    ),
    arms=(NONE, LINEAR, NORM, RELU, WIDE),
    comparisons=(
        *which_is_better(
            "relu",
            "norm",
            "Does a ReLU between the same convolutions help?",
            better=(
                "It does. The article is right of the layer, and imprecise in calling the "
                "convolution what adds non-linearity: the ReLU does."
            ),
            worse=(
                "It does harm here. More non-linearity, which the article takes for a gain, is "
                "none in these networks."
            ),
        ),
        *which_is_better(
            "linear",
            "none",
            "Do 1x1s without anything between them help?",
            better=(
                "They do, although the trained network folds into one without them: they change "
                "how weights are learnt, not what can be computed. It is a gain, and not by the "
                "non-linearity that the article names."
            ),
            worse=(
                "They do harm, although the trained network folds into one without them: they "
                "change how weights are learnt, not what can be computed. Where the article has a "
                "1x1 add non-linearity, without a ReLU it adds none, and no gain either."
            ),
            alike=(
                "No difference can be told in these trials. What needs no trial: the trained "
                "network folds into one without them, so the article is wrong of the convolution "
                "alone, which adds no non-linearity."
            ),
        ),
        *which_is_better(
            "norm",
            "none",
            "Do 1x1s with only batch norms between them help?",
            better=(
                "They do, and not by any non-linearity, which the article names: in use, all of it "
                "is one convolution."
            ),
            worse=(
                "They do harm; in use, all of it is one convolution, without the non-linearity "
                "that the article names."
            ),
        ),
        *which_is_better(
            "relu",
            "none",
            "Do 1x1s with batch norm and ReLU help, whatever they cost?",
            better="They do: of whole layers, the article is right.",
            worse="They do harm: even of whole layers, the article is wrong here.",
        ),
        *which_is_better(
            "relu",
            "wide",
            "Are they a better use of their cost than wider 3x3s?",
            better=(
                "They are: at equal multiply-adds they beat the wider network. The article is "
                "right that this complexity is cheap."
            ),
            worse=(
                "They are not: at equal multiply-adds the wider network without any 1x1 is better. "
                "The article is wrong here that 1x1s are the cheap way to add complexity."
            ),
        ),
    ),
    full=Scale(
        data="fashion-mnist",
        images=18_000,
        recipe=replace(RECIPES["small-images"], epochs=5, learning_rate=0.1),
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
        Panel(title="Accuracy, against no 1x1s", y="accuracy", base="none"),
        Panel(title="Loss, against no 1x1s", y="loss", base="none"),
    ),
    limits=(
        "Small grey images, three layers of at most 128 channels, one recipe for all, few epochs: "
        "a longer training, or rates chosen for each network, may give other differences. Of the "
        "wider network only the multiply-adds are those of the networks with 1x1s, not the depth "
        "or the parameters. That linear 1x1s fold is no result of a trial but a theorem; the error "
        "is that of float32."
    ),
    measure=measure_folded,
    labels={"folded": "folded"},
    quantities={
        "fold_error": Quantity(label="error by folding, 1e-6 of the greatest score", scale=1e6),
        "folded_macs": Quantity(label="multiply-adds when folded, M", scale=1e-6),
    },
)
