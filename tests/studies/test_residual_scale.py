"""Inception-ResNet blocks whose branches end differently, and how long their updates are."""

from collections import Counter
from dataclasses import replace
from math import log2

import pytest
import torch
from torch import nn

from onebyone.nn import InceptionResNetA, PointwiseConv2d
from onebyone.studies import residual_scale
from onebyone.studies.residual_scale import LADDER, STUDY, ScaledBlock, residual_ratio
from tests.studies.arms import check_names, kinds, macs, quick_trial, shapes
from tests.training.small import SmallSplit, small_data

ARMS = {arm.name: arm for arm in STUDY.arms}
SCALED_BLOCKS = 4


def test_the_study_has_what_it_names():
    check_names(STUDY)


def test_networks_differ_in_what_ends_a_branch_and_in_nothing_else():
    assert len({macs(arm) for arm in STUDY.arms}) == 1
    plain = shapes(ARMS["linear"])
    for name in ("relu", "weaker", "full"):
        assert shapes(ARMS[name]) == plain
    for name in ("norm", "full-norm"):
        added = set(shapes(ARMS[name])) - set(plain)
        assert shapes(ARMS[name]) == plain | {one: shapes(ARMS[name])[one] for one in added}
        assert {one.rpartition(".behind.")[2] for one in added} == {"weight", "bias"}
        assert len(added) == 2 * SCALED_BLOCKS
    relus = {name: Counter(kinds(arm))["ReLU"] for name, arm in ARMS.items()}
    assert relus.pop("relu") == relus["linear"] + SCALED_BLOCKS
    assert len(set(relus.values())) == 1


@pytest.mark.parametrize(
    ("name", "scale"),
    [("linear", 0.17), ("relu", 0.17), ("norm", 0.17), ("weaker", 0.1), ("full", 1.0)],
)
def test_blocks_have_the_scale_that_the_label_names(name, scale):
    network = ARMS[name].build(small_data(shape=(1, 8, 8)))
    blocks = [one for one in network.modules() if isinstance(one, ScaledBlock)]
    assert [block.scale for block in blocks] == [scale] * SCALED_BLOCKS
    assert ARMS[name].label.endswith(f", {scale:g}")


def test_the_linear_block_is_the_published_one():
    ours = ScaledBlock(16, scale=0.17, behind="nothing")
    theirs = InceptionResNetA(16, ((2,), (2, 2), (2, 3, 4)), scale=0.17)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 16, 5, 5)
    assert torch.equal(ours(x), theirs(x))


def test_a_relu_lets_a_block_only_add():
    x = torch.randn(2, 16, 5, 5)
    linear = ScaledBlock(16, scale=0.5, behind="nothing")
    relu = ScaledBlock(16, scale=0.5, behind="relu")
    relu.load_state_dict(linear.state_dict())
    assert torch.equal(relu.update(x), linear.update(x).relu())
    assert (linear.update(x) < 0).any()


def test_the_ratio_is_that_of_the_norms():
    """With branches that give a constant, it can be worked out by hand."""
    data = small_data(shape=(1, 4, 4), test=6)
    stem = PointwiseConv2d(1, 16).requires_grad_(False)
    blocks = [ScaledBlock(16, scale=scale, behind="nothing") for scale in (0.5, 0.25)]
    for block in blocks:
        nn.init.zeros_(block.conv2d.weight)
        nn.init.constant_(block.conv2d.bias, 2.0)
    network = nn.Sequential(stem, *blocks).eval()
    first = stem(data.test.images)
    second = (first + 1).relu()
    # 16 channels of 16 pixels, all with the same number, have a norm of 16 times that.
    ratios = [16 * 1.0 / first.flatten(1).norm(dim=1), 16 * 0.5 / second.flatten(1).norm(dim=1)]
    expected = float(torch.stack(ratios).mean())
    assert residual_ratio(network, data, images=6) == pytest.approx(expected, rel=1e-5)
    assert not any(block._forward_hooks for block in blocks)


def test_the_ratio_is_of_the_first_images_only():
    data = small_data(shape=(1, 4, 4), test=6)
    network = nn.Sequential(
        PointwiseConv2d(1, 16), ScaledBlock(16, scale=0.5, behind="nothing")
    ).eval()
    fewer = replace(data, test=SmallSplit(data.test.images[:2], data.test.targets[:2]))
    assert residual_ratio(network, data, images=2) == residual_ratio(network, fewer, images=6)
    assert residual_ratio(network, data, images=2) != residual_ratio(network, data, images=6)


def test_a_trial_measures_updates_and_rates(monkeypatch):
    ladder = replace(LADDER, rungs=2, steps=6, judged=2)
    monkeypatch.setattr(residual_scale, "LADDER", ladder)
    rows = quick_trial(STUDY, "full-norm").rows["full-norm"]
    assert rows["residual_ratio"] > 0
    assert rows["doublings"] in (-1, 0, 1)
    assert rows["doublings"] == log2(rows["stable_rate"] / ladder.recipe.learning_rate)
