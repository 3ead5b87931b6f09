"""Files of networks whose layers were changed are models, on every command."""

import json

import pytest

from onebyone.cli.program import run_program
from onebyone.models import load_model, save
from onebyone.models.steps import with_edits
from onebyone.nn.edit_network import apply_edit
from onebyone.nn.edits import Factorise, FoldNorm
from tests.helpers.oracles import timm
from tests.helpers.photos import CHELSEA

FILE = """
from torch import nn

def make():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    return f"{tmp_path}/mine.py:make"


def keep_changed(model, conv, norm, path):
    """Change a layer of a network, and write it to a file."""
    network, card = load_model(model)
    edits = [FoldNorm(conv=conv, norm=norm), Factorise(conv=conv, form="reduce", ranks=(2,))]
    for edit in edits:
        apply_edit(network, edit)
    save(network, path, card=with_edits(card, edits))
    return str(path)


@pytest.fixture(params=["zoo", "timm", "file"])
def words(request, mine, tmp_path):
    """What names a changed network on a command line."""
    path = tmp_path / "small.safetensors"
    if request.param == "file":
        return [mine, "--weights", keep_changed(mine, "0", "1", path)]
    assert timm  # or its import fails, beside some builds of torch
    model = {"zoo": "resnet20", "timm": "timm:resnet10t"}[request.param]
    return [keep_changed(model, "layer1.0.conv1", "layer1.0.bn1", path)]


def test_they_predict(words, capsys):
    command = ["predict", *words, str(CHELSEA), "--engine", "torch", "--json"]
    assert run_program(command) == 0
    (prediction,) = json.loads(capsys.readouterr().out)["predictions"]
    assert len(prediction["top"]) == 5


def test_they_are_explained_with_their_new_1x1s(words, capsys):
    assert run_program(["explain", *words, "--input", "64", "--json"]) == 0
    layers = json.dumps(json.loads(capsys.readouterr().out))
    conv = "0.0" if words[0].endswith("mine.py:make") else "layer1.0.conv1.0"
    assert f'"{conv}"' in layers


def test_a_file_does_not_say_what_python_to_run(mine, tmp_path, capsys):
    path = keep_changed(mine, "0", "1", tmp_path / "small.safetensors")
    assert run_program(["predict", path, str(CHELSEA)]) == 2
    err = capsys.readouterr().err
    assert f"this network comes from a function in a Python file ('{mine}')" in err
    assert len(err.strip().splitlines()) == 1
