"""Edits change the structure they name, to ordinary layers, and nothing else."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from onebyone.errors import ShapeError
from onebyone.nn import PointwiseConv2d, SamePaddingConv2d
from onebyone.nn.edit_network import apply_edit
from onebyone.nn.edits import Factorise, FoldNorm, Narrow
from tests.helpers.checks import check_same
from tests.helpers.oracles import timm

channels = st.sampled_from([1, 2, 7, 8, 9])
forms = st.sampled_from(["reduce", "expand", "bottleneck"])


def around(conv, norm=None):
    """A convolution that lies deeper in a network, in evaluation."""
    inner = nn.Sequential(conv, norm) if norm else nn.Sequential(conv)
    return nn.Sequential(nn.Identity(), inner, nn.ReLU()).to(conv.weight).eval()


def drawn(norm):
    """A norm whose numbers are no start's."""
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(norm.running_var, 0.1, 2.0)
    return norm


def ranks_of(form, conv):
    """The largest ranks of a form."""
    full = {"reduce": (conv.in_channels,), "expand": (conv.out_channels,)}
    return full.get(form, (conv.in_channels, conv.out_channels))


@given(channels, channels, st.sampled_from([1, 3, (3, 2)]), st.integers(1, 2), st.booleans())
def test_a_folded_norm_changes_no_output(n_in, n_out, kernel, stride, bias):
    conv = nn.Conv2d(n_in, n_out, kernel, stride, padding=1, bias=bias)
    before = around(conv, drawn(nn.BatchNorm2d(n_out)))
    after = copy.deepcopy(before)
    apply_edit(after, FoldNorm(conv="1.0", norm="1.1"))
    assert type(after[1][1]) is nn.Identity
    check_same(before, after, torch.randn(2, n_in, 6, 5), terms=9 * n_in + 1)


def test_an_activation_that_a_norm_holds_stays():
    norm = drawn(timm.layers.BatchNormAct2d(5, act_layer=nn.SiLU))
    before = around(nn.Conv2d(3, 5, 3, bias=False), norm)
    after = copy.deepcopy(before)
    apply_edit(after, FoldNorm(conv="1.0", norm="1.1"))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in after.modules())
    check_same(before, after, torch.randn(2, 3, 6, 5), terms=28)


@given(
    channels,
    channels,
    st.sampled_from([1, 3, (1, 2)]),
    st.sampled_from([1, (2, 1)]),
    st.integers(0, 1),
    st.integers(1, 2),
    forms,
    st.data(),
)
def test_factors_give_outputs_of_the_same_shape(
    n_in, n_out, kernel, stride, padding, dilation, form, data
):
    conv = nn.Conv2d(n_in, n_out, kernel, stride, padding, dilation).double()
    network = around(conv)
    ranks = tuple(data.draw(st.integers(1, most)) for most in ranks_of(form, conv))
    x = torch.randn(2, n_in, 9, 8, dtype=torch.float64)
    shape = network(x).shape
    apply_edit(network, Factorise(conv="1.0", form=form, ranks=ranks))
    assert network(x).shape == shape
    assert type(network.get_submodule("1.0")) is nn.Sequential
    factors = list(network.get_submodule("1.0").children())
    assert all(type(factor) is nn.Conv2d for factor in factors)
    assert tuple(factor.out_channels for factor in factors[:-1]) == ranks
    assert [factor.bias is not None for factor in factors] == [False] * len(ranks) + [True]
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float64}


@given(channels, channels, st.booleans(), st.data())
def test_a_narrowed_layer_moves_over_the_image_as_before(n_in, n_out, bias, data):
    network = around(nn.Conv2d(n_in, n_out, (3, 2), (2, 1), (1, 0), (1, 2), bias=bias))
    x = torch.randn(2, n_in, 9, 8)
    shape = network(x).shape
    before, after = data.draw(st.integers(1, n_in)), data.draw(st.integers(1, n_out))
    apply_edit(network, Narrow(conv="1.0", in_channels=before, out_channels=after))
    assert type(network[1][0]) is nn.Conv2d
    assert network(x[:, :before]).shape == (2, after, *shape[2:])


@given(st.integers(2, 9), st.data())
def test_a_depthwise_layer_stays_one(width, data):
    network = around(nn.Conv2d(width, width, 3, groups=width))
    left = data.draw(st.integers(1, width))
    apply_edit(network, Narrow(conv="1.0", in_channels=left, out_channels=left))
    assert network[1][0].groups == left
    assert network[1][0].weight.shape == (left, 1, 3, 3)


@pytest.mark.parametrize("conv", [PointwiseConv2d(6, 8), SamePaddingConv2d(6, 8, 3, stride=2)])
def test_a_narrowed_layer_pads_as_its_kind_does(conv):
    network = around(copy.deepcopy(conv))
    apply_edit(network, Narrow(conv="1.0", in_channels=4, out_channels=5))
    assert type(network[1][0]) is type(conv)
    assert network(torch.randn(1, 4, 7, 7)).shape == (
        1,
        5,
        *conv(torch.randn(1, 6, 7, 7)).shape[2:],
    )


