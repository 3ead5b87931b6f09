"""What a plan is decided on: images, and what the loss feels of each layer's outputs."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Hold what a plan was decided on, for the solving of its layers.

    Attributes:
        images: `(N, C, H, W)`.
        gradients: By the layer's path, `(N_out, N_out)`: the mean of g g^T over output positions,
            for gradients g of the network's own answers.
        positions: By the layer's path: output positions in one image.
    """

    images: Tensor
    gradients: Mapping[str, Tensor]
    positions: Mapping[str, int]
