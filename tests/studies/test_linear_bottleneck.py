"""Inverted bottlenecks whose activations are elsewhere, and nothing else is."""

from collections import Counter

import pytest
import torch

from onebyone.nn import InvertedResidual
from onebyone.studies.linear_bottleneck import LINEAR, NOWHERE, RELU6, STUDY
from tests.studies.arms import check_names, kinds, macs, quick_trial, shapes

ARMS = {arm.name: arm for arm in STUDY.arms}
BLOCKS = 6


def test_the_study_has_what_it_names():
    check_names(STUDY)


@pytest.mark.parametrize("width", ["", "narrow-"])
def test_networks_of_a_width_have_the_same_cost_and_parameters(width):
    arms = [ARMS[width + name] for name in ("linear", "relu6", "nowhere")]
    assert len({macs(arm) for arm in arms}) == 1
    assert shapes(arms[0]) == shapes(arms[1]) == shapes(arms[2])
    counts = [Counter(kinds(arm))["ReLU6"] for arm in arms]
    assert counts == [2 * BLOCKS, 3 * BLOCKS, 0]

    def without(arm):
        return [kind for kind in kinds(arm) if kind not in ("ReLU6", "Identity")]

    assert without(arms[0]) == without(arms[1]) == without(arms[2])


def test_the_narrow_networks_are_narrower_behind_the_same_stem():
    wide, narrow = shapes(ARMS["linear"]), shapes(ARMS["narrow-linear"])
    assert list(wide) == list(narrow)
    assert wide["stem.conv.weight"] == narrow["stem.conv.weight"]
    assert (wide["fc.weight"], narrow["fc.weight"]) == ((10, 48), (10, 16))


@pytest.fixture
def x():
    return torch.randn(3, 8, 5, 5, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize(("out_channels", "stride"), [(8, 1), (12, 2)])
def test_the_linear_block_is_the_published_one(x, out_channels, stride):
    ours = LINEAR(8, out_channels, stride=stride).double()
    theirs = InvertedResidual(8, 48, out_channels, stride=stride).double()
    theirs.load_state_dict(ours.state_dict())
    assert torch.equal(ours(x), theirs(x))


def test_the_relu6_keeps_what_is_added_between_0_and_6(x):
    block = RELU6(8, 8, stride=1).double()
    with torch.no_grad():
        block.bn3.weight.fill_(20)
        added = block(x) - x
    assert added.min() >= -1e-12
    assert added.max() <= 6 + 1e-12
    assert (added > 5.9).any()


def test_without_activations_a_block_is_affine(x):
    def bend(block):
        block = block.double().eval()
        y = x.flip(0)
        with torch.no_grad():
            return (block(x + y) - block(x) - block(y) + block(0 * x)).abs().max()

    assert bend(NOWHERE(8, 8, stride=1)) < 1e-12
    assert bend(LINEAR(8, 8, stride=1)) > 1e-3


def test_a_trial_runs():
    result = quick_trial(STUDY, "narrow-relu6")
    assert set(result.rows) == {"narrow-relu6"}
    assert result.rows["narrow-relu6"]["loss"] > 0
