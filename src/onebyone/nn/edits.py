"""What can be done to the layers of a network, as data: each edit says which, and to what size.

An edit changes the structure alone. The numbers come after it, from who planned it or from a file.
"""

from dataclasses import dataclass
from typing import Literal

Form = Literal["reduce", "expand", "bottleneck"]
"""What comes in the place of a convolution k x k:

    reduce      1x1 (in -> r), k x k (r -> out)
    expand      k x k (in -> r), 1x1 (r -> out)
    bottleneck  1x1 (in -> r), k x k (r -> s), 1x1 (s -> out)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldNorm:
    """Fold a batch norm into the convolution before it.

    Attributes:
        conv: Path of the convolution, which then has a bias.
        norm: Path of the norm. What it does besides, such as an activation, stays in its place.
    """

    conv: str
    norm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Factorise:
    """Put several convolutions in the place of one, as an `nn.Sequential` at its path.

    Stride, padding and dilation stay with the k x k; the bias is the last one's.

    Attributes:
        conv: Path of the convolution; it has one group.
        form: What comes in its place.
        ranks: Channels between its parts: one number, or two for a bottleneck.
    """

    conv: str
    form: Form
    ranks: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrow:
    """Give a convolution other numbers of channels.

    Attributes:
        conv: Path of the convolution. If it is depthwise, it stays so.
        in_channels: Channels that it reads from then on.
        out_channels: Channels that it gives.
    """

    conv: str
    in_channels: int
    out_channels: int


Edit = FoldNorm | Factorise | Narrow
