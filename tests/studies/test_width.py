"""What the bottlenecks of different widths keep."""

import pytest
import torch
from torch import nn

from onebyone.studies import width
from onebyone.studies.width import STUDY, WIDTHS, measure_kept, reductions, skeleton
from onebyone.training.data import read_data
from onebyone.training.evaluate import Score

DIGITS = read_data("digits")
SCORE = Score(accuracy=0.0, loss=0.0, count=0)


def awakened(narrower):
    """A network whose branches say something, as after a training."""
    torch.manual_seed(0)
    network = skeleton(narrower).build(DIGITS)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.0)
    return network.eval()


def test_the_reductions_are_those_that_narrow_by_what_the_arm_says():
    for arm, narrower in width.SHARES.items():
        found = reductions(STUDY.arm(arm).build(DIGITS))
        assert len(found) == 4
        assert {b.conv1.in_channels for b in found.values()} == set(WIDTHS)
        for block in found.values():
            assert block.conv1.in_channels == narrower * block.conv1.out_channels


@pytest.mark.parametrize("narrower", [16, 4])
def test_less_is_kept_than_could_be(narrower, monkeypatch):
    monkeypatch.setattr(width, "LOOKED_AT", 64)
    rows = measure_kept(awakened(narrower), DIGITS, SCORE)
    assert 0 < rows[""]["kept"] <= rows["best"]["kept"] <= 1
    assert 0 < rows["random"]["kept"] <= rows["best"]["kept"]


def test_what_does_not_narrow_keeps_all():
    rows = measure_kept(awakened(1), DIGITS, SCORE)
    assert {one["kept"] for one in rows.values()} == {1.0}


def test_what_was_measured_is_what_the_best_decoder_gets_back(monkeypatch):
    monkeypatch.setattr(width, "LOOKED_AT", 64)
    network = awakened(8)
    shares = []
    inputs = {}
    for path, block in reductions(network).items():
        block.conv1.register_forward_pre_hook(
            lambda _, given, path=path: inputs.__setitem__(path, given[0])
        )
    with torch.no_grad():
        network(width.first_images(DIGITS, 64))
        for path, block in reductions(network).items():
            x = inputs[path].transpose(0, 1).flatten(1).double()
            x = x - x.mean(1, keepdim=True)
            y = block.conv1.matrix.double() @ x
            decoder = torch.linalg.lstsq(y.T, x.T).solution
            shares.append(1 - float((x.T - y.T @ decoder).square().sum() / x.square().sum()))
    kept = measure_kept(network, DIGITS, SCORE)[""]["kept"]
    assert kept == pytest.approx(sum(shares) / len(shares), abs=1e-3)
