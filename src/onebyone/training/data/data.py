"""The contract between a source of labelled images and the training loop."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from onebyone.models.preprocess import Preprocess

if TYPE_CHECKING:
    from onebyone.training.recipe import Augment


@dataclass(frozen=True, slots=True)
class Batch:
    """Images and what they show, on one device.

    Attributes:
        images: `(N, C, H, W)`, float32, normalised by the data's mean and deviation.
        targets: The classes' numbers, `(N,)`, int64; or, where images were mixed, each class's
            share, `(N, classes)`, float32.
        weight: What the batch's mean loss counts for where the gradients of several processes are
            averaged: this one's images times the processes, over the images of all of them in this
            step. With it, the average is the mean over all images; 1.0 where all have as many.
    """

    images: Tensor
    targets: Tensor
    weight: float = 1.0


class Split(Protocol):
    """Examples to train on, or to measure with.

    Everything random is a function of the seed, the epoch and the step alone: a run that goes on
    from a checkpoint sees the same batches, bit for bit, as one that was never stopped.
    """

    def __len__(self) -> int:
        """Return the number of examples."""
        ...

    def steps(self, batch_size: int, *, world: int = 1) -> int:
        """Return the steps in an epoch: batches that each process sees.

        Args:
            batch_size: Most examples in a batch of one process.
            world: Number of processes.
        """
        ...

    def batches(
        self,
        batch_size: int,
        *,
        epoch: int | None,
        seed: int = 0,
        first_step: int = 0,
        rank: int = 0,
        world: int = 1,
        augment: "Augment | None" = None,
        device: torch.device | str = "cpu",
    ) -> Iterator[Batch]:
        """Give one process's batches of one epoch.

        In training (`epoch` is a number) the examples come in random order, each exactly once over
        all processes. The steps' sizes differ by one at most: a small last batch would count as
        much as a full one. In step s, the processes share what a single one with `world` times the
        batch size would see.

        In evaluation (`epoch` is None) they come in order, unchanged, in full batches; the last one
        may be smaller, and a process whose share of it is empty has one batch less.

        Args:
            batch_size: Most examples in a batch of one process.
            epoch: Which epoch, from 0; None for evaluation.
            seed: What the random numbers depend on, besides the epoch and the step.
            first_step: Steps to leave out at the start, without the cost of reading them.
            rank: Which process this is, from 0.
            world: Number of processes.
            augment: How images are changed at random; ignored in evaluation.
            device: Where the batches are to be.

        Raises:
            DataError: If there are fewer examples than processes to share a step, or too many
                images are damaged.
        """
        ...

    @property
    def damaged(self) -> Mapping[str, str]:
        """Images that could not be read so far, and were left out: the reason by the name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Labelled images of one size, in two parts.

    Attributes:
        name: What the user called them, such as "fashion-mnist".
        train: What to train on.
        test: What to measure with.
        classes: A name for each class.
        image_shape: Channels, height and width of the images, in pixels.
        mean: Mean of each channel over the images to train on, on a scale of 0 to 1.
        std: Deviation of each channel, likewise.
        preprocess: How a photo becomes an image like these: what a trained network's card holds.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    preprocess: Preprocess
