"""What runs a network on the command line, and what is said where that is PyTorch."""

import pytest
import torch
from torch import nn

from onebyone.cli.engine import Engine, start_engine
from onebyone.models import create_model


class Partly(nn.Module):
    def forward(self, x):
        return torch.relu(x).cumsum(1)


class Undecided(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


@pytest.fixture
def card():
    return create_model("nin_cifar10").card


def test_a_native_network_needs_no_word(card, capsys):
    _, engine = start_engine(nn.Conv2d(3, 4, 1).eval(), card, Engine.COMPILED)
    assert engine is Engine.COMPILED
    assert capsys.readouterr() == ("", "")


def test_operators_left_to_pytorch_are_one_line(card, capsys):
    run, engine = start_engine(Partly().eval(), card, Engine.COMPILED)
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(run(x), Partly()(x))
    assert engine is Engine.COMPILED
    assert capsys.readouterr() == (
        "",
        "onebyone: 1 operator has no native code and runs in PyTorch: aten.cumsum.default\n",
    )


def test_a_network_left_to_pytorch_is_one_line(card, capsys):
    network = Undecided().eval()
    assert start_engine(network, card, Engine.COMPILED) == (network, Engine.TORCH)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("onebyone: it runs in PyTorch, because it cannot be compiled: ")
    assert err.count("\n") == 1


def test_pytorch_on_request_is_no_fallback(card, capsys):
    network = Partly().eval()
    assert start_engine(network, card, Engine.TORCH) == (network, Engine.TORCH)
    assert capsys.readouterr() == ("", "")
