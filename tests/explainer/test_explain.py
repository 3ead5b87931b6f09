"""The whole report: of networks that we know, and of every odd kind."""

import json
from collections import Counter

import pytest
import torch
from torch import nn

import onebyone
from onebyone.errors import ModelError, PhotoError, ShapeError
from onebyone.explainer import LayerKind, Role
from onebyone.models import ZOO, build_network

X = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def explain_zoo(name):
    with torch.device("meta"):
        network = build_network(ZOO[name].config)
    side = ZOO[name].input_size
    return onebyone.explain(network, torch.empty(1, 3, side, side, device="meta"), name=name)


def test_resnet50():
    report = explain_zoo("resnet50")
    assert (report.cost.macs, report.cost.params) == (4_089_184_256, 25_557_032)
    roles = Counter(one.role for one in report.pointwise)
    assert roles == {Role.REDUCE: 15, Role.EXPAND: 16, Role.SHORTCUT: 4, Role.MIX: 1}
    text = " ".join(str(report).split())
    assert "36 of its 54 layers are 1x1 convolutions, which do 51.8% of the work" in text
    assert "15 reductions, 16 expansions, 1 mix of equal width and 4 shortcut projections" in text
    assert "two k x k at the outer width 55.5 G 13.6 x" in text


def test_every_layer_has_its_line_once_and_repeats_are_told_once():
    text = str(explain_zoo("resnet50"))
    lines = [line.split() for line in text.splitlines()]
    assert sum(line[:2] == ["1..5", "x5"] for line in lines) == 1
    assert not any(line[:1] == ["2..2"] for line in lines)


def odd_networks():
    class Leaves(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 8, 1), nn.Linear(8, 2)

        def forward(self, x):
            return self.fc(torch.from_numpy(self.conv(x).detach().numpy()).mean((2, 3)))

    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)

        def forward(self, x):
            return self.conv(x) if x.sum() > 0 else self.conv(-x)

    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.conv(self.conv(x).relu())

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 8, 1), nn.Linear(5, 8)

        def forward(self, x, y):
            return self.conv(x) * self.fc(y)[:, :, None, None]

    # What it is, its example, and the number of 1x1s that a report names.
    yield "leaves", Leaves(), X, 1
    yield "looks", Looks(), X, 1
    yield "shared", Shared(), X, 2
    yield "two inputs", Two(), (X, torch.randn(1, 5)), 1
    yield "3-d", nn.Conv3d(3, 4, 1), torch.randn(1, 3, 4, 5, 6), 0
    yield "1-d", nn.Conv1d(3, 4, 1), torch.randn(1, 3, 9), 0
    yield "transposed", nn.ConvTranspose2d(3, 4, 2, stride=2), X, 0
    yield "no 1x1", nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), X, 0
    yield "no layer", nn.ReLU(), X, 0
    yield "function", torch.relu, X, 0
    yield "attention", nn.TransformerEncoderLayer(16, 2, 32), torch.randn(5, 1, 16), 0
    yield "recurrent", nn.LSTM(8, 8), torch.randn(3, 1, 8), 0
    yield "batch", nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()), torch.randn(4, 3, 8, 8), 1


@pytest.mark.parametrize(
    ("network", "example", "pointwise"),
    [pytest.param(*rest, id=name) for name, *rest in odd_networks()],
)
def test_a_network_of_any_kind_has_a_report(network, example, pointwise):
    report = onebyone.explain(network, example)
    assert len(report.pointwise) == pointwise
    assert max(map(len, str(report).splitlines())) <= 100
    content = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert len(content["layers"]) == len(report.cost.layers) == len(report.to_dataframe())
    assert len(content["pointwise"]) == pointwise


def test_json_has_what_is_promised():
    content = explain_zoo("nin_cifar10").to_json()
    assert content["totals"]["macs"] == 222_486_528
    assert content["totals"]["params"] == 966_986
    assert {"name", "role", "pattern", "in_channels", "out_channels"} <= set(
        content["pointwise"][0]
    )
    assert {"name", "macs", "params"} <= set(content["counterfactuals"][0])
    assert content["information"] == content["not_counted"] == []
    assert content["modules"]["macs"] == content["totals"]["macs"]


def test_the_dataframe_has_a_row_for_each_layer():
    report = explain_zoo("resnet18")
    frame = report.to_dataframe()
    assert int(frame["macs"].sum()) == report.cost.macs
    shortcuts = frame.query("role == 'shortcut'")["path"].tolist()
    assert shortcuts == [layer.path for layer in report.cost.of_kind(LayerKind.POINTWISE)]


NETWORK = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 1), nn.ReLU()).eval()


def test_images_show_what_is_kept_and_how_often_it_bends():
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    report = onebyone.explain(NETWORK, X, images=images)
    assert [layer.path for layer in report.information.layers] == ["2"]
    assert report.nonlinearity.changes > 0
    assert [one.path for one in report.specimens] == ["2"]
    assert report.notes == ()
    assert "on the images given" in " ".join(str(report).split())


def test_an_example_of_several_images_is_looked_at_one_by_one():
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    one = onebyone.explain(NETWORK, X, images=images)
    several = onebyone.explain(NETWORK, X.expand(4, 3, 8, 8), images=images)
    assert several.information == one.information
    assert several.cost.macs == 4 * one.cost.macs


def test_time_is_measured_where_it_is_asked_for():
    report = onebyone.explain(NETWORK, X, measure_time=True, threads=1)
    assert [time.name for time in report.speed.layers] == [one.name for one in report.cost.layers]
    assert report.speed.engine_seconds > 0
    assert "compiled, on 1 thread." in " ".join(str(report).split())


def test_what_cannot_be_measured_is_a_note():
    weights = nn.Sequential(nn.Conv2d(3, 2, 1)).eval()
    with torch.no_grad():
        weights[0].weight.fill_(float("nan"))
    two = nn.Sequential(weights, nn.Conv2d(2, 1, 1)).eval()
    report = onebyone.explain(two, X, images=torch.randn(2, 3, 8, 8))
    assert any(note.startswith("information could not be measured: 1: ") for note in report.notes)
    assert "Not read, or only in part" in str(report)


@pytest.mark.parametrize(
    ("model", "example", "options", "error", "message"),
    [
        ("resnet50", X, {}, ModelError, "^`model` must be a network"),
        (NETWORK, [1], {}, ShapeError, "^`example` must be a tensor"),
        (NETWORK, X, {"images": "nowhere"}, PhotoError, "^nowhere: a folder of photos was wanted"),
        (NETWORK, X, {"images": X[0]}, ShapeError, "^`images` must be `.N, C, H, W.`"),
        (nn.Conv2d(1, 1, 1), X[:, :1], {"images": "samples"}, ShapeError, "^photos become inputs"),
    ],
)
def test_wrong_use_is_one_line(model, example, options, error, message):
    with pytest.raises(error, match=message):
        onebyone.explain(model, example, **options)
