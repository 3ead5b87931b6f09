"""The unit that convolutional networks are written in."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from torch import nn

from onebyone.nn.pointwise import PointwiseConv2d

KernelSize = int | tuple[int, int]
NormFactory = Callable[[int], nn.Module]
ActivationFactory = Callable[[], nn.Module]

relu: ActivationFactory = partial(nn.ReLU, inplace=True)
relu6: ActivationFactory = partial(nn.ReLU6, inplace=True)


class ConvUnit(nn.Sequential):
    """Convolve, drop out, normalise, activate: each part behind the convolution may be absent.

    "A convolution layer is convolution, dropout, batch norm and ReLU" is a fair first picture, but
    real networks leave parts out: the five ResNets have no dropout, a residual branch ends without
    activation, MobileNetV2's projections are linear, and Inception-ResNet's filter expansions have
    a bias and nothing else. The parts that there are, are the children `conv`, `dropout`, `bn` and
    `act`.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        kernel_size: Height and width of the kernel; 1, unpadded, makes a `PointwiseConv2d`.
        stride: Step between the pixels that are read.
        padding: Zeros on each side; None is `kernel_size // 2`, which keeps the
            grid of an odd kernel at stride 1.
        dropout: Share of whole channels that is dropped in training; 0 leaves the part out.
        norm: Makes the normalisation from `out_channels`; None leaves it out.
        activation: Makes the activation; None leaves it out and the unit is linear.

    The convolution has a bias exactly if no normalisation follows, whose shift would absorb it.

    Shape: `(N, in_channels, H, W) -> (N, out_channels, H', W')`,
        `H' = floor((H + 2 padding - kernel_size) / stride) + 1`.

    Example:
        >>> ConvUnit(64, 96, 3, norm=None, dropout=0.5)
        ConvUnit(
          (conv): Conv2d(64, 96, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
          (dropout): Dropout2d(p=0.5, inplace=False)
          (act): ReLU(inplace=True)
        )
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: KernelSize = 1,
        *,
        stride: int = 1,
        padding: KernelSize | None = None,
        dropout: float = 0.0,
        norm: NormFactory | None = nn.BatchNorm2d,
        activation: ActivationFactory | None = relu,
    ) -> None:
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if kernel_size in (1, (1, 1)) and padding in (None, 0, (0, 0)):
            parts["conv"] = PointwiseConv2d(
                in_channels, out_channels, stride=stride, bias=norm is None
            )
        else:
            parts["conv"] = nn.Conv2d(
                in_channels,
                out_channels,
                kernel_size,
                stride=stride,
                padding=_half(kernel_size) if padding is None else padding,
                bias=norm is None,
            )
        if dropout:
            parts["dropout"] = nn.Dropout2d(dropout)
        if norm is not None:
            parts["bn"] = norm(out_channels)
        if activation is not None:
            parts["act"] = activation()
        super().__init__(parts)


def _half(kernel_size: KernelSize) -> KernelSize:
    if isinstance(kernel_size, int):
        return kernel_size // 2
    height, width = kernel_size
    return height // 2, width // 2
