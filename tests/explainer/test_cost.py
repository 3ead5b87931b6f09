import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from onebyone.errors import ModelError
from onebyone.explainer import LayerKind, count_cost, count_graph
from onebyone.explainer.cost import intensity
from onebyone.graph import capture
from onebyone.models import ZOO, build_network
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
        (nn.Conv2d(8, 4, 1, padding=1), LayerKind.POINTWISE),
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


@pytest.mark.parametrize("name", ZOO)
def test_totals_are_those_of_torchs_counter_for_the_zoo(name):
    with torch.device("meta"):
        network = build_network(ZOO[name].config)
    check_totals(network, ZOO[name].input_size)


OTHERS = (
    "convnext_atto", "cs3darknet_s", "darknet17", "densenet121", "dla34", "ecaresnet50t",
    "efficientnet_lite0", "efficientvit_b0", "fastvit_t8", "fbnetc_100", "gernet_s", "ghostnet_100",
    "hgnetv2_b0", "hrnet_w18_small", "inception_next_atto", "lambda_resnet26t", "lcnet_050",
    "mixnet_s", "mnasnet_050", "mobilenetv1_100", "mobilenetv3_small_100", "mobilenetv4_conv_small",
    "mobilevitv2_050", "poolformer_s12", "regnetx_002", "regnety_002", "repghostnet_050",
    "repvgg_a0", "res2net50_26w_4s", "resnest14d", "resnetv2_50", "resnext26ts", "selecsls42",
    "seresnet18", "shvit_s1", "skresnet18", "starnet_s1", "tinynet_e", "vgg11", "vovnet39a",
    "xception41",
)  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_totals_are_those_of_torchs_counter_for_networks_that_we_did_not_write(name):
    with torch.device("meta"):
        network = timm.create_model(name)
    check_totals(network, 64)


