"""Images that are kept in memory, on the device that trains, and changed there in batches."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor

from onebyone.models.preprocess import Preprocess
from onebyone.training.augment import draw_chances
from onebyone.training.data.data import Batch, Data
from onebyone.training.data.finish import Finish
from onebyone.training.data.order import (
    count_steps,
    evaluation_steps,
    generator_of,
    share,
    training_steps,
)
from onebyone.training.recipe import Augment


@dataclass(frozen=True, slots=True)
class Pixels:
    """Images as they were read, and what they show.

    Attributes:
        images: `(N, C, H, W)`, uint8.
        targets: The classes' numbers, `(N,)`, int64.
    """

    images: Tensor
    targets: Tensor

    def to(self, device: torch.device | str) -> "Pixels":
        """Return the same on a device."""
        return Pixels(self.images.to(device), self.targets.to(device))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidentSplit:
    """A split whose images are in memory; keeps to the contract of `Split`.

    Attributes:
        pixels: The images.
        finish: What makes batches of them.
    """

    pixels: Pixels
    finish: Finish
    _copies: dict[torch.device, Pixels] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.pixels.images)

    def steps(self, batch_size: int, *, world: int = 1) -> int:
        """Return the steps in an epoch, as `Split` says."""
        return count_steps(len(self), batch_size, world=world)

    @property
    def damaged(self) -> Mapping[str, str]:
        """None: what is damaged was refused when it was read."""
        return MappingProxyType({})

    def batches(
        self,
        batch_size: int,
        *,
        epoch: int | None,
        seed: int = 0,
        first_step: int = 0,
        rank: int = 0,
        world: int = 1,
        augment: Augment | None = None,
        device: torch.device | str = "cpu",
    ) -> Iterator[Batch]:
        """Give one process's batches of one epoch, as `Split` says."""
        pixels = self._on(device)
        if epoch is None:
            steps = evaluation_steps(len(self), batch_size, rank=rank, world=world)
            for step, chosen in enumerate(steps):
                if step >= first_step:
                    part = chosen.to(device)
                    yield self.finish.to_measure(pixels.images[part], pixels.targets[part])
            return
        augment = augment or Augment()
        steps = training_steps(len(self), batch_size, epoch=epoch, seed=seed, world=world)
        for step, chosen in enumerate(steps[first_step:], start=first_step):
            mine = share(len(chosen), rank, world)
            part = chosen[mine].to(device)
            chances = draw_chances(augment, len(chosen), generator_of(seed, epoch, step)).of(mine)
            yield self.finish.to_learn_from(
                pixels.images[part],
                pixels.targets[part],
                augment,
                chances,
                weight=len(part) * world / len(chosen),
            )

    def _on(self, device: torch.device | str) -> Pixels:
        """Return the images on a device, where they stay."""
        device = torch.empty(0, device=device).device  # "cuda" is "cuda:0", and one copy will do
        if device not in self._copies:
            self._copies[device] = self.pixels.to(device)
        return self._copies[device]


def make_data(name: str, train: Pixels, test: Pixels, classes: tuple[str, ...]) -> Data:
    """Return images in memory as data to train on, with the statistics of the training images."""
    _, channels, height, width = train.images.shape
    mean, std = _statistics(train.images)

    finish = Finish(classes=len(classes), mean=mean, std=std)
    grey_or_rgb = Preprocess(
        height,
        height,
        mean=(mean[0],) if channels == 1 else (mean[0], mean[1], mean[2]),
        std=(std[0],) if channels == 1 else (std[0], std[1], std[2]),
        interpolation="bilinear",
    )
    return Data(
        name=name,
        train=ResidentSplit(pixels=train, finish=finish),
        test=ResidentSplit(pixels=test, finish=finish),
        classes=classes,
        image_shape=(channels, height, width),
        mean=mean,
        std=std,
        preprocess=grey_or_rgb,
    )


def _statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return each channel's mean and deviation on a scale of 0 to 1, from counts of its values."""
    values = torch.arange(256, dtype=torch.float64) / 255
    means: list[float] = []
    stds: list[float] = []
    for channel in images.unbind(1):
        counts = torch.bincount(channel.flatten().int(), minlength=256).double()
        shares = counts / counts.sum()
        mean = float(shares @ values)
        means.append(mean)
        # Images of one colour have no deviation; a step of a pixel's value is the least there is.
        stds.append(max(float(shares @ (values - mean).square()) ** 0.5, 1 / 255))
    return tuple(means), tuple(stds)
