"""What changes in training: a network, its optimizer's memory, and perhaps an average."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onebyone.errors import TrainingError
from onebyone.models.naming import describe_misfits
from onebyone.training.average import WeightAverage
from onebyone.training.data.data import Batch
from onebyone.training.engine import Engine
from onebyone.training.optimizer import build_optimizer, remember, remembered, set_learning_rate
from onebyone.training.recipe import Recipe


class Learner:
    """A network that learns a step at a time.

    Args:
        network: What learns; it is changed in place, and moved to the engine's device.
        recipe: How.
        engine: Where.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, engine: Engine) -> None:
        self._network = network.to(engine.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self._recipe = recipe
        self._engine = engine
        self._optimizer = build_optimizer(self._network, recipe)
        self._called, self._stepped = engine.setup(self._network, self._optimizer)
        self._average = WeightAverage(self._network, recipe.ema_decay) if recipe.ema_decay else None

    @property
    def network(self) -> nn.Module:
        """What is measured and kept: the average, if there is one, else what learns."""
        return self._average.network if self._average else self._network

    def learn(self, batch: Batch, *, rate: float, step: int) -> Tensor:
        """Take one step.

        Args:
            batch: What to learn from.
            rate: The learning rate.
            step: Number of the step, from 0, in the whole training.

        Returns:
            The batch's mean loss and its share of correct answers, `(2,)`, times its weight.
        """
        set_learning_rate(self._optimizer, rate)
        self._optimizer.zero_grad()
        scores = self._called(batch.images.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(scores, batch.targets, label_smoothing=self._recipe.label_smoothing)
        self._engine.backward(loss * batch.weight)
        if self._recipe.clip_norm:
            self._engine.clip(self._called, self._stepped, self._recipe.clip_norm)
        self._stepped.step()
        if self._average:
            self._average.follow(self._network, step)
        with torch.no_grad():
            wanted = batch.targets if batch.targets.ndim == 1 else batch.targets.argmax(1)
            correct = (scores.argmax(1) == wanted).float().mean()
            return torch.stack([loss.detach().float(), correct]) * batch.weight

    def train(self) -> None:
        """Let dropout drop and batch norms look at batches."""
        self._called.train()

    def settle(self) -> None:
        """Put the network into evaluation mode, with the same statistics in all processes."""
        self._called.eval()
        if self._engine.world > 1:
            for buffer in (*self._network.buffers(), *self.network.buffers()):
                if buffer.is_floating_point():
                    buffer.copy_(self._engine.mean(buffer))

    def tensors(self) -> dict[str, Tensor]:
        """Return all that a resume needs, by name; the tensors change in the next step."""
        parts = {"network": self._network.state_dict()}
        parts["optimizer"] = remembered(self._optimizer, self._network)
        if self._average:
            parts["average"] = self._average.network.state_dict()
        return {f"{part}/{name}": t for part, named in parts.items() for name, t in named.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` returned.

        Raises:
            TrainingError: If they are another network's.
        """
        _load(self._network, _part(tensors, "network"))
        remember(self._optimizer, self._network, _part(tensors, "optimizer"))
        if self._average:
            _load(self._average.network, _part(tensors, "average"))


def _part(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    start = f"{part}/"
    return {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}


def _load(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    if misfits := describe_misfits(tensors, network.state_dict()):
        raise TrainingError(
            f"the run in this folder trains another network: tensors {misfits}; name the network "
            "that it was begun with, or another folder"
        )
    network.load_state_dict(tensors)  # copies, and so keeps the order in memory
