"""Hidden groups: proven by two laws, and each reason why a width is none."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from onebyone.nn import SamePaddingConv2d
from onebyone.shrinking.hidden import HiddenGroup
from onebyone.shrinking.survey import survey
from tests.helpers.hidden import check_hidden

IMAGES = torch.randn(2, 3, 8, 8)


class Between(nn.Module):
    """A producer of 6 channels, something between, and a consumer."""

    def __init__(self, between, consumer=None):
        super().__init__()
        self.producer = nn.Conv2d(3, 6, 1)
        self.between = between
        self.consumer = consumer or nn.LazyConv2d(2, 1)
        self.eval()
        self(IMAGES)

    def forward(self, x):
        return self.consumer(self.between(self.producer(x)))


class Do(nn.Module):
    """Do what a function does."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.function(self, x)


def depthwise(**options):
    return nn.Conv2d(6, 6, 3, groups=6, padding=1, **options)


PROVEN = {
    "nothing": nn.Identity,
    "relu": nn.ReLU,
    "norm": lambda: nn.Sequential(nn.BatchNorm2d(6), nn.ReLU6(inplace=True)),
    "elu": nn.ELU,
    "softplus": nn.Softplus,
    "prelu": nn.PReLU,
    "mish": nn.Mish,
    "swish": lambda: Do(lambda _, x: x * torch.sigmoid(x)),
    "scaled": lambda: Do(lambda _, x: 1 - 0.5 * x),
    "plane": lambda: Do(lambda _, x: x + torch.arange(8.0)),
    "own mean": lambda: Do(lambda _, x: x * x.mean((2, 3), keepdim=True)),
    "twice": lambda: Do(lambda _, x: F.relu(x) + F.relu(-x)),
    "residual": lambda: Do(lambda self, x: x + self.dw(x), dw=depthwise()),
    "max pool": lambda: nn.MaxPool2d(3, stride=2, padding=1),
    "dilated pool": lambda: nn.MaxPool2d(2, dilation=2),
    "average": lambda: nn.AvgPool2d(2, count_include_pad=False),
    "global": lambda: nn.AdaptiveAvgPool2d(1),
    "adaptive": lambda: nn.AdaptiveMaxPool2d(3),
    "zeros": lambda: nn.ZeroPad2d((1, 0, 2, 0)),
    "ones": lambda: nn.ConstantPad2d(1, 1.0),
    "reflection": lambda: nn.ReflectionPad2d(1),
    "cut": lambda: Do(lambda _, x: x[:, :, 1:, ::2]),
    "nearest": lambda: nn.Upsample(scale_factor=2),
    "bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "bicubic": lambda: nn.Upsample(scale_factor=2, mode="bicubic"),
    "dropout": lambda: nn.Sequential(nn.Dropout2d(0.5), nn.ReLU(), nn.Dropout(0.5)),
    "depthwise": lambda: nn.Sequential(nn.ReLU(), depthwise(bias=False), nn.BatchNorm2d(6)),
    "padded": lambda: SamePaddingConv2d(6, 6, 3, stride=2, groups=6, bias=False),
    "two": lambda: nn.Sequential(depthwise(), nn.ReLU(), depthwise(stride=2, dilation=1)),
}


@pytest.mark.parametrize("name", PROVEN)
def test_what_treats_each_channel_by_itself_may_stand_between(name):
    network = Between(PROVEN[name]())
    found = survey(network, IMAGES)
    (group,) = found.groups
    assert (group.producer, group.consumer, group.channels) == ("producer", "consumer", 6)
    between = [path for path, one in network.named_modules() if isinstance(one, nn.Conv2d)][1:-1]
    assert [site.path for site in group.depthwise] == between
    assert all(site.groups == site.out_channels == 6 for site in group.depthwise)
    assert found.unproven == {"consumer": "given by the network"}
    check_hidden(network, group, found.folds, IMAGES)


class Squeeze(nn.Module):
    def __init__(self):
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1)

    def forward(self, x):
        y = F.relu(self.reduce(x.mean((2, 3), keepdim=True)))
        return x * torch.sigmoid(self.expand(y))


