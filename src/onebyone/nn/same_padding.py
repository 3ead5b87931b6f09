"""The padding rule of TensorFlow, which EfficientNet-Lite was trained with."""

import torch.nn.functional as F
from torch import Tensor, nn


class SamePaddingConv2d(nn.Conv2d):
    """Convolve with TensorFlow's "SAME" padding: the odd pixel goes to the right and the bottom.

    The output has `ceil(size / stride)` pixels. At stride 2 on an even size the padding is then
    asymmetric, (0, 1) for a 3x3 kernel, where PyTorch's `padding=1` pads (1, 1) and so reads
    positions that are shifted by one. Weights trained with the one give wrong scores with the
    other, and no error.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        kernel_size: Height and width of the kernel.
        stride: Step between the pixels that are read.
        groups: Number of groups; `in_channels` makes the convolution depthwise.
        bias: Whether a learned constant is added to each output channel.

    Shape: `(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride=stride, groups=groups, bias=bias
        )

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name in nn.Conv2d)
        """Pad as the size asks for, then convolve."""
        height, width = input.shape[-2:]
        top, bottom = self._padding_of(height)
        left, right = self._padding_of(width)
        # A symmetric padding is the convolution's own affair and saves a copy of the input.
        if top == bottom and left == right:
            return F.conv2d(
                input, self.weight, self.bias, self.stride, (top, left), groups=self.groups
            )
        return super().forward(F.pad(input, (left, right, top, bottom)))

    def _padding_of(self, size: int) -> tuple[int, int]:
        kernel_size, stride = self.kernel_size[0], self.stride[0]
        outputs = -(-size // stride)
        total = max((outputs - 1) * stride + kernel_size - size, 0)
        return total // 2, total - total // 2
