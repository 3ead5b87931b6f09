"""Photos that are decoded while they are learnt from."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from types import MappingProxyType

import torch
from torch import Tensor

from onebyone.models.preprocess import Preprocess
from onebyone.training.augment import Chances, draw_chances
from onebyone.training.data.damage import Damage
from onebyone.training.data.data import Batch, Data
from onebyone.training.data.decode import Decoded, Decoder, Request
from onebyone.training.data.examples import Examples
from onebyone.training.data.finish import Finish
from onebyone.training.data.order import (
    count_steps,
    evaluation_steps,
    generator_of,
    share,
    training_steps,
)
from onebyone.training.data.workers import count_workers, decode
from onebyone.training.recipe import Augment

CHUNK = 16
"""Photos that a worker decodes at a time: all of them work on the batch that is wanted next."""

AHEAD = 2
"""Batches that are decoded before they are wanted."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How photos are read.

    Attributes:
        preprocess: What size they get, and how they are normalised.
        workers: Processes that decode them; None for a core each, 0 for none.
    """

    preprocess: Preprocess = field(default_factory=Preprocess)
    workers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoSplit:
    """A split whose photos are decoded when they are wanted; keeps to the contract of `Split`.

    Attributes:
        examples: The photos.
        reading: How they are read.
        finish: What makes batches of them.
        damage: What could not be read so far.
    """

    examples: Examples
    reading: Reading
    finish: Finish
    damage: Damage

    def __len__(self) -> int:
        """Return the number of examples, those that cannot be read among them."""
        return len(self.examples)

    def steps(self, batch_size: int, *, world: int = 1) -> int:
        """Return the steps in an epoch, as `Split` says."""
        return count_steps(len(self), batch_size, world=world)

    @property
    def damaged(self) -> Mapping[str, str]:
        """The photos that this process could not read so far: the reason by the name."""
        return MappingProxyType(self.damage.reasons)

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
        if epoch is None:
            parts = islice(
                evaluation_steps(len(self), batch_size, rank=rank, world=world), first_step, None
            )
            yield from self._to_measure(list(parts), batch_size, world, device)
        else:
            chosen = training_steps(len(self), batch_size, epoch=epoch, seed=seed, world=world)
            steps = [
                _Step(
                    numbers=numbers,
                    mine=share(len(numbers), rank, world),
                    address=(seed, epoch, step),
                )
                for step, numbers in enumerate(chosen)
            ]
            yield from self._to_learn_from(
                steps[first_step:], batch_size, world, augment or Augment(), device
            )
        self.damage.sum_up()

    def _to_learn_from(
        self,
        steps: Sequence["_Step"],
        batch_size: int,
        world: int,
        augment: Augment,
        device: torch.device | str,
    ) -> Iterator[Batch]:
        requests = (request for step in steps for request in step.requests(augment))
        decoded = self._decode(requests, augment, batch_size, world)
        # Crops are made as the photos are decoded: from all their pixels.
        rest = replace(augment, crop_scale=None)
        for step in steps:
            images, targets = self._gather(decoded, len(step.part), device)
            yield self.finish.to_learn_from(
                images,
                targets,
                rest,
                step.chances(augment),
                weight=len(step.part) * world / len(step.numbers),
            )

    def _to_measure(
        self, parts: Sequence[Tensor], batch_size: int, world: int, device: torch.device | str
    ) -> Iterator[Batch]:
        requests = (Request(chunk.tolist()) for part in parts for chunk in part.split(CHUNK))
        decoded = self._decode(requests, Augment(), batch_size, world)
        for part in parts:
            images, targets = self._gather(decoded, len(part), device)
            if len(images):
                yield self.finish.to_measure(images, targets)

    def _decode(
        self, requests: Iterable[Request], augment: Augment, batch_size: int, world: int
    ) -> Iterator[Decoded]:
        return decode(
            Decoder(self.examples, self.reading.preprocess, augment),
            requests,
            workers=count_workers(self.reading.workers, world=world),
            ahead=AHEAD * _count_chunks(batch_size),
        )

    def _gather(
        self, decoded: Iterator[Decoded], count: int, device: torch.device | str
    ) -> tuple[Tensor, Tensor]:
        """Return the next `count` photos, or those of them that can be read, and their targets.

        Raises:
            DataError: If too many cannot be read.
        """
        chunks = list(islice(decoded, _count_chunks(count)))
        for chunk in chunks:
            self.damage.note(chunk.damaged)
        images = torch.cat([chunk.images for chunk in chunks])
        targets = torch.tensor([t for chunk in chunks for t in chunk.targets], dtype=torch.int64)
        return images.to(device).permute(0, 3, 1, 2), targets.to(device)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A step of training.

    Attributes:
        numbers: The examples' numbers, of all processes.
        mine: This process's part of them.
        address: What its random numbers depend on: seed, epoch and step.
    """

    numbers: Tensor
    mine: slice
    address: tuple[int, int, int]

    @property
    def part(self) -> Tensor:
        """The numbers of this process's examples."""
        return self.numbers[self.mine]

    def chances(self, augment: Augment) -> Chances:
        """Return what happens to this process's images."""
        return draw_chances(augment, len(self.numbers), generator_of(*self.address)).of(self.mine)

    def requests(self, augment: Augment) -> Iterator[Request]:
        """Give what is asked of the workers."""
        tries = self.chances(augment).tries
        for chunk, drawn in zip(self.part.split(CHUNK), tries.split(CHUNK), strict=True):
            # A copy: a part of a tensor would take the whole with it to another process.
            yield Request(chunk.tolist(), drawn.clone())


def _count_chunks(count: int) -> int:
    return -(-count // CHUNK)


def make_photo_data(
    name: str, train: Examples, test: Examples, classes: tuple[str, ...], reading: Reading
) -> Data:
    """Return photos as data to train on, normalised as their preprocessing says."""
    preprocess = reading.preprocess
    mean, std = preprocess.mean, preprocess.std
    finish = Finish(classes=len(classes), mean=mean, std=std)

    def split(examples: Examples) -> PhotoSplit:
        damage = Damage(name, len(examples))
        return PhotoSplit(examples=examples, reading=reading, finish=finish, damage=damage)

    side = preprocess.input_size
    return Data(
        name=name,
        train=split(train),
        test=split(test),
        classes=classes,
        image_shape=(preprocess.channels, side, side),
        mean=mean,
        std=std,
        preprocess=preprocess,
    )