EDITS = [
    FoldNorm(conv="1.0", norm="1.1"),
    Factorise(conv="1.0", form="bottleneck", ranks=(3, 4)),
    Narrow(conv="1.0", in_channels=4, out_channels=5),
]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: type(edit).__name__)
def test_shapes_need_no_numbers(edit):
    network = around(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8))
    with torch.device("meta"):
        empty = around(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8))
    for one in (network, empty):
        apply_edit(one, edit)
    assert all(tensor.is_meta for tensor in empty.state_dict().values())
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    assert {name: tensor.shape for name, tensor in empty.state_dict().items()} == shapes


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: type(edit).__name__)
def test_new_layers_are_in_the_mode_of_the_network_and_others_stay(edit):
    network = around(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8))
    kept = [network[0], network[1], network[2]]
    apply_edit(network, edit)
    assert [network[0], network[1], network[2]] == kept
    assert not any(module.training for module in network.modules())


def test_new_layers_of_a_network_that_learns_learn_too():
    network = around(nn.Conv2d(6, 8, 3)).train()
    apply_edit(network, EDITS[1])
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())


def factors(form="reduce", ranks=(1,), conv="1.0"):
    return Factorise(conv=conv, form=form, ranks=ranks)


@pytest.mark.parametrize(
    ("conv", "edit", "line"),
    [
        (
            nn.Conv2d(6, 8, 3),
            factors(conv="1.7"),
            "1.7: a convolution was wanted here, and the network has nothing of that name",
        ),
        (
            nn.Conv2d(6, 8, 3),
            factors(conv="2"),
            "2: a convolution was wanted here, and the network has a ReLU",
        ),
        (
            nn.Conv2d(6, 8, 3),
            factors(conv="1.0.__class__"),
            "1.0.__class__: a convolution was wanted here, and the network has nothing of that "
            "name",
        ),
        (
            nn.Conv2d(6, 8, 3),
            factors(conv="1.0.weight\n"),
            "1.0.weight\\n: a convolution was wanted here, and the network has nothing of that "
            "name",
        ),
        (
            nn.Conv2d(6, 8, 3),
            factors(conv=""),
            "the network itself: a convolution was wanted here, and the network has a Sequential",
        ),
        (
            nn.Conv2d(6, 8, 3, groups=2),
            factors(),
            "1.0: it has 2 groups, and only one can be factorised",
        ),
        (
            nn.Conv2d(6, 8, 3, padding=1, padding_mode="reflect"),
            factors(),
            "1.0: it pads by reflect, and only zeros can be factorised",
        ),
        (
            nn.Conv2d(6, 8, 3),
            factors("shorten"),
            "1.0: `form` (='shorten') must be one of reduce, expand, bottleneck",
        ),
        (
            nn.Conv2d(6, 8, 3),
            factors("bottleneck"),
            "1.0: `ranks` (=(1,)) must be 2, as the form 'bottleneck' has",
        ),
        (
            nn.Conv2d(6, 8, 3),
            factors("reduce", (7,)),
            "1.0: `ranks` (=(7,)) must be in 1..6",
        ),
        (
            nn.Conv2d(6, 8, 3),
            factors("expand", (0,)),
            "1.0: `ranks` (=(0,)) must be in 1..8",
        ),
        (
            nn.Conv2d(6, 8, 3),
            factors("bottleneck", (6, 10**30)),
            f"1.0: `ranks` (=(6, {10**30})) must be in 1..6 and 1..8",
        ),
        (
            nn.Conv2d(6, 8, 3),
            Narrow(conv="1.0", in_channels=7, out_channels=8),
            "1.0: it is 6 → 8 channels, and cannot be narrowed to 7 → 8",
        ),
        (
            nn.Conv2d(6, 6, 3, groups=6),
            Narrow(conv="1.0", in_channels=3, out_channels=4),
            "1.0: it has 6 groups, and cannot be 3 → 4 channels",
        ),
        (
            nn.Conv2d(6, 8, 3),
            FoldNorm(conv="1.0", norm="2"),
            "1.0: a batch norm was wanted at 2, to be folded into this layer, and the network has "
            "a ReLU",
        ),
        (
            nn.Conv2d(6, 8, 3),
            FoldNorm(conv="1.0", norm="1.0.__dict__"),
            "1.0: a batch norm was wanted at 1.0.__dict__, to be folded into this layer, and the "
            "network has nothing of that name",
        ),
        (
            nn.Conv2d(6, 7, 3),
            FoldNorm(conv="1.0", norm="1.1"),
            "1.0: 1.1 has 8 channels, and this layer gives 7; it cannot be folded into it",
        ),
    ],
)
def test_edits_that_do_not_fit_are_refused_and_change_nothing(conv, edit, line):
    network = around(conv, nn.BatchNorm2d(8))
    before = list(network.modules())
    with pytest.raises(ShapeError) as error:
        apply_edit(network, edit)
    assert str(error.value) == line
    assert list(network.modules()) == before


def test_a_norm_that_still_learns_is_not_folded():
    network = around(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8)).train()
    with pytest.raises(ShapeError, match=r"^1\.0: `conv` and `norm` must be in evaluation mode"):
        apply_edit(network, EDITS[0])


def test_a_network_that_is_one_layer_has_no_place_for_another():
    with pytest.raises(ShapeError, match="^the network itself: it is one layer, .*nn.Sequential$"):
        apply_edit(nn.Conv2d(6, 8, 3), factors(conv=""))
