"""What there is to change in known networks, and the laws of it."""

from collections import Counter

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import onebyone
from onebyone.shrinking.apply import folded_copy
from onebyone.shrinking.survey import survey
from tests.helpers.hidden import check_hidden
from tests.helpers.networks import randomize
from tests.helpers.oracles import timm


def surveyed(build, name, size):
    """The survey of a network without numbers, which covers all of it."""
    with torch.device("meta"):
        network, image = build(name).eval(), torch.empty(1, 3, size, size)
    found = survey(network, image)
    kinds = nn.Conv1d | nn.Conv2d | nn.Linear
    layers = {path for path, one in network.named_modules() if isinstance(one, kinds)}
    paths = [site.path for site in found.sites]
    assert {*paths} | {*found.left_alone} == layers
    assert not {*paths} & {*found.left_alone}
    assert paths == [path for path in found.order if path in paths]
    assert {one.producer for one in found.groups} | {*found.unproven} == {*paths}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    assert found.macs == counter.get_total_flops() // 2
    return found


def words(reasons):
    """How often each reason is given, by its first words; names of layers come later."""
    return Counter(" ".join(why.split()[:3]) for why in reasons)


ADDED, JOINED, LINEAR = "added to another", "joined with other", "read by the"
DEPTHWISE = "depthwise convolution"

# name: size, folds, sites, groups, of which across a depthwise layer, left alone, no group behind
ZOO = {
    "resnet20": (32, 19, 19, 9, 0, {}, {ADDED: 10}),
    "resnet164": (32, 109, 166, 108, 0, {}, {ADDED: 57, "read by 2": 1}),
    "resnet50": (64, 53, 53, 32, 0, {}, {ADDED: 20, "read by 2": 1}),
    "mobilenet_v2": (64, 52, 35, 19, 17, {DEPTHWISE: 17}, {ADDED: 15, LINEAR: 1}),
    "efficientnet_lite0": (
        *(64, 49, 32, 17, 15),
        {DEPTHWISE: 16, "SamePaddingConv2d computes in": 1},
        {ADDED: 14, LINEAR: 1},
    ),
    "googlenet": (64, 57, 57, 20, 0, {}, {JOINED: 36, "read by 4": 1}),
    "googlenet_5x5": (64, 0, 57, 20, 0, {}, {JOINED: 36, "read by 4": 1}),
    "inception_resnet_v2": (
        *(139, 204, 244, 103, 0),
        {},
        {JOINED: 99, ADDED: 40, "read by 4": 1, LINEAR: 1},
    ),
    "nin_cifar10": (32, 0, 9, 8, 0, {}, {"given by the": 1}),
}

# the same of timm's
TIMM = {
    "resnet18": (64, 20, 20, 8, 0, {}, {ADDED: 12}),
    "seresnet18": (64, 20, 36, 16, 0, {}, {"gated": 16, ADDED: 4}),
    "regnetx_002": (
        *(64, 44, 31, 0, 0),
        {f"convolution of {groups}": count for groups, count in {3: 1, 7: 1, 19: 4, 46: 7}.items()},
        {"read by a": 13, ADDED: 17, "read by 2": 1},
    ),
    "mobilenetv3_small_050": (
        *(64, 34, 42, 13, 2),
        {DEPTHWISE: 11},
        {"gated": 18, ADDED: 10, LINEAR: 1},
    ),
    "tf_efficientnet_lite0": (
        *(64, 49, 32, 17, 15),
        {DEPTHWISE: 16, "Conv2dSame computes in": 1},
        {ADDED: 14, LINEAR: 1},
    ),
    "resnetv2_50": (64, 32, 54, 32, 0, {}, {ADDED: 20, "read by a": 1, "given by the": 1}),
    "convnext_atto": (
        *(64, 0, 28, 12, 0),
        {DEPTHWISE: 12},
        {"combined with a": 12, "read by a": 4},
    ),
    "nf_resnet26": (64, 0, 0, 0, 0, {"ScaledStdConv2d computes in": 29}, {}),
    "densenet121": (64, 59, 120, 58, 0, {}, {JOINED: 62}),
    "coat_lite_tiny": (224, 0, 4, 0, 0, {DEPTHWISE: 16}, {"read by a": 4}),
}


def check_survey(found, expected):
    folds, sites, groups, across, left_alone, unproven = expected
    assert (len(found.folds), len(found.sites), len(found.groups)) == (folds, sites, groups)
    assert sum(bool(group.depthwise) for group in found.groups) == across
    assert words(found.left_alone.values()) - Counter({"linear layer": 99}) == left_alone
    assert words(found.unproven.values()) == unproven
    assert found.notes == ()


@pytest.mark.parametrize("name", ZOO)
def test_the_zoo(name):
    size, *expected = ZOO[name]
    check_survey(surveyed(onebyone.create_model, name, size), expected)


@pytest.mark.parametrize("name", TIMM)
def test_networks_of_timm(name):
    size, *expected = TIMM[name]
    check_survey(surveyed(timm.create_model, name, size), expected)


def unfolded(found):
    """What a survey says of widths, whether norms are folded or not."""
    groups = [(one.producer, one.consumer, len(one.depthwise)) for one in found.groups]
    return groups, [site.path for site in found.sites], found.unproven, found.macs


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (onebyone.create_model, "resnet18"),
        (onebyone.create_model, "efficientnet_lite0"),
        (timm.create_model, "mobilenetv3_small_050"),
        (timm.create_model, "resnetv2_18"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
@torch.no_grad()
def test_norms_are_folded_and_the_rest_is_as_before(build, name):
    network, images = build(name), torch.randn(2, 3, 64, 64)
    randomize(network, 64)
    found = survey(network, images)
    folded = folded_copy(network, found.folds)
    expected = network(images)
    torch.testing.assert_close(folded(images), expected, rtol=0, atol=1e-4 * expected.abs().max())
    again = survey(folded, images)
    assert again.folds == ()
    assert unfolded(again) == unfolded(found)


def test_the_groups_of_blocks():
    found = surveyed(onebyone.create_model, "resnet50", 64)
    named = {(group.producer, group.consumer, group.channels) for group in found.groups}
    assert {
        ("layer2.0.conv1", "layer2.0.conv2", 128),
        ("layer2.0.conv2", "layer2.0.conv3", 128),
    } < named
    found = surveyed(onebyone.create_model, "mobilenet_v2", 64)
    (group,) = (one for one in found.groups if one.producer == "blocks.1.0.conv_pw")
    (between,) = group.depthwise
    assert (between.path, between.stride, between.groups) == ("blocks.1.0.conv_dw", (2, 2), 96)
    assert (group.consumer, group.channels) == ("blocks.1.0.conv_pwl", 96)


@pytest.mark.parametrize(
    ("build", "name", "size"),
    [
        (onebyone.create_model, "resnet20", 32),
        (onebyone.create_model, "efficientnet_lite0", 64),
        (onebyone.create_model, "googlenet", 64),
        (timm.create_model, "mobilenetv3_small_050", 64),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_nobody_else_knows_of_hidden_channels(build, name, size):
    network, images = build(name).eval(), torch.randn(1, 3, size, size)
    randomize(network, size)
    found = survey(network, images)
    for group in found.groups[:: max(1, len(found.groups) // 3)]:
        check_hidden(network, group, found.folds, images)
