"""`onebyone explain`."""

import json

import pytest

from onebyone.cli.program import run_program
from tests.helpers.photos import COFFEE

NETWORK = """
from torch import nn

def make():
    return nn.Sequential(
        nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 1), nn.ReLU(), nn.Conv2d(4, 16, 1)
    )

def of_photos():
    return nn.Sequential(nn.Conv2d(3, 16, 3, stride=4), nn.ReLU(), nn.Conv2d(16, 4, 1), nn.ReLU())
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(NETWORK)
    return path


def test_the_table_fits_and_names_roles(capsys):
    assert run_program(["explain", "nin_cifar10"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    assert out.startswith("nin_cifar10  weights: not loaded")
    assert "are in mlpconv blocks" in " ".join(out.split())


def test_json_is_all_that_is_on_stdout(capsys):
    assert run_program(["explain", "resnet18", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["model"] == "resnet18"
    assert [one["role"] for one in content["pointwise"]] == ["shortcut"] * 3


def test_depth_ends_the_table_at_modules(capsys):
    run_program(["explain", "resnet18", "--depth", "1"])
    out = capsys.readouterr().out
    assert "layer1 " in out
    assert "conv2 " not in out.split("What the 1x1")[0]


def test_a_network_of_mine_with_an_input_of_mine(mine, capsys):
    assert run_program(["explain", f"{mine}:make", "--input", "1x8x12x12", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["input_shapes"] == [[1, 8, 12, 12]]
    assert content["weights"] == "its own"


def test_an_input_that_does_not_fit_is_one_line(mine, capsys):
    assert run_program(["explain", f"{mine}:make"]) == 2
    assert "does not run on inputs of shape (1, 3, 224, 224)" in capsys.readouterr().err


def test_photos_of_a_folder_and_a_page(mine, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "coffee.png").write_bytes(COFFEE.read_bytes())
    (tmp_path / "photos" / "notes.txt").write_text("no photo")
    page = tmp_path / "page.html"
    command = ["explain", f"{mine}:of_photos", "--images", str(tmp_path / "photos")]
    assert run_program([*command, "--input", "64", "--html", str(page), "--no-time"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "on 8 crops of 1 photo in" in out
    assert "notes.txt is no photo that can be read" in out
    assert "What reductions keep" in out
    assert page.read_text().startswith("<!doctype html>")
    assert [path.name for path in tmp_path.glob("*.html*")] == ["page.html"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet52"], "no model 'resnet52'; did you mean"),
        (["resnet50", "--images", "nowhere"], "--images: a folder of photos was wanted"),
        (["resnet50", "--input", "3by3"], "--input: a side such as 320, or shapes such as"),
        (["resnet50", "--input", "0"], "--input: a side such as 320, or shapes such as"),
        (["resnet50", "--html", "nowhere/page.html"], "--html: a file to write was wanted"),
        (["resnet50", "--html", "."], "--html: a file to write was wanted, and . is a folder"),
        (["resnet50", "--input", "1x4x224x224"], "on inputs of shape (1, 4, 224, 224)"),
        (["resnet50", "--depth", "-1"], "--depth"),
        (["resnet50", "--weights", "none.pth"], "none.pth"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_one_line_and_status_2(arguments, message, capsys):
    assert run_program(["explain", *arguments]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert message in streams.err
    assert len(streams.err.splitlines()) == 1
