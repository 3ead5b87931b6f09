"""The survey: what may change, what not, and why; and that hidden widths are hidden."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

import onebyone
from onebyone.errors import UnknownNameError
from onebyone.nn.edits import FoldNorm
from onebyone.shrinking.apply import folded_copy
from onebyone.shrinking.survey import survey
from tests.helpers.oracles import timm
from tests.shrinking.networks import block_network

IMAGE = torch.randn(1, 3, 8, 8)


def surveyed(network, example=IMAGE, keep=()):
    return survey(network.eval(), example, keep)


@pytest.mark.parametrize(
    ("name", "size", "sites", "groups"),
    [
        ("resnet20", 32, 19, 9),
        ("resnet50", 64, 53, 32),
        ("mobilenet_v2", 64, 35, 19),
        ("efficientnet_lite0", 64, 32, 17),
        ("googlenet", 64, 57, 20),
        ("inception_resnet_v2", 139, 244, 103),
    ],
)
def test_the_zoo(name, size, sites, groups):
    with torch.device("meta"):
        network = onebyone.create_model(name).eval()
    found = survey(network, torch.empty(1, 3, size, size, device="meta"))
    assert len(found.sites) == sites
    convs = sum(isinstance(one, nn.Conv2d | nn.Linear) for one in network.modules())
    assert len(found.sites) + len(found.left_alone) == convs
    folded = folded_copy(network, found.folds)
    images = torch.empty(1, 3, size, size, device="meta")
    assert len(survey(folded, images).groups) == groups


def test_batch_norms_are_folded_and_the_network_does_the_same():
    network, images = block_network(), torch.randn(4, 3, 8, 8)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = survey(network, images[:1])
    assert FoldNorm(conv="3.conv1", norm="3.bn1") in found.folds
    assert len(found.folds) == 6
    folded = folded_copy(network, found.folds)
    torch.testing.assert_close(folded(images), network(images), rtol=1e-4, atol=1e-5)
    assert not any(isinstance(one, nn.BatchNorm2d) for one in folded.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_groups_of_blocks():
    network = block_network()
    found = survey(folded_copy(network, survey(network, IMAGE).folds), IMAGE)
    shown = [(one.producer, [s.path for s in one.depthwise], one.consumer) for one in found.groups]
    assert shown == [
        ("3.conv1", [], "3.conv2"),
        ("4.expand", ["4.depthwise"], "4.project"),
    ]
    assert found.left_alone == {"4.depthwise": "a depthwise layer", "7": "linear layers are left"}
    assert found.unproven["3.conv2"] == "a sum or a product reads it"


def permuted(network, group, order):
    """The same network with the channels of a hidden width in another order."""
    changed = folded_copy(network, ())
    for path in (group.producer, *(site.path for site in group.depthwise)):
        layer = changed.get_submodule(path)
        layer.weight.data = layer.weight.data[order]
        layer.bias.data = layer.bias.data[order]
    consumer = changed.get_submodule(group.consumer)
    consumer.weight.data = consumer.weight.data[:, order]
    return changed


NETWORKS = {
    "blocks": (block_network, (3, 8, 8)),
    "resnet20": (lambda: onebyone.create_model("resnet20"), (3, 32, 32)),
    "resnet164": (lambda: onebyone.create_model("resnet164"), (3, 32, 32)),
    "mobilenet_v2": (lambda: onebyone.create_model("mobilenet_v2"), (3, 64, 64)),
    "efficientnet_lite0": (lambda: onebyone.create_model("efficientnet_lite0"), (3, 64, 64)),
    "googlenet": (lambda: onebyone.create_model("googlenet"), (3, 64, 64)),
}


def check_hidden(network, group, images, order):
    """Nothing but the group's layers knows of its channels' order."""
    torch.testing.assert_close(
        permuted(network, group, order)(images), network(images), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_nobody_else_knows_the_order_of_hidden_channels(name):
    build, shape = NETWORKS[name]
    torch.manual_seed(0)
    network, images = build().eval(), torch.randn(2, *shape)
    network = folded_copy(network, survey(network, images[:1]).folds)
    groups = survey(network, images[:1]).groups
    assert groups
    network, images = network.double(), images.double()
    for group in groups[:: max(1, len(groups) // 6)]:
        check_hidden(network, group, images, torch.randperm(group.channels))


@torch.no_grad()
def test_check_hidden_sees_a_width_that_somebody_else_reads():
    network = block_network()
    network = folded_copy(network, survey(network, IMAGE).folds)
    group = survey(network, IMAGE).groups[0]
    planted = type(group)(producer="0", depthwise=(), consumer="3.conv1", channels=16)
    with pytest.raises(AssertionError):
        check_hidden(network, planted, IMAGE, torch.arange(16).flip(0))


class Padded(nn.Conv2d):
    """Pads as it likes."""

    def forward(self, input):
        return super().forward(F.pad(input, (1, 0, 1, 0)))


class Standardised(nn.Conv2d):
    """Changes its weights before it uses them."""

    def forward(self, input):
        return self._conv_forward(input, self.weight - self.weight.mean(), self.bias)


class Twice(nn.Module):
    """Runs one layer twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.conv(torch.relu(self.conv(x)))


class Two(nn.Module):
    """Has two layers that are one, or share their weights."""

    def __init__(self, *, is_one):
        super().__init__()
        self.a = nn.Conv2d(3, 3, 1)
        self.b = self.a if is_one else nn.Conv2d(3, 3, 1)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))


