"""The two networks cost the same, as the study says."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from onebyone.explainer import count_cost
from onebyone.studies.bottleneck import STUDY
from tests.training.small import small_data

FASHION = small_data(shape=(1, 28, 28), classes=10)


def test_they_cost_the_same():
    plain, bottleneck = (
        count_cost(arm.build(FASHION), (1, *FASHION.image_shape)) for arm in STUDY.arms
    )
    assert bottleneck.macs == pytest.approx(plain.macs, rel=0.01)
    assert bottleneck.params == pytest.approx(plain.params, rel=0.01)


def test_our_count_is_pytorchs():
    for arm in STUDY.arms:
        network = arm.build(FASHION).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(1, *FASHION.image_shape))
        cost = count_cost(network, (1, *FASHION.image_shape))
        assert cost.macs == counter.get_total_flops() // 2
