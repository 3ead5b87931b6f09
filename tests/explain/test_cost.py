import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from onebyone.explain import LayerKind, count_cost
from tests.helpers.oracles import timm


class Twice(nn.Module):
    """Runs one layer two times."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.conv(self.conv(x))


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.Conv2d(8, 4, 1), LayerKind.POINTWISE),
        (nn.Conv2d(8, 4, 1, stride=2), LayerKind.POINTWISE),
        (nn.Conv2d(8, 4, 1, groups=2), LayerKind.GROUPED_POINTWISE),
        (nn.Conv2d(8, 8, 3, groups=8), LayerKind.DEPTHWISE),
        (nn.Conv2d(8, 16, 3, groups=8), LayerKind.DEPTHWISE),
        (nn.Conv2d(8, 8, 3, groups=2), LayerKind.SPATIAL),
        (nn.Conv2d(8, 8, (1, 7)), LayerKind.SPATIAL),
        (nn.Conv2d(1, 8, 3), LayerKind.SPATIAL),
        (nn.Linear(9, 4), LayerKind.LINEAR),
    ],
)
def test_layers_are_told_apart(layer, kind):
    channels = 8 if isinstance(layer, nn.Linear) else layer.in_channels
    report = count_cost(layer, (1, channels, 9, 9))
    assert [cost.kind for cost in report.layers] == [kind]
    assert report.macs_share(kind) == 1


@pytest.mark.parametrize(
    "name", ["resnext26ts", "mobilenetv3_small_100", "ghostnet_100", "regnetx_002", "densenet121"]
)
def test_totals_are_those_of_torchs_counter_for_networks_that_we_did_not_write(name):
    network = timm.create_model(name).eval()
    report = count_cost(network, (1, 3, 64, 64))
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, 64, 64))
    assert report.macs * 2 == counter.get_total_flops()
    assert report.params == sum(p.numel() for p in network.parameters())
    assert sum(report.macs_share(kind) for kind in LayerKind) == pytest.approx(1)


def test_a_layer_that_runs_twice_counts_twice():
    assert count_cost(Twice(), (1, 4, 3, 3)).macs == 2 * 16 * 9


def test_a_layer_that_does_not_run_counts_nothing():
    network = Twice()
    network.unused = nn.Conv2d(4, 4, 1)
    report = count_cost(network, (1, 4, 3, 3))
    assert [cost.macs for cost in report.layers] == [2 * 16 * 9, 0]


def test_the_network_is_left_alone():
    network = Twice().train()
    before = network.conv.weight.clone()
    count_cost(network, (1, 4, 3, 3))
    assert network.training
    assert torch.equal(network.conv.weight, before)
    assert not network.conv._forward_hooks


def test_the_users_hooks_do_not_run():
    network = Twice()
    calls = []
    network.conv.register_forward_hook(lambda *_: calls.append("after"))
    network.register_forward_pre_hook(lambda *_: calls.append("before"))
    assert count_cost(network, (1, 4, 3, 3)).macs == 2 * 16 * 9
    assert calls == []


def test_layers_with_a_parametrized_weight_are_counted():
    layer = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 1))
    assert count_cost(layer, (1, 4, 3, 3)).macs == 16 * 9


def test_nothing_to_count_is_nothing():
    report = count_cost(nn.ReLU(), (1, 3))
    assert (report.macs, report.layers, report.macs_share(LayerKind.POINTWISE)) == (0, (), 0.0)
