"""Widths that a network's own code counts: no graph shows them, and a trial does."""

import pytest
import torch
from torch import nn

from onebyone.shrinking.survey import survey

IMAGES = torch.randn(2, 3, 8, 8)


class Chain(nn.Module):
    """Three widths, each of which something is done with."""

    def __init__(self, *steps):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in ((3, 6), (6, 7), (7, 8), (8, 2)))
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for channels in (6, 7, 8))
        self.steps = steps

    def forward(self, x):
        for conv, norm, step in zip(self.convs, self.norms, self.steps, strict=False):
            x = step(norm(conv(x)))
        return self.convs[-1](x)


def passed(x):
    return torch.relu(x)


def viewed(x):
    return torch.relu(x.reshape(2, 7, 64)).reshape(2, 7, 8, 8) if len(x) > 1 else x.view(1, 7, 8, 8)


def checked(x):
    assert x.shape[1] == 7
    return x


def doubled(x):
    return x if x.shape[1] == 7 else x * 2


def test_what_nobody_counts_is_free():
    assert len(survey(Chain(passed, passed, passed), IMAGES).groups) == 3


@pytest.mark.parametrize("step", [viewed, checked, doubled])
def test_what_is_counted_is_no_group(step):
    found = survey(Chain(passed, step, passed), IMAGES)
    assert [group.producer for group in found.groups] == ["convs.0", "convs.2"]
    assert found.unproven["convs.1"] == "counted by the network itself"


def test_the_global_generator_stays():
    network, before = Chain(passed, passed, passed), torch.get_rng_state()
    survey(network, IMAGES)
    assert torch.equal(torch.get_rng_state(), before)
