"""What a network does with its layers, seen by what stands in their places."""

import pytest
import torch
from torch import nn

from onebyone.errors import ShrinkError
from onebyone.shrinking.calls import Use, watch_calls

X = torch.randn(2, 3, 8, 8)


class Uses(nn.Module):
    """Calls one layer twice, asks another for what it holds, and does without a third."""

    def __init__(self):
        super().__init__()
        self.idle, self.asked = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 4, 1)
        self.twice = nn.ModuleList([nn.Conv2d(3, 3, 3)])

    def forward(self, x):
        for layer in self.twice:
            x = layer(layer.forward(x))
        return self.asked(x) + self.asked.bias[0] * self.asked.weight.mean()


def test_calls_are_noted_in_order_with_their_shapes():
    network = Uses()
    expected = network(X)
    uses = watch_calls(network, ["idle", "asked", "twice.0"], X)
    assert uses == {
        "twice.0": Use((((2, 3, 8, 8), (2, 3, 6, 6)), ((2, 3, 6, 6), (2, 3, 4, 4))), ()),
        "asked": Use((((2, 3, 4, 4), (2, 4, 4, 4)),), ("bias", "weight")),
        "idle": Use((), ()),
    }
    assert [*uses] == ["twice.0", "asked", "idle"]
    torch.testing.assert_close(network(X), expected)


def test_what_a_layer_does_not_have_is_not_there():
    class Hopes(Uses):
        def forward(self, x):
            return x * hasattr(self.idle, "nothing") + self.idle.nothing

    with pytest.raises(ShrinkError, match="no attribute 'nothing'; it must do nothing but call"):
        watch_calls(Hopes(), ["idle"], X)