REFUSED = {
    "sum": (
        lambda: Do(lambda self, x: x + self.conv(x), conv=nn.Conv2d(6, 6, 1)),
        "added to another map",
    ),
    "gate": (Squeeze, "gated"),
    "concat": (lambda: Do(lambda _, x: torch.cat([x, x], 1)), "joined with other maps"),
    "slice": (lambda: Do(lambda _, x: x[:, :3]), "divided"),
    "shuffle": (lambda: nn.ChannelShuffle(2), "shuffled"),
    "flatten": (lambda: Do(lambda _, x: x.flatten(1)[:, :, None, None]), "flattened"),
    "softmax": (lambda: nn.Softmax2d(), "read by a softmax"),
    "scale": (
        lambda: Do(lambda _, x: x * torch.arange(6.0)[:, None, None]),
        "combined with a constant for each channel",
    ),
    "slopes": (lambda: nn.PReLU(6), "read by _prelu_kernel"),
    "group norm": (lambda: nn.GroupNorm(2, 6), "read by native_group_norm"),
    "mean": (lambda: Do(lambda _, x: x - x.mean(1, keepdim=True)), "read by mean"),
    "flip": (lambda: Do(lambda _, x: x.flip(1)), "read by flip"),
    "norm": (
        lambda: nn.Sequential(nn.ReLU(), nn.BatchNorm2d(6)),
        "read by a batch norm that cannot be folded",
    ),
    "groups": (
        lambda: nn.Conv2d(6, 6, 1, groups=2),
        "read by a convolution of groups",
    ),
    "several each": (
        lambda: nn.Conv2d(6, 12, 1, groups=6),
        "read by a convolution of groups",
    ),
    "function": (
        lambda: Do(lambda _, x: F.conv2d(x, torch.ones(6, 1, 1, 1), groups=6)),
        "read by a depthwise convolution that is no layer of its own numbers",
    ),
    "same": (
        lambda: nn.Conv2d(6, 6, 3, groups=6, padding="same"),
        "read by a depthwise convolution that must stay: pads by a word, 'same'",
    ),
    "readers": (
        lambda: Do(
            lambda self, x: self.a(x) + self.b(x), a=nn.Conv2d(6, 2, 1), b=nn.Conv2d(6, 2, 1)
        ),
        "read by 2 layers: between.a, between.b",
    ),
    "transposed": (lambda: nn.ConvTranspose2d(6, 2, 1), "read by convolution"),
    "left alone": (
        lambda: SamePaddingConv2d(6, 2, 3),
        "read by between, which is left alone",
    ),
    "linear": (
        lambda: Do(lambda self, x: self.fc(x.mean((2, 3)))[..., None, None], fc=nn.Linear(6, 2)),
        "read by the linear layer between.fc",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_width_that_others_know_of_is_no_group(name):
    make, why = REFUSED[name]
    found = survey(Between(make()), IMAGES)
    assert found.unproven["producer"] == why
    assert "producer" not in {group.producer for group in found.groups}
    grouped = [group.producer for group in found.groups]
    assert sorted([*grouped, *found.unproven]) == sorted(site.path for site in found.sites)


def test_what_the_network_gives_is_no_group():
    class Gives(Between):
        def forward(self, x):
            x = self.producer(x)
            return self.consumer(x), F.relu(x)

    assert survey(Gives(nn.Identity()), IMAGES).unproven["producer"] == "given by the network"


def test_one_channel_cannot_be_fewer():
    network = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU(), nn.Conv2d(1, 2, 1))
    assert survey(network, IMAGES).unproven["0"] == "one channel"


def test_only_float32_is_read():
    network = Between(nn.ReLU()).double()
    found = survey(network, IMAGES.double())
    assert found.unproven == dict.fromkeys(["producer", "consumer"], "not computed in float32")
    assert found.macs == 64 * (3 * 6 + 6 * 2)


@pytest.mark.parametrize(
    ("path", "why"),
    [("1", "seen by a hook on 1"), ("0", "seen by a hook on 0"), ("", None)],
)
def test_a_hook_on_the_way_sees_a_width(path, why):
    network = nn.Sequential(
        nn.Sequential(nn.Sequential(nn.Conv2d(3, 6, 1)), nn.ReLU()), nn.ReLU(), nn.Conv2d(6, 2, 1)
    )
    network.get_submodule(path).register_forward_hook(lambda *_: None)
    assert survey(network, IMAGES).unproven.get("0.0.0") == why


@pytest.mark.parametrize("path", ["producer", "between", "between.1", "consumer", ""])
def test_what_is_kept_keeps_its_widths(path):
    network = Between(nn.Sequential(nn.ReLU(), depthwise()))
    assert len(survey(network, IMAGES).groups) == 1
    assert survey(network, IMAGES, keep=[path]).groups == ()


WORDS = {
    "relu": nn.ReLU,
    "conv": lambda: nn.Conv2d(4, 4, 3, padding=1),
    "norm": lambda: nn.BatchNorm2d(4),
    "depthwise": lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4),
    "pool": lambda: nn.MaxPool2d(3, stride=1, padding=1),
    "swish": lambda: Do(lambda _, x: x * torch.sigmoid(x)),
    "gate": lambda: Do(lambda _, x: x * torch.sigmoid(x.mean((2, 3), keepdim=True))),
    "residual": lambda: Do(
        lambda self, x: x + self.b(F.relu(self.a(x))), a=nn.Conv2d(4, 6, 1), b=nn.Conv2d(6, 4, 1)
    ),
    "mean": lambda: Do(lambda _, x: x + x.mean(1, keepdim=True)),
    "join": lambda: Do(lambda _, x: torch.cat([x[:, 2:], x[:, :2]], 1)),
    "shuffle": lambda: nn.ChannelShuffle(2),
    "flip": lambda: Do(lambda _, x: x.flip(1)),
}


@settings(max_examples=25)
@given(st.lists(st.sampled_from(sorted(WORDS)), min_size=1, max_size=7))
def test_every_group_of_any_chain_is_one(words):
    layers = [WORDS[word]() for word in words]
    network = nn.Sequential(nn.Conv2d(3, 4, 1), *layers, nn.Conv2d(4, 2, 1)).eval()
    found = survey(network, IMAGES)
    for group in found.groups:
        check_hidden(network, group, found.folds, IMAGES)
    assert len(found.groups) + len(found.unproven) == len(found.sites)


FAULTS = {
    "order": lambda: Do(lambda _, x: x * torch.arange(6.0)[:, None, None]),
    "mean": lambda: Do(lambda _, x: x + x.mean(1, keepdim=True)),
    "norm": lambda: nn.Sequential(nn.ReLU(), nn.BatchNorm2d(6)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_check_hidden_sees_who_else_reads_a_width(name):
    network = Between(FAULTS[name]())
    if name == "norm":
        nn.init.uniform_(network.between[1].bias)
    planted = HiddenGroup(producer="producer", depthwise=(), consumer="consumer", channels=6)
    with pytest.raises(AssertionError):
        check_hidden(network, planted, (), IMAGES)
