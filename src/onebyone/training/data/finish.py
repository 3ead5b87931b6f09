"""The last of the way from images to a batch, which is the same for every kind of data."""

from dataclasses import dataclass

import torch
from torch import Tensor

from onebyone.training.augment import Chances, augment_images, mix
from onebyone.training.data.data import Batch
from onebyone.training.recipe import Augment


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Turns images of one size into batches.

    Attributes:
        classes: Number of classes.
        mean: Mean of each channel, on a scale of 0 to 1.
        std: Deviation of each channel.
    """

    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_learn_from(
        self, images: Tensor, targets: Tensor, augment: Augment, chances: Chances, *, weight: float
    ) -> Batch:
        """Return images, uint8, changed at random and normalised; each needs its row of chances."""
        images = self._normalise(augment_images(images, augment, chances))
        if augment.mixup:
            images, targets = mix(images, targets, chances, self.classes)
        return Batch(images, targets, weight)

    def to_measure(self, images: Tensor, targets: Tensor) -> Batch:
        """Return images, uint8, normalised and else as they are."""
        return Batch(self._normalise(images), targets)

    def _normalise(self, images: Tensor) -> Tensor:
        mean = torch.tensor(self.mean, device=images.device).view(-1, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(-1, 1, 1)
        return (images.float() / 255 - mean) / std
