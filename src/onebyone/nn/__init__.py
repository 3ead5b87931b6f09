"""What the networks are built from: layers, units and blocks, and exact merges of them."""

from onebyone.nn.conv_unit import ConvUnit, relu, relu6
from onebyone.nn.fold import fold_batch_norm, fold_into_conv, fold_pointwise
from onebyone.nn.inception import Branches, Inception, InceptionWidths, conv_branch
from onebyone.nn.inception_resnet import (
    InceptionResidual,
    InceptionResNetA,
    InceptionResNetB,
    InceptionResNetC,
    InceptionStem,
    Reduction,
    ReductionA,
    ReductionB,
)
from onebyone.nn.initialize import initialize_weights
from onebyone.nn.inverted_residual import DepthwiseSeparable, InvertedResidual, padded_conv
from onebyone.nn.nin import MlpConv
from onebyone.nn.pointwise import PointwiseConv2d
from onebyone.nn.residual import BasicBlock, Bottleneck, PreactBottleneck
from onebyone.nn.same_padding import SamePaddingConv2d

__all__ = [
    "BasicBlock",
    "Bottleneck",
    "Branches",
    "ConvUnit",
    "DepthwiseSeparable",
    "Inception",
    "InceptionResNetA",
    "InceptionResNetB",
    "InceptionResNetC",
    "InceptionResidual",
    "InceptionStem",
    "InceptionWidths",
    "InvertedResidual",
    "MlpConv",
    "PointwiseConv2d",
    "PreactBottleneck",
    "Reduction",
    "ReductionA",
    "ReductionB",
    "SamePaddingConv2d",
    "conv_branch",
    "fold_batch_norm",
    "fold_into_conv",
    "fold_pointwise",
    "initialize_weights",
    "padded_conv",
    "relu",
    "relu6",
]
