"""A small network learns from the one that it was made of: knowledge distillation.

Its targets are the original's answers (Hinton et al., arXiv 1503.02531), which say more than a
label: which other classes an image is like. They are put in the place of the labels, so that the
one training loop is used as it is, with its states, its resumes and its curves.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onebyone.models.naming import load_tensors
from onebyone.models.weight_files import read_tensors
from onebyone.training.data.data import Batch, Data, Split
from onebyone.training.data.order import generator_of
from onebyone.training.data.resident import Pixels, ResidentSplit
from onebyone.training.engine import make_engine
from onebyone.training.evaluate import evaluate
from onebyone.training.loop import train_network
from onebyone.training.progress import Watch, unwatched
from onebyone.training.recipe import Augment, Recipe
from onebyone.training.run import BEST_FILE

SHARE = 0.9
"""What the original's answers count for, of a target; the rest is the label."""

CHOSEN = 12
"""One in so many training images is kept to choose between the networks."""

_STREAM = (0, 0, 2)
"""What sets the choice of these images apart from other random numbers of a seed."""

RECIPE = Recipe(
    epochs=1,
    batch_size=128,
    # Factors are far from a random start, and norms that would forgive a large step are folded.
    optimizer="adamw",
    learning_rate=5e-4,
    weight_decay=0.0,  # so short a training has nothing to forget
    schedule="one-cycle",
    warmup=0.2,
    clip_norm=1.0,
)
"""How a small network learns, unless a user says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """A split whose targets are a network's answers; keeps to the contract of `Split`.

    Attributes:
        split: Images, as they are to be learnt from.
        teacher: In evaluation; it sees the images as the learner does, changed at random.
        share: What its answers count for; the rest is the label.
    """

    split: Split
    teacher: nn.Module
    share: float = SHARE

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.split)

    def steps(self, batch_size: int, *, world: int = 1) -> int:
        """Return the steps in an epoch, as `Split` says."""
        return self.split.steps(batch_size, world=world)

    @property
    def damaged(self) -> Mapping[str, str]:
        """Images that could not be read so far."""
        return self.split.damaged

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
        """Give one process's batches of one epoch, as `Split` says; measured ones keep labels."""
        batches = self.split.batches(
            batch_size,
            epoch=epoch,
            seed=seed,
            first_step=first_step,
            rank=rank,
            world=world,
            augment=augment,
            device=device,
        )
        for batch in batches:
            yield batch if epoch is None else replace(batch, targets=self._targets(batch))

    @torch.no_grad()
    def _targets(self, batch: Batch) -> Tensor:
        answers = self.teacher(batch.images).softmax(1)
        labels = batch.targets
        if labels.ndim == 1:
            labels = F.one_hot(labels, answers.shape[1])
        return self.share * answers + (1 - self.share) * labels.to(answers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What came of letting a small network learn.

    Attributes:
        network: The better of the two.
        before: Its accuracy before, on images that were kept to choose by.
        after: The best accuracy on these that it reached.
        signal: The signal that ended the training early; 0 if it ran to its end.
    """

    network: nn.Module
    before: float
    after: float
    signal: int = 0

    @property
    def helped(self) -> bool:
        """Whether the network that learnt is the one that is given."""
        return self.after > self.before


def tune(
    small: nn.Module,
    original: nn.Module,
    data: Data,
    *,
    recipe: Recipe = RECIPE,
    share: float = SHARE,
    out: str | Path | None = None,
    seed: int = 0,
    watch: Watch = unwatched,
) -> Tuned:
    """Let a small network learn from the original; it is returned as it was if that did not help.

    Some of the training images, where they are in memory, are kept to choose by; of others, the
    test images choose, as they do in a training.

    Args:
        small: Left as it is.
        original: What it learns from.
        data: Images; their labels count for `1 - share`.
        recipe: How.
        share: What the original's answers count for; 1 for images without labels.
        out: Folder of the training, from which an interrupted one goes on; None to keep none.
        seed: What is random depends on it.
        watch: Shows a person how far it has come.

    Raises:
        TrainingError: If `out` cannot be used, or the loss is no longer a number.
    """
    learnt_from, chosen_by = divide(data.train, data.test, seed=seed)
    teacher = original.eval().requires_grad_(requires_grad=False)
    taught = replace(
        data, train=Taught(split=learnt_from, teacher=teacher, share=share), test=chosen_by
    )
    before = evaluate(small, chosen_by, make_engine(), batch_size=256).accuracy
    with TemporaryDirectory() as scratch:
        folder = Path(scratch if out is None else out)
        result = train_network(small, taught, recipe, folder, seed=seed, resume=True, watch=watch)
        best = result.best
        if best is None or best.test_accuracy <= before:
            after = best.test_accuracy if best else before
            return Tuned(network=small, before=before, after=after, signal=result.signal)
        network = result.network
        load_tensors(network, read_tensors(folder / BEST_FILE))
    return Tuned(
        network=network.eval(), before=before, after=best.test_accuracy, signal=result.signal
    )


def divide(train: Split, test: Split, *, seed: int) -> tuple[Split, Split]:
    """Return what to learn from, and what to choose by: a part of the training images in memory.

    Args:
        train: Images to learn from.
        test: What chooses where they are not in memory.
        seed: What the choice of the part depends on.
    """
    if not isinstance(train, ResidentSplit):
        return train, test
    order = torch.randperm(len(train), generator=generator_of(seed, *_STREAM))
    count = max(1, len(train) // CHOSEN)
    return _part(train, order[count:]), _part(train, order[:count])


def _part(split: ResidentSplit, which: Tensor) -> ResidentSplit:
    pixels = Pixels(split.pixels.images[which], split.pixels.targets[which])
    return ResidentSplit(pixels=pixels, finish=split.finish)
