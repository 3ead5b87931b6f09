"""Which convolutions may be changed, and each reason to leave one alone."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune

from onebyone.nn import PointwiseConv2d, SamePaddingConv2d
from onebyone.shrinking.sites import Site
from onebyone.shrinking.survey import survey

IMAGE = torch.randn(1, 3, 8, 8)


def network_of(conv, network=nn.Sequential):
    """A network in which one layer stands among others."""
    return network(nn.Conv2d(3, 6, 1), conv, nn.AdaptiveAvgPool2d(1))


def reason(conv, **options):
    """Why the second layer of a network is left alone; None if it is a site."""
    found = survey(network_of(conv), IMAGE, **options)
    assert {site.path for site in found.sites} | {*found.left_alone} == {"0", "1"}
    assert "0" not in found.left_alone
    return found.left_alone.get("1")


def test_a_site_says_how_a_convolution_runs():
    conv = nn.Conv2d(6, 4, (3, 1), stride=(2, 1), padding=(1, 0), dilation=(1, 2), bias=False)
    assert survey(network_of(conv), IMAGE.expand(5, -1, -1, -1)).sites[1] == Site(
        path="1",
        in_channels=6,
        out_channels=4,
        kernel_size=(3, 1),
        stride=(2, 1),
        padding=(1, 0),
        dilation=(1, 2),
        has_bias=False,
        in_shape=(1, 6, 8, 8),
        out_shape=(1, 4, 4, 8),
    )


def test_macs_are_pytorchs():
    from torch.utils.flop_counter import FlopCounterMode

    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=2, dilation=2), nn.Conv2d(8, 6, (1, 3)), nn.Flatten()
    )
    found = survey(network, IMAGE.expand(4, -1, -1, -1))
    with FlopCounterMode(display=False) as counter:
        network(IMAGE)
    assert found.macs == sum(site.macs for site in found.sites) == counter.get_total_flops() // 2


@pytest.mark.parametrize(
    "conv", [PointwiseConv2d(6, 4), nn.Conv2d(6, 4, 1).double(), nn.Conv2d(6, 1, 3)]
)
def test_ordinary_convolutions_are_sites(conv):
    network = network_of(conv).to(conv.weight.dtype)
    assert [site.path for site in survey(network, IMAGE.to(conv.weight.dtype)).sites] == ["0", "1"]


class Standardised(nn.Conv2d):
    def forward(self, input):
        return self._conv_forward(input, self.weight - self.weight.mean(), self.bias)


def with_own_forward():
    conv = nn.Conv2d(6, 4, 1)
    conv.forward = lambda x: F.conv2d(x, conv.weight)
    return conv


def hooked(register):
    conv = nn.Conv2d(6, 4, 1)
    register(conv)
    return conv


def nothing(*_):
    """A user's hook."""


@pytest.mark.parametrize(
    ("conv", "why"),
    [
        (nn.Conv2d(6, 6, 3, groups=6), "depthwise convolution"),
        (nn.Conv2d(6, 4, 3, groups=2), "convolution of 2 groups"),
        (nn.ConvTranspose2d(6, 4, 3), "transposed convolution"),
        (SamePaddingConv2d(6, 4, 3), "SamePaddingConv2d computes in its own way"),
        (Standardised(6, 4, 3), "Standardised computes in its own way"),
        (with_own_forward(), "Conv2d computes in its own way"),
        (
            nn.Conv2d(6, 4, 3, padding=1, padding_mode="reflect"),
            "pads by 'reflect', not with zeros",
        ),
        (nn.Conv2d(6, 4, 3, padding="same"), "pads by a word, 'same'"),
        (parametrizations.weight_norm(nn.Conv2d(6, 4, 3)), "its weight is parametrised"),
        (prune.random_unstructured(nn.Conv2d(6, 4, 3), "weight", 0.5), "its weight is computed"),
        (hooked(lambda conv: conv.register_forward_hook(nothing)), "has a hook"),
        (hooked(lambda conv: conv.register_forward_pre_hook(nothing)), "has a hook"),
        (hooked(lambda conv: conv.register_full_backward_hook(nothing)), "has a hook"),
        (hooked(lambda conv: conv.weight.register_hook(nothing)), "has a hook"),
    ],
)
def test_what_is_not_ordinary_is_left_alone(conv, why):
    assert reason(conv).startswith(why)


