"""What follows the last 1x1 of an Inception-ResNet branch, and why its output is scaled down."""

from dataclasses import dataclass, replace
from math import log2
from statistics import fmean
from typing import Literal

import torch
from torch import Tensor, nn

from onebyone.nn import Branches, ConvUnit, InceptionResNetA
from onebyone.studies.questions import ALIKE, which_is_better
from onebyone.studies.skeleton import Skeleton
from onebyone.studies.stability import Ladder, greatest_stable_rate
from onebyone.studies.study import Arm, Comparison, Panel, Quantity, Rows, Scale, Study
from onebyone.training.data.data import Data
from onebyone.training.evaluate import Score
from onebyone.training.recipe import RECIPES, Recipe

Behind = Literal["nothing", "relu", "norm"]


class ScaledBlock(InceptionResNetA):
    """Inception-ResNet-v2's first kind of block, narrowed, with a choice of what ends the branch.

    The branches are as wide, in proportion to the stream, as the published ones: an eighth each
    of the stream's width (there: a tenth), and more towards the end of the longest.

    Args:
        channels: Channels of the stream.
        scale: Factor on the branch before the addition.
        behind: What follows the branch's last 1x1, before the factor; nothing, as published.
    """

    def __init__(self, channels: int, *, scale: float, behind: Behind) -> None:
        width = channels // 8
        super().__init__(
            channels,
            ((width,), (width, width), (width, 3 * width // 2, 2 * width)),
            scale=scale,
        )
        self.behind = {
            "nothing": nn.Identity,
            "relu": nn.ReLU,
            "norm": lambda: nn.BatchNorm2d(channels),
        }[behind]()

    def update(self, x: Tensor) -> Tensor:
        """Return what is added to the stream."""
        return self.scale * self.behind(self.conv2d(Branches.forward(self, x)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the stream plus the update, activated."""
        return self.act(x + self.update(x))


class Step(Branches):
    """Go to half the grid and twice the width: a 3x3 of stride 2 beside a max pool.

    The network's own reductions, with padding, so that small images keep some pixels.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            {
                "branch0": ConvUnit(in_channels, out_channels - in_channels, 3, stride=2),
                "branch1": nn.MaxPool2d(3, stride=2, padding=1),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledBranch:
    """How the branches of a network end; called, it makes a block.

    Attributes:
        scale: Factor on a branch.
        behind: What follows its last 1x1.
    """

    scale: float
    behind: Behind = "nothing"

    def __call__(self, in_channels: int, out_channels: int, *, stride: int) -> nn.Module:
        """Return a block, or, where the width changes, a step to the next stage."""
        if stride > 1:
            return Step(in_channels, out_channels)
        return ScaledBlock(out_channels, scale=self.scale, behind=self.behind)


@torch.no_grad()
def residual_ratio(network: nn.Module, data: Data, *, images: int) -> float:
    """Return how long the updates are beside the stream that they are added to.

    It is the ratio of their norms, of one image and block, averaged over the first test images and
    over the network's blocks.
    """
    blocks = [module for module in network.modules() if isinstance(module, ScaledBlock)]
    ratios: list[float] = []

    def compare(block: nn.Module, inputs: tuple[Tensor], _: Tensor) -> None:
        assert isinstance(block, ScaledBlock)
        (x,) = inputs
        norms = block.update(x).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
        ratios.append(float(norms.mean()))

    hooks = [block.register_forward_hook(compare) for block in blocks]
    try:
        batch = next(iter(data.test.batches(images, epoch=None)))
        network(batch.images.contiguous(memory_format=torch.channels_last))
    finally:
        for hook in hooks:
            hook.remove()
    return fmean(ratios)


LADDER = Ladder(
    recipe=Recipe(epochs=1, batch_size=64, learning_rate=0.0125), rungs=12, steps=20, judged=5
)
IMAGES = 1000
"""Test images that norms are compared on."""


def measure_branches(network: nn.Module, data: Data, _: Score) -> Rows:
    """Return how long the updates are, and the greatest rate that a new start bears.

    Quantities of "": `residual_ratio`, `stable_rate`, and `doublings`, of which the ladder's lowest
    rate takes that many to become the stable one; -1 if even the lowest is too high.
    """
    rate = greatest_stable_rate(network, data, LADDER)
    return {
        "": {
            "residual_ratio": residual_ratio(network, data, images=IMAGES),
            "stable_rate": rate,
            "doublings": log2(rate / LADDER.recipe.learning_rate),
        }
    }


WIDTHS = (64, 128, 256)


def _arm(name: str, label: str, branch: ScaledBranch) -> Arm:
    return Arm(name=name, label=label, build=Skeleton(block=branch, widths=WIDTHS, blocks=2).build)


def _higher_rate(this: str, that: str, question: str, *, more: str, less: str) -> Comparison:
    return Comparison(
        this=this,
        that=that,
        quantity="doublings",
        question=question,
        more=more,
        less=less,
        alike=ALIKE,
    )


STUDY = Study(
    name="residual-scale",
    title="How an Inception-ResNet branch should end, and how much of it to add",
    question=(
        "In Inception-ResNet-v2, the 1x1 that brings the branches back to the width of the stream "
        "has no batch norm and no activation, and its output is multiplied by 0.1 to 0.2 before it "
        "is added. What if it were a layer as any other, and what is the factor for? Networks of "
        "64, 128 and 256 channels end their branches linearly (as published), with a ReLU, or with "
        "a batch norm, at factors of 0.17 (the published one of such blocks), 0.1 and 1."
    ),
    article=(
        "The article explains 1x1s on the picture of this very block, and says that a convolution "
        "layer “is not only a convolution, but the combination of convolution, dropout, batch norm "
        "and ReLU”. Of the branch's last 1x1, which is just a convolution (40 of the network's "
        "244), and of the factor it says nothing."
    ),
    literature=(
        "[Szegedy et al.](https://arxiv.org/abs/1602.07261), section 3.3: with more than 1000 "
        "filters, residual networks “died” early in the training: after some tens of thousands of "
        "steps the last layer gave only zeros, which neither a lower learning rate nor an extra "
        "batch norm on this layer prevented. Factors of 0.1 to 0.3 “seemed to stabilize the "
        "training”, and never seemed to harm the accuracy where they were not needed. A branch "
        "that ends with a ReLU can only add to the stream, never subtract ([He et "
        "al.](https://arxiv.org/abs/1603.05027), section 4.1: worse on CIFAR-10)."
    ),
    arms=(
        _arm("linear", "linear, 0.17", ScaledBranch(scale=0.17)),
        _arm("relu", "ReLU, 0.17", ScaledBranch(scale=0.17, behind="relu")),
        _arm("norm", "batch norm, 0.17", ScaledBranch(scale=0.17, behind="norm")),
        _arm("weaker", "linear, 0.1", ScaledBranch(scale=0.1)),
        _arm("full", "linear, 1", ScaledBranch(scale=1.0)),
        _arm("full-norm", "batch norm, 1", ScaledBranch(scale=1.0, behind="norm")),
    ),
    comparisons=(
        *which_is_better(
            "relu",
            "linear",
            "Is a branch better with a ReLU behind its last 1x1?",
            better=(
                "It is. The article's rule, that a layer has an activation, would do the published "
                "block good here."
            ),
            worse=(
                "It is worse. The article's rule, that a layer has an activation, is wrong here, "
                "at the end of a residual branch."
            ),
        ),
        *which_is_better(
            "norm",
            "linear",
            "Is it better with a batch norm?",
            better=(
                "It is. The article's rule, that a layer has a batch norm, would do the published "
                "block good here."
            ),
            worse="It is worse. The article's rule, that a layer has a batch norm, does harm here.",
        ),
        *which_is_better(
            "linear",
            "full",
            "Is scaling by 0.17 better than none?",
            better="It is, even in networks too narrow to die.",
            worse=(
                "It is worse. That scaling never harms, as the paper has it, does not hold for "
                "trainings as short as these."
            ),
        ),
        *which_is_better(
            "weaker",
            "linear",
            "Is 0.1 better than 0.17?",
            better="It is.",
            worse="It is worse.",
        ),
        _higher_rate(
            "linear",
            "full",
            "Does scaling by 0.17 let the start bear a higher learning rate?",
            more="It does: the factor makes the training more stable, as the paper has it.",
            less="It bears a lower one: here the factor does not make the start more stable.",
        ),
        _higher_rate(
            "full-norm",
            "full",
            "Does a batch norm, without the factor?",
            more=(
                "It does: at the start, a batch norm helps where the paper found that it does not "
                "prevent the death of wide networks later."
            ),
            less="It bears a lower one: a batch norm is no cure here either, as the paper has it.",
        ),
        _higher_rate(
            "linear",
            "full-norm",
            "Does the factor do more for it than a batch norm?",
            more="It does: the factor is the stronger cure, as the paper has it.",
            less="It does less: the batch norm is the stronger cure here, against the paper.",
        ),
        Comparison(
            this="linear",
            that="full",
            quantity="residual_ratio",
            question="After training, is the scaled branch's update the smaller one?",
            more="It is larger: training has more than made up for the factor.",
            less="It is: training has not made up for the factor, which keeps the updates small.",
            alike=ALIKE,
        ),
    ),
    full=Scale(
        data="fashion-mnist",
        images=16_000,
        recipe=replace(RECIPES["small-images"], epochs=3, learning_rate=0.1),
        seeds=5,
    ),
    quick=Scale(
        data="digits",
        images=None,
        recipe=replace(RECIPES["digits"], epochs=1, batch_size=64),
        seeds=2,
        rounds=2,
    ),
    panels=(
        Panel(title="Accuracy, against linear, 0.17", y="accuracy", base="linear"),
        Panel(title="Update over stream", y="residual_ratio"),
        Panel(title="Greatest stable learning rate", y="doublings"),
    ),
    limits=(
        "The published network is far wider (320 to 2080 channels) and deeper, and died after tens "
        "of thousands of steps; nothing of that can be seen in networks of at most 256 channels "
        "and a small part of the training. What a start bears in twenty steps without warm-up is "
        "another kind of stability than the one the paper speaks of. The ladder's rates are a "
        "factor of two apart. Factors and endings are compared in pairs, not in all combinations."
    ),
    measure=measure_branches,
    quantities={
        "residual_ratio": Quantity(label="norm of the update over the stream's", digits=3),
        "stable_rate": Quantity(label="greatest stable learning rate", digits=3),
        "doublings": Quantity(
            label=f"greatest stable learning rate, doublings of {LADDER.recipe.learning_rate}",
            digits=1,
        ),
    },
)
