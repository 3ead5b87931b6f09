"""A network that learned is kept as a file that says all that others need to know."""

import torch

from onebyone.models import load_model
from onebyone.models.steps import with_edits
from onebyone.models.weight_files import read_metadata
from onebyone.nn.edit_network import apply_edit
from onebyone.nn.edits import Factorise
from onebyone.training.checkpoint import keep

FILE = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""


def test_layers_that_were_changed_come_back_changed(tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    network, card = load_model(f"{tmp_path}/mine.py:make")
    keep(network, tmp_path / "plain.safetensors")
    assert read_metadata(tmp_path / "plain.safetensors") == {"format": "pt"}
    edit = Factorise(conv="0", form="expand", ranks=(3,))
    apply_edit(network, edit)
    network.card = with_edits(card, [edit])
    keep(network, tmp_path / "best.safetensors")
    again = load_model(f"{tmp_path}/mine.py:make", weights=tmp_path / "best.safetensors").network
    x = torch.randn(2, 3, 9, 9)
    assert torch.equal(again(x), network(x))
