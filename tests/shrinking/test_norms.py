"""Which batch norms can be folded: what is proven stays the same network, all else is refused."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from onebyone.nn import SamePaddingConv2d, fold_batch_norm
from onebyone.nn.edits import FoldNorm
from onebyone.shrinking.survey import survey
from tests.helpers.oracles import timm

IMAGES = torch.randn(2, 3, 8, 8)


def trained(*layers):
    """Layers behind each other, whose norms have numbers that are no start's."""
    network = nn.Sequential(*layers)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            for parameter in module.parameters():
                nn.init.uniform_(parameter, 0.5, 1.5)
    network.train()
    network(IMAGES)
    return network.eval()


def folds_of(*layers, **options):
    """The folds of layers behind each other, by path."""
    found = survey(nn.Sequential(*layers), IMAGES, **options).folds
    return {fold.conv: fold.norm for fold in found}


def check_folds(network, folds):
    """Folded, a network gives what it gave."""
    folded = copy.deepcopy(network)
    for fold in folds:
        conv, norm = map(folded.get_submodule, (fold.conv, fold.norm))
        folded.set_submodule(fold.conv, fold_batch_norm(conv, norm))
        folded.set_submodule(fold.norm, nn.Sequential(*norm.children()))
    with torch.no_grad():
        torch.testing.assert_close(folded(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)


class Standardised(nn.Conv2d):
    def forward(self, input):
        return self._conv_forward(input, self.weight - self.weight.mean(), self.bias)


class Biasless(nn.Conv2d):
    def forward(self, input):
        return self._conv_forward(input, self.weight, None)


class Own(nn.BatchNorm2d):
    """Does something besides by itself."""

    def forward(self, input):
        return torch.relu(super().forward(input))


class Child(nn.BatchNorm2d):
    """Does something besides by a child."""

    def __init__(self, channels):
        super().__init__(channels)
        self.act = nn.ReLU()

    def forward(self, input):
        return self.act(super().forward(input))


class Idle(Child):
    """Has a child that it does not use."""

    def forward(self, input):
        return nn.BatchNorm2d.forward(self, input)


FOLDED = {
    "plain": lambda: (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)),
    "bias": lambda: (nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8, affine=False)),
    "groups": lambda: (nn.Conv2d(3, 6, 3, groups=3), nn.BatchNorm2d(6)),
    "dropout": lambda: (nn.Conv2d(3, 8, 3), nn.Dropout2d(0.5), nn.BatchNorm2d(8)),
    "reflect": lambda: (nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(8)),
    "padded": lambda: (SamePaddingConv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8)),
    "child": lambda: (nn.Conv2d(3, 8, 3), Child(8)),
    "timm": lambda: (nn.Conv2d(3, 8, 3), timm.layers.BatchNormAct2d(8)),
    "linear": lambda: (nn.Conv2d(3, 8, 3), timm.layers.BatchNormAct2d(8, apply_act=False)),
}


@pytest.mark.parametrize("name", FOLDED)
def test_what_is_folded_is_proven(name):
    network = trained(*FOLDED[name]())
    (fold,) = survey(network, IMAGES).folds
    assert (fold.conv, fold.norm) == ("0", f"{len(network) - 1}")
    check_folds(network, [fold])


def test_check_folds_sees_a_norm_that_somebody_reads_before_it():
    network = trained(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.BatchNorm2d(8))
    with pytest.raises(AssertionError):
        check_folds(network, [FoldNorm(conv="0", norm="2")])


REFUSED = {
    "first": lambda: (nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3)),
    "activation": lambda: (nn.Conv2d(3, 8, 3), nn.ReLU(), nn.BatchNorm2d(8)),
    "statistics": lambda: (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False)),
    "group norm": lambda: (nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8)),
    "transposed": lambda: (nn.ConvTranspose2d(3, 8, 3), nn.BatchNorm2d(8)),
    "standardised": lambda: (Standardised(3, 8, 3), nn.BatchNorm2d(8)),
    "biasless": lambda: (Biasless(3, 8, 3, bias=False), nn.BatchNorm2d(8)),
    "parametrised": lambda: (
        parametrizations.weight_norm(nn.Conv2d(3, 8, 3)),
        nn.BatchNorm2d(8),
    ),
    "own": lambda: (nn.Conv2d(3, 8, 3), Own(8)),
    "idle": lambda: (nn.Conv2d(3, 8, 3), Idle(8)),
    "one norm": lambda: (nn.Conv2d(3, 3, 1), norm := nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), norm),
    "one convolution": lambda: (conv := nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), conv),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_proven_is_not_folded(name):
    assert folds_of(*REFUSED[name]()) == {}


def test_a_norm_that_another_layer_is_read_beside_is_not_folded():
    class Beside(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)

        def forward(self, x):
            x = self.conv(x)
            return x + self.norm(x)

    class Given(Beside):
        def forward(self, x):
            x = self.conv(x)
            return x, self.norm(x)

    class Asked(Beside):
        def forward(self, x):
            return self.norm(self.conv(x)) * self.norm.weight[0]

    for network in (Beside(), Given(), Asked()):
        assert survey(network, IMAGES).folds == ()


@pytest.mark.parametrize("path", ["0", "0.0", "1", ""])
def test_hooks_and_keep_forbid_folds(path):
    network = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 3)), nn.BatchNorm2d(8))
    if path:
        assert survey(network, IMAGES, keep=[path]).folds == ()
    network.get_submodule(path).register_forward_hook(lambda *_: None)
    # The whole network's hooks see only what goes in and what comes out.
    assert len(survey(network, IMAGES).folds) == (0 if path else 1)
