"""Bottlenecks against plain blocks, at equal multiply-adds and parameters."""

from dataclasses import replace

from torch import nn

from onebyone.nn import BasicBlock, Bottleneck
from onebyone.studies.skeleton import Skeleton
from onebyone.studies.study import Arm, Comparison, Panel, Scale, Study
from onebyone.training.recipe import RECIPES

WIDENING = 4
"""How much wider the residual stream is than the 3x3 inside, as in ResNet-50."""


def plain_block(in_channels: int, out_channels: int, *, stride: int) -> nn.Module:
    """Make ResNet-34's block."""
    return BasicBlock(in_channels, out_channels, out_channels, stride=stride)


def bottleneck_block(in_channels: int, out_channels: int, *, stride: int) -> nn.Module:
    """Make ResNet-50's block."""
    return Bottleneck(in_channels, out_channels // WIDENING, out_channels, stride=stride)


PLAIN = Skeleton(block=plain_block, widths=(32, 64, 128), blocks=2, starts_quiet=True)
# Three blocks a stage and a stream three times as wide: that is what the same cost buys.
BOTTLENECK = Skeleton(block=bottleneck_block, widths=(96, 192, 384), blocks=3, starts_quiet=True)

STUDY = Study(
    name="bottleneck",
    title="Bottlenecks against plain blocks of the same cost",
    question=(
        "Two networks with the same multiply-adds and parameters: one of plain blocks (two 3x3), "
        "one of bottlenecks (1x1 to a quarter, 3x3, 1x1 back). Which one is better, and which one "
        "is faster?"
    ),
    article=(
        "ResNet-50 has bottlenecks, and not plain blocks as ResNet-34 has, since a smaller "
        "dimension saves work, 1x1 kernels need less of it than 3x3 ones, and they add complexity "
        "at low cost."
    ),
    literature=(
        "On ImageNet, ResNet-50 has 4.09 G multiply-adds, 12 % more than ResNet-34 with as many "
        "blocks, and an error of 24.0 % against 26.7 % ([fb.resnet.torch]"
        "(https://github.com/facebookarchive/fb.resnet.torch/tree/master/pretrained)): the "
        "bottleneck is bought for width and depth, and nothing is saved. Against it speak Wide "
        "ResNets ([arXiv 1605.07146](https://arxiv.org/abs/1605.07146)), whose plain blocks do as "
        "well as bottlenecks at equal parameters, and RegNet ([arXiv 2003.13678]"
        "(https://arxiv.org/abs/2003.13678)), whose best networks do not narrow at all."
    ),
    arms=(
        Arm(name="plain", label="plain blocks, 32-64-128", build=PLAIN.build),
        Arm(name="bottleneck", label="bottlenecks, 96-192-384", build=BOTTLENECK.build),
    ),
    comparisons=(
        Comparison(
            this="bottleneck",
            that="plain",
            quantity="accuracy",
            question="Is the bottleneck more accurate at the same cost?",
            more=(
                "Yes: at the same multiply-adds and parameters, the bottlenecks are more accurate. "
                "The article is right that they are worth having, though what they save is spent "
                "again on width and depth."
            ),
            less=(
                "No, it is less accurate: at the same multiply-adds and parameters, the plain "
                "blocks are better here. The article's reason, less work, does not make a better "
                "network of this size."
            ),
            alike=(
                "No difference can be told: at the same multiply-adds and parameters, neither "
                "block is shown to be better. That the bottleneck saves work is true of one block "
                "beside another one of the same outer width, and is no reason by itself."
            ),
        ),
        Comparison(
            this="bottleneck",
            that="plain",
            quantity="loss",
            question="Is its test loss higher?",
            more="Yes: the bottlenecks' test loss is higher at the same cost.",
            less="No, it is lower: the bottlenecks' test loss is the better one at the same cost.",
            alike="No difference can be told in the test loss either way.",
        ),
    ),
    full=Scale(
        data="fashion-mnist",
        images=18_000,
        recipe=replace(RECIPES["small-images"], epochs=5),
        seeds=5,
    ),
    quick=Scale(
        data="digits",
        images=None,
        recipe=replace(RECIPES["digits"], epochs=3, batch_size=64),
        seeds=3,
        rounds=3,
    ),
    panels=(
        Panel(title="Accuracy", y="accuracy"),
        Panel(title="Loss", y="loss"),
    ),
    limits=(
        "Two small networks on small grey images, trained for a few epochs: what holds for a "
        "hundred epochs on photos need not show here. Equal multiply-adds are not equal times: the "
        "table has both."
    ),
)