def test_old_weight_norm_is_left_alone():
    with pytest.warns(FutureWarning):
        conv = nn.utils.weight_norm(nn.Conv2d(6, 4, 3))
    assert reason(conv) == "its weight is computed from others"


def test_what_is_kept_is_left_alone():
    assert reason(nn.Conv2d(6, 4, 1), keep=["1"]) == "named in `keep`"
    blocks = nn.Sequential(network_of(nn.Conv2d(6, 4, 1)), nn.Conv2d(4, 2, 1))
    found = survey(blocks, IMAGE, keep=["0"])
    assert found.left_alone == dict.fromkeys(["0.0", "0.1"], "named in `keep`")


class Parts(nn.Module):
    """Layers, and what is done with them."""

    def __init__(self, forward, **layers):
        super().__init__()
        self._do = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self._do(self, x)


def conv():
    return nn.Conv2d(3, 3, 1)


def tied():
    first, second = conv(), conv()
    second.weight = first.weight
    return Parts(lambda self, x: self.b(self.a(x)), a=first, b=second)


def elsewhere():
    network = Parts(lambda self, x: self.others[0](x), a=conv())
    network.others = [network.a]
    return network


ONE = conv()

NETWORKS = {
    "twice": (Parts(lambda self, x: self.a(self.a(x)), a=conv()), {"a": "runs 2 times"}),
    "idle": (Parts(lambda self, x: self.a(x), a=conv(), b=conv()), {"b": "does not run"}),
    "one": (
        Parts(lambda self, x: self.b(self.a(x)), a=ONE, b=ONE),
        {"a": "the same layer as b"},
    ),
    "tied": (tied(), {"a": "shares its weight with b", "b": "shares its weight with a"}),
    "elsewhere": (elsewhere(), {"a": "the network calls it by another way than its name"}),
    "asked": (
        Parts(lambda self, x: self.a(x) * self.a.out_channels, a=conv()),
        {"a": "the network asks for its `out_channels`"},
    ),
    "weight": (
        Parts(lambda self, x: F.conv2d(x, self.a.weight), a=conv()),
        {"a": "the network asks for its `weight`"},
    ),
    "function": (
        Parts(lambda self, x: F.conv2d(x, torch.ones(3, 3, 1, 1)), a=nn.Identity()),
        {"convolution": "computed by a function, not by a layer"},
    ),
    "linear": (
        Parts(lambda self, x: self.b(self.a(x).mean((2, 3))), a=conv(), b=nn.Linear(3, 2)),
        {"b": "linear layer"},
    ),
    "line": (
        Parts(lambda self, x: self.b(self.a(x).flatten(2)), a=conv(), b=nn.Conv1d(3, 2, 1)),
        {"b": "1-d convolution"},
    ),
    "volume": (
        Parts(lambda self, x: self.b(self.a(x)[:, :, None]), a=conv(), b=nn.Conv3d(3, 2, 1)),
        {"b": "3-d convolution"},
    ),
    "no batch": (
        Parts(lambda self, x: self.a(x[0]), a=conv()),
        {"a": "reads 3 dimensions, not (N, C, H, W)"},
    ),
    "whole": (conv(), {"": "the network is nothing else"}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_how_a_network_uses_layers_may_bind_them(name):
    network, left = NETWORKS[name]
    found = survey(network, IMAGE)
    assert found.left_alone == left
    sites = {path for path, one in network.named_modules() if isinstance(one, nn.Conv2d)} - {*left}
    assert {site.path for site in found.sites} == sites


def test_sites_come_in_the_order_in_which_they_run():
    network = Parts(lambda self, x: self.a(self.b(x)), a=nn.Conv2d(4, 2, 1), b=nn.Conv2d(3, 4, 1))
    found = survey(network, IMAGE)
    assert [site.path for site in found.sites] == ["b", "a"] == [*found.order]


def test_half_precision_is_left_alone():
    found = survey(network_of(nn.Conv2d(6, 4, 1)).bfloat16(), IMAGE.bfloat16())
    assert found.left_alone == dict.fromkeys(["0", "1"], "its weight is bfloat16")