class Idle(nn.Module):
    """Has a layer that does not run."""

    def __init__(self):
        super().__init__()
        self.used, self.idle = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.used(x)


def listened():
    conv = nn.Conv2d(3, 4, 3)
    conv.register_forward_hook(lambda *_: None)
    return conv


LEFT = {
    "depthwise": (nn.Conv2d(3, 3, 3, groups=3), "a depthwise layer"),
    "groups": (nn.Conv2d(6, 4, 3, groups=2), "its channels are in groups"),
    "reflect": (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), "it pads by reflect"),
    "same": (nn.Conv2d(3, 4, 3, padding="same"), "it pads in a way of its own"),
    "padded": (Padded(3, 4, 3), "it does more than to convolve"),
    "standardised": (Standardised(3, 4, 3), "its weights are changed before they are used"),
    "parametrised": (
        parametrizations.weight_norm(nn.Conv2d(3, 4, 3)),
        "its weights are computed from others (parametrised)",
    ),
    "transposed": (nn.ConvTranspose2d(3, 4, 3), "only 2-d convolutions are changed"),
    "hooks": (listened(), "it has hooks"),
}


@pytest.mark.parametrize("name", LEFT)
def test_layers_are_left_alone_for_a_reason(name):
    layer, why = LEFT[name]
    network = nn.Sequential(layer)
    channels = layer.in_channels
    assert surveyed(network, torch.randn(1, channels, 8, 8)).left_alone == {"0": why}


@pytest.mark.parametrize(
    ("network", "left"),
    [
        (Twice(), {"conv": "it runs more than once"}),
        (Two(is_one=True), dict.fromkeys("ab", "the network holds it under two names")),
        (Two(is_one=False), dict.fromkeys("ab", "it shares its weights with another layer")),
        (Idle(), {"idle": "the example does not run it as a convolution of its weights"}),
    ],
    ids=["twice", "one", "shared", "idle"],
)
def test_networks_with_such_layers_leave_them_alone(network, left):
    assert surveyed(network).left_alone == left


def test_what_is_to_be_kept_is_left_alone():
    found = surveyed(block_network(), keep=["3", "4.expand"])
    kept = {path for path, why in found.left_alone.items() if why == "to be kept"}
    assert kept == {"3.conv1", "3.conv2", "4.expand"}


def test_an_unknown_name_to_keep_is_told():
    with pytest.raises(UnknownNameError, match=r"^no layer '3.conv' to keep; did you mean '3.conv"):
        surveyed(block_network(), keep=["3.conv"])


class Gate(nn.Module):
    """A squeeze-and-excitation between two layers."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 8, 1)
        self.gate = nn.Conv2d(16, 16, 1)

    def forward(self, x):
        y = torch.relu(self.a(x))
        return self.b(y * torch.sigmoid(self.gate(y.mean((2, 3), keepdim=True))))


class Joined(nn.Module):
    """Two branches that are joined."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (
            nn.Conv2d(3, 8, 1),
            nn.Conv2d(3, 8, 3, padding=1),
            nn.Conv2d(16, 4, 1),
        )

    def forward(self, x):
        return self.c(torch.cat([self.a(x), self.b(x)], 1))


@pytest.mark.parametrize(
    ("network", "path", "why"),
    [
        (Gate(), "a", "several layers read it"),
        (Gate(), "b", "the network gives it"),
        (Joined(), "a", "a concatenation reads it"),
        (nn.Sequential(nn.Conv2d(3, 8, 1), nn.Flatten(), nn.Linear(512, 2)), "0", "a flattening"),
    ],
    ids=["gate", "end", "joined", "flat"],
)
def test_widths_that_others_know_of_are_unproven(network, path, why):
    found = surveyed(network)
    assert why in found.unproven[path]
    assert path not in {group.producer for group in found.groups}


def test_pools_and_borders_lie_within_a_width():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.ZeroPad2d(1), nn.Conv2d(8, 4, 3)
    )
    (group,) = surveyed(network).groups
    assert (group.producer, group.consumer, group.channels) == ("0", "4", 8)


class Looks(nn.Module):
    """Leaves PyTorch in the middle."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        return self.b(torch.from_numpy(self.a(x).detach().numpy()))


def test_networks_that_cannot_be_followed_have_sites_only():
    found = surveyed(Looks())
    assert [site.path for site in found.sites] == ["a", "b"]
    assert not found.groups
    assert found.notes


@pytest.mark.parametrize(
    "name", ["resnet18", "efficientnet_b0", "regnetx_002", "mobilenetv3_small_100"]
)
@torch.no_grad()
def test_networks_of_timm(name):
    torch.manual_seed(0)
    network = timm.create_model(name).eval()
    images = torch.randn(2, 3, 64, 64)
    found = survey(network, images[:1])
    assert found.sites
    folded = folded_copy(network, found.folds)
    assert len(found.folds) == sum(isinstance(one, nn.BatchNorm2d) for one in network.modules())
    torch.testing.assert_close(folded(images), network(images), rtol=1e-3, atol=1e-4)


def test_macs_are_those_of_one_image():
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1))
    assert surveyed(network, torch.randn(5, 3, 8, 8)).macs == 64 * (24 + 32)
    assert surveyed(network).macs == 64 * (24 + 32)


def test_sites_come_in_the_order_in_which_they_run():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Conv2d(8, 4, 1), nn.Conv2d(3, 8, 1)

        def forward(self, x):
            return self.last(self.first(x))

    assert [site.path for site in surveyed(Backwards()).sites] == ["first", "last"]
