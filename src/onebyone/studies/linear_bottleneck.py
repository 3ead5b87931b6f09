"""Whether the narrow end of an inverted bottleneck is better off without an activation."""

from dataclasses import dataclass, replace

from torch import Tensor, nn

from onebyone.nn import InvertedResidual, relu6
from onebyone.studies.questions import which_is_better
from onebyone.studies.skeleton import Skeleton
from onebyone.studies.spiral import lost_of_spiral
from onebyone.studies.study import Arm, Panel, Scale, Series, Study
from onebyone.training.recipe import RECIPES

EXPANSION = 6


class InvertedBlock(InvertedResidual):
    """An inverted residual whose activations may be elsewhere.

    Args:
        in_channels: Channels of the narrow stream that comes in.
        hidden_channels: Channels of the wide part.
        out_channels: Channels of the narrow stream that goes out.
        stride: Step of the depthwise convolution.
        in_wide: Whether a ReLU6 follows the expansion, and another one the depthwise convolution.
        in_narrow: Whether a ReLU6 follows the projection, before the addition.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        *,
        stride: int,
        in_wide: bool,
        in_narrow: bool,
    ) -> None:
        super().__init__(in_channels, hidden_channels, out_channels, stride=stride)
        if not in_wide:
            self.act1, self.act2 = nn.Identity(), nn.Identity()
        self.act3 = relu6() if in_narrow else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the projection, plus the input where the shape is kept."""
        shortcut = x
        x = self.act1(self.bn1(self.conv_pw(x)))
        x = self.act2(self.bn2(self.conv_dw(x)))
        x = self.act3(self.bn3(self.conv_pwl(x)))
        return x + shortcut if self.has_shortcut else x


@dataclass(frozen=True, slots=True, kw_only=True)
class Activations:
    """Where the blocks of a network have their ReLU6s; called, it makes a block.

    Attributes:
        in_wide: Whether they are in the wide part.
        in_narrow: Whether they are behind the projection.
    """

    in_wide: bool
    in_narrow: bool

    def __call__(self, in_channels: int, out_channels: int, *, stride: int) -> InvertedBlock:
        """Return a block: `(N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride)`."""
        return InvertedBlock(
            in_channels,
            EXPANSION * in_channels,
            out_channels,
            stride=stride,
            in_wide=self.in_wide,
            in_narrow=self.in_narrow,
        )


LINEAR = Activations(in_wide=True, in_narrow=False)
RELU6 = Activations(in_wide=True, in_narrow=True)
NOWHERE = Activations(in_wide=False, in_narrow=False)

STEM = 16
"""The same at both widths, so that its ReLU is no bottleneck of the narrow networks."""

WIDTHS, NARROW_WIDTHS = (16, 24, 48), (4, 8, 16)


def _arm(name: str, label: str, activations: Activations, widths: tuple[int, ...]) -> Arm:
    skeleton = Skeleton(block=activations, widths=widths, blocks=2, stem_channels=STEM)
    return Arm(name=name, label=label, build=skeleton.build)


STUDY = Study(
    name="linear-bottleneck",
    title="Whether an inverted bottleneck's narrow end should be linear",
    question=(
        "MobileNetV2's block is narrow, wide, narrow: a 1x1 expands sixfold, a depthwise 3x3 "
        "filters, a 1x1 projects back, and nothing follows the projection. Is that better than the "
        "usual activation, more so in narrower networks, and where must a non-linearity be? "
        "Networks of 16, 24 and 48 channels, and of 4, 8 and 16, have ReLU6 in the wide part only "
        "(as published), also behind the projection, or nowhere in the blocks."
    ),
    article=(
        "“small -> large -> small” and “large -> small -> large” are both bottlenecks; a layer is "
        "convolution, batch norm and ReLU together, and a 1x1 layer adds non-linearity wherever it "
        "stands, without hurting the nature of the matrix, whether channels become more or fewer."
    ),
    literature=(
        "[MobileNetV2](https://arxiv.org/abs/1801.04381): linear bottlenecks can do strictly less "
        "than those with activations, and still “linear bottlenecks improve performance, providing "
        "support that non-linearity destroys information in low-dimensional space” (section 6, "
        "figure 6a). In the released code, the activation in question comes before the addition "
        "(`project_activation_fn`), and so it does here. "
        "[Zhou et al.](https://arxiv.org/abs/2007.02269) doubt the whole block: with the shortcut "
        "between the wide ends they gain 1.7 points on ImageNet."
    ),
    arms=(
        _arm("linear", "16-24-48, linear", LINEAR, WIDTHS),
        _arm("relu6", "16-24-48, ReLU6 behind the projection", RELU6, WIDTHS),
        _arm("nowhere", "16-24-48, no ReLU6 in the blocks", NOWHERE, WIDTHS),
        _arm("narrow-linear", "4-8-16, linear", LINEAR, NARROW_WIDTHS),
        _arm("narrow-relu6", "4-8-16, ReLU6 behind the projection", RELU6, NARROW_WIDTHS),
        _arm("narrow-nowhere", "4-8-16, no ReLU6 in the blocks", NOWHERE, NARROW_WIDTHS),
    ),
    comparisons=(
        *which_is_better(
            "linear",
            "relu6",
            "At 16-24-48 channels, is a linear projection better than one with ReLU6?",
            better=(
                "It is. A 1x1 layer with its activation is not always a gain, as the article has "
                "it: behind a projection the activation does harm."
            ),
            worse=(
                "It is not; the activation helps. The article's rule holds in these networks, and "
                "MobileNetV2's does not."
            ),
        ),
        *which_is_better(
            "narrow-linear",
            "narrow-relu6",
            "And at 4-8-16 channels?",
            better=(
                "It is better. That a 1x1 layer, activation included, leaves the nature of the "
                "matrix as it is, whatever the number of channels, is wrong here."
            ),
            worse=(
                "It is worse: even in so few channels the activation helps more than it destroys, "
                "against MobileNetV2's rule, and the article's holds."
            ),
        ),
        *which_is_better(
            "linear",
            "nowhere",
            "At 16-24-48 channels, does the wide part need its ReLU6s?",
            better=(
                "It does. The article is right that non-linearity is worth having: without it the "
                "blocks are linear, and worse. It is the wide part's that does the good."
            ),
            worse="It does not: blocks that are linear do better here.",
        ),
        *which_is_better(
            "narrow-linear",
            "narrow-nowhere",
            "And at 4-8-16 channels?",
            better="It does: the wide part is the place for non-linearity.",
            worse="It does not: narrow blocks that are linear do better here.",
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
        Panel(
            title="Accuracy of 16-24-48, against linear",
            y="accuracy",
            base="linear",
            series=(Series(label="16-24-48", conditions=("relu6", "nowhere")),),
        ),
        Panel(
            title="Accuracy of 4-8-16, against linear",
            y="accuracy",
            base="narrow-linear",
            series=(Series(label="4-8-16", conditions=("narrow-relu6", "narrow-nowhere")),),
        ),
    ),
    limits=(
        "Small grey images, networks of at most 48 channels and six blocks, one recipe for all, "
        "few epochs. A ReLU6 before the addition does two things that these trials cannot tell "
        "apart: it cuts the projection's output, and it lets a block only add to the stream, never "
        "subtract. Whether the effect grows as channels shrink can only be read off the two "
        "widths: the difference between their differences is not tested. The spiral shows what a "
        "random layer loses, and training is free to choose another."
    ),
    companion=lost_of_spiral,
)
