"""Data and a network small enough to be trained many times in a test."""

from dataclasses import replace
from types import MappingProxyType

import torch
from torch import nn
from torch.nn import functional as F

from onebyone.models import Preprocess
from onebyone.training.data.data import Batch, Data
from onebyone.training.recipe import Recipe


class SmallSplit:
    """A split that keeps to the contract, by the plainest means."""

    damaged = MappingProxyType({})

    def __init__(self, images, targets):
        self.images, self.targets = images, targets

    def __len__(self):
        return len(self.images)

    def steps(self, batch_size, *, world=1):
        return -(-len(self) // (batch_size * world))

    def batches(
        self,
        batch_size,
        *,
        epoch,
        seed=0,
        first_step=0,
        rank=0,
        world=1,
        augment=None,
        device="cpu",
    ):
        order = torch.arange(len(self))
        if epoch is not None:
            generator = torch.Generator().manual_seed(1000 * seed + epoch)
            order = torch.randperm(len(self), generator=generator)
        for whole in list(order.split(batch_size * world))[first_step:]:
            mine = whole.tensor_split(world)[rank]
            if len(mine) or epoch is not None:
                yield Batch(
                    self.images[mine].to(device),
                    self.targets[mine].to(device),
                    len(mine) * world / len(whole),
                )


def small_data(train=96, test=50, *, name="small", shape=(1, 8, 8), classes=4):
    """Images whose class is told by a pattern under noise."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randn(classes, *shape, generator=generator)

    def split(count):
        targets = torch.arange(count) % classes
        noise = torch.randn(count, *shape, generator=generator)
        return SmallSplit(patterns[targets] + 0.8 * noise, targets)

    return Data(
        name=name,
        train=split(train),
        test=split(test),
        classes=tuple("abcdefghij"[:classes]),
        image_shape=shape,
        mean=(0.5,) * shape[0],
        std=(0.5,) * shape[0],
        preprocess=Preprocess(shape[1], shape[1], mean=(0.5,) * shape[0], std=(0.5,) * shape[0]),
    )


class SmallNet(nn.Module):
    """Two convolutions and a linear layer, with or without batch norm and dropout."""

    def __init__(self, channels=1, classes=4, *, norm=True, dropout=0.2):
        super().__init__()
        torch.manual_seed(0)
        self.conv1 = nn.Conv2d(channels, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(16, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.conv2(x)).mean((2, 3))
        return self.fc(self.dropout(x))


RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=0.05, ema_decay=0.9, clip_norm=1.0)


def recipe(**changes):
    return replace(RECIPE, **changes)