def check_totals(network, size):
    report = count_cost(network, (1, 3, size, size))
    device = next(network.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.eval()(torch.zeros(1, 3, size, size, device=device))
    assert report.macs * 2 == counter.get_total_flops()
    assert report.params == sum(p.numel() for p in network.parameters())
    assert sum(report.macs_share(kind) for kind in LayerKind) == pytest.approx(1)
    assert report.not_counted == ()


class Functions(nn.Module):
    """Calls layers as functions, and has others for which the graph has no node."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.ones(8, 3, 1, 1))
        self.matrix = nn.Parameter(torch.ones(8, 8))
        self.up = nn.ConvTranspose2d(8, 4, 3, stride=2)
        self.line = nn.Conv1d(4, 6, 5, padding=2)

    def forward(self, x):
        x = F.conv2d(x, self.kernel, stride=2)
        x = F.linear(x.permute(0, 2, 3, 1), self.matrix).permute(0, 3, 1, 2)
        x = torch.einsum("nchw,cd->ndhw", x, self.matrix)
        y = self.line(self.up(x).flatten(2))
        return y @ y.transpose(1, 2)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_layers_called_as_functions_count(device):
    report = count_cost(Functions().to(device), (1, 3, 9, 9))
    assert [(cost.path, cost.kind, cost.macs, cost.params) for cost in report.layers] == [
        ("", LayerKind.POINTWISE, 25 * 24, 24),
        ("", LayerKind.LINEAR, 25 * 64, 64),
        ("", LayerKind.OTHER, 25 * 64, 64),
        ("up", LayerKind.OTHER, 25 * 8 * 4 * 9, 8 * 4 * 9 + 4),
        ("line", LayerKind.OTHER, 121 * 6 * 4 * 5, 6 * 4 * 5 + 6),
        ("", LayerKind.OTHER, 121 * 36, 0),
    ]
    assert len({cost.name for cost in report.layers}) == 6
    assert (report.params, report.not_counted) == (24 + 64 + 292 + 126, ())


def test_what_has_no_formula_is_named():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.pair = nn.Bilinear(4, 4, 2)

        def forward(self, x):
            x = torch.fft.rfft(x.softmax(-1)).abs()[..., :4]
            return self.pair(x, x).cumsum(-1)

    assert count_cost(Mixed(), (1, 3, 8)).not_counted == (
        "fft_r2c (aten._fft_r2c.default)",
        "pair (aten._trilinear.default)",
        "cumsum (aten.cumsum.default)",
    )


def test_layers_come_in_the_order_in_which_they_run_with_their_shapes():
    class Reversed(nn.Module):
        def __init__(self):
            super().__init__()
            self.second = nn.Linear(4, 2)
            self.first = nn.Conv2d(3, 4, 3, stride=2)

        def forward(self, x):
            return self.second(self.first(x).mean((2, 3)))

    first, second = count_cost(Reversed(), (2, 3, 9, 9)).layers
    assert (first.name, first.path, second.path) == ("first", "first", "second")
    assert (first.input_shape, first.output_shape) == ((2, 3, 9, 9), (2, 4, 4, 4))
    assert (second.input_shape, second.output_shape) == ((2, 4, 1, 1), (2, 2, 1, 1))
    assert first.macs == 2 * 16 * 4 * 27


def test_a_layer_that_runs_twice_counts_twice():
    report = count_cost(Twice(), (1, 4, 3, 3))
    assert [(cost.path, cost.macs) for cost in report.layers] == [("conv", 16 * 9)] * 2
    assert report.params == 20


def test_a_layer_that_does_not_run_is_counted_by_its_parameters_only():
    network = Twice()
    network.unused = nn.Conv2d(4, 4, 1)
    report = count_cost(network, (1, 4, 3, 3))
    assert (report.macs, report.params) == (2 * 16 * 9, 40)
    assert {cost.path for cost in report.layers} == {"conv"}


def test_a_path_that_depends_on_numbers_cannot_be_counted():
    class Choosing(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(ModelError, match=r"^what the model does depends on numbers that depend"):
        count_cost(Choosing(), (1, 4, 3, 3))


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


@pytest.mark.parametrize(
    ("name", "kind", "flops_per_byte"),
    [
        ("resnet50", LayerKind.POINTWISE, 35.7),
        ("resnet50", LayerKind.SPATIAL, 63.2),
        ("mobilenetv2_100", LayerKind.POINTWISE, 14.9),
        ("mobilenetv2_100", LayerKind.DEPTHWISE, 1.7),
        ("efficientnet_lite0", LayerKind.POINTWISE, 16.8),
        ("efficientnet_lite0", LayerKind.DEPTHWISE, 2.8),
    ],
)
def test_intensity_is_half_of_the_flops_for_each_byte_of_inputs_outputs_and_weights(
    name, kind, flops_per_byte
):
    with torch.device("meta"):
        network = timm.create_model(name)
    layers = count_cost(network, (1, 3, 224, 224)).of_kind(kind)
    assert 2 * intensity(layers) == pytest.approx(flops_per_byte, abs=0.05)


def test_1x1s_of_one_network_differ_in_intensity_more_than_fourfold():
    with torch.device("meta"):
        network = build_network(ZOO["resnet50"].config)
    layers = count_cost(network, (1, 3, 224, 224)).of_kind(LayerKind.POINTWISE)
    found = [2 * layer.intensity for layer in layers]
    assert (min(found), max(found)) == pytest.approx((15.8, 70.1), abs=0.05)


def test_bytes_are_those_of_weights_and_of_what_is_read_and_given():
    report = count_cost(nn.Conv2d(3, 5, 3, stride=2, padding=1), (2, 3, 9, 9))
    (layer,) = report.layers
    assert layer.weight_bytes == report.weight_bytes == 4 * (5 * 27 + 5)
    assert layer.bytes_read == 4 * 2 * 3 * 81
    assert layer.bytes_written == 4 * 2 * 5 * 25
    assert layer.intensity == report.intensity == layer.macs / layer.moved_bytes
    assert report.peak_bytes == layer.bytes_read + layer.bytes_written


def test_both_factors_of_a_product_are_read_and_one_that_is_both_is_read_once():
    class Products(nn.Module):
        def forward(self, x, y):
            return (x @ y), (x @ x)

    graph = capture(Products().eval(), (torch.ones(2, 4, 4), torch.ones(2, 4, 4))).graph
    different, same = count_graph(graph, params=0).layers
    assert (different.bytes_read, same.bytes_read) == (4 * 64, 4 * 32)
    assert different.weight_bytes == 0


def test_a_network_without_layers_moves_nothing():
    assert count_cost(nn.ReLU(), (1, 3)).intensity == 0
