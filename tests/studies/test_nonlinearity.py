"""The networks with and without 1x1s: what sets them apart, and what is left of them folded."""

import copy
from collections import Counter

import pytest
import torch
from torch import nn

from onebyone.explainer import count_cost
from onebyone.studies.nonlinearity import STUDY, fold_layers, measure_folded
from onebyone.training.engine import make_engine
from onebyone.training.evaluate import Score, evaluate
from tests.helpers.checks import check_same
from tests.studies.arms import check_names, grey, kinds, macs, quick_trial, shapes

ARMS = {arm.name: arm for arm in STUDY.arms}


def settled(name, size=8):
    """An arm's network with random statistics in its batch norms, for use and not for training."""
    torch.manual_seed(0)
    network = ARMS[name].build(grey(size)).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network


def test_the_study_has_what_it_names():
    check_names(STUDY)


def test_networks_with_1x1s_cost_the_same_and_the_wider_one_does():
    assert macs(ARMS["linear"]) == macs(ARMS["norm"]) == macs(ARMS["relu"])
    assert macs(ARMS["wide"]) == pytest.approx(macs(ARMS["relu"]), rel=0.01)
    assert macs(ARMS["none"]) < 0.75 * macs(ARMS["relu"])


def test_networks_with_1x1s_differ_in_what_lies_between_and_in_nothing_else():
    matrices = {
        name: Counter(shape for shape in shapes(arm).values() if len(shape) > 1)
        for name, arm in ARMS.items()
    }
    assert matrices["linear"] == matrices["norm"] == matrices["relu"]
    assert Counter(shapes(ARMS["norm"]).values()) == Counter(shapes(ARMS["relu"]).values())
    without_1x1 = {s: n for s, n in matrices["relu"].items() if s[2:] != (1, 1)}
    assert matrices["none"] == without_1x1

    def without(kind, name):
        return [one for one in kinds(ARMS[name]) if one != kind]

    assert without("ReLU", "norm") == without("ReLU", "relu")
    assert without("BatchNorm2d", "linear") == without("BatchNorm2d", "norm")


@pytest.mark.parametrize(
    ("name", "relus", "convolutions"),
    [("none", 4, 4), ("linear", 4, 4), ("norm", 4, 4), ("relu", 10, 10), ("wide", 4, 4)],
)
def test_what_is_linear_is_one_convolution(name, relus, convolutions):
    network = settled(name).double()
    before = copy.deepcopy(network.state_dict())
    folded = fold_layers(network)
    # 128 channels of 9 pixels, then two matrices: what one number of a folded weight sums over
    check_same(network, folded, torch.randn(4, 1, 8, 8, dtype=torch.float64), terms=128**2 * 9)
    assert sum(isinstance(one, nn.ReLU) for one in folded.modules()) == relus
    assert sum(isinstance(one, nn.Conv2d) for one in folded.modules()) == convolutions
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_folded_linear_networks_cost_what_those_without_1x1s_cost():
    costs = {
        name: count_cost(fold_layers(settled(name)), (1, 1, 8, 8)).macs
        for name in ("none", "linear", "norm", "relu")
    }
    assert costs["linear"] == costs["norm"] == costs["none"] < costs["relu"]


def test_the_folded_network_is_measured_as_any_other():
    network, data = settled("linear"), grey(8)
    rows = measure_folded(network, data, Score(accuracy=0, loss=0, count=0))
    expected = evaluate(network, data.test, make_engine(), batch_size=50)
    assert rows["folded"]["accuracy"] == expected.accuracy
    assert rows["folded"]["loss"] == pytest.approx(expected.loss, rel=1e-5)
    assert 0 < rows[""]["fold_error"] < 1e-5


def test_a_network_that_is_not_the_same_is_seen(monkeypatch):
    def wrong(network):
        folded = fold_layers(network)
        with torch.no_grad():
            folded.fc.bias += 1
        return folded

    monkeypatch.setattr("onebyone.studies.nonlinearity.fold_layers", wrong)
    rows = measure_folded(settled("norm"), grey(8), Score(accuracy=0, loss=0, count=0))
    assert rows[""]["fold_error"] > 1e-3


def test_a_trial_finds_the_folded_network_as_good():
    rows = quick_trial(STUDY, "norm").rows
    assert rows["norm/folded"]["accuracy"] == rows["norm"]["accuracy"]
    assert rows["norm/folded"]["loss"] == pytest.approx(rows["norm"]["loss"], rel=1e-4)
    assert rows["norm"]["fold_error"] < 1e-5
