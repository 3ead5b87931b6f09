"""`onebyone shrink`: what it prints, what it writes, and how it ends."""

import json
from dataclasses import replace

import pytest
import torch

import onebyone
from onebyone.cli.program import run_program
from onebyone.models.adapt import adapt_config
from onebyone.models.families import build_network
from onebyone.models.registry import find_model
from onebyone.training.data import read_data


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint of a network for digits, from a random start."""
    torch.manual_seed(0)
    config = adapt_config(
        find_model("resnet20").config, in_channels=1, num_classes=10, image_size=8
    )
    path = tmp_path_factory.mktemp("shrink") / "digits.safetensors"
    network = build_network(config).eval()
    network.card = replace(network.card, preprocess=read_data("digits").preprocess)
    onebyone.save(network, path)
    return str(path)


def run(capsys, *arguments):
    assert run_program(["shrink", *arguments]) == 0
    return capsys.readouterr().out


def test_without_data_it_says_where_1x1s_would_pay(trained, capsys):
    printed = run(capsys, trained)
    assert "layers that may change; no budget below" in " ".join(printed.split())
    found = json.loads(run(capsys, trained, "--json"))
    assert 0 < found["smallest_share"] < 1
    assert found["left_alone"]["fc"]


def test_a_budget_gives_a_plan_and_a_checkpoint(trained, tmp_path, capsys):
    out = tmp_path / "small.safetensors"
    options = ("--data", "digits", "--budget", "macs=0.5", "--images", "64", "--align", "4")
    options = (*options, "--out", str(out))
    found = json.loads(run(capsys, trained, *options, "--json"))
    before, after = found["plan"]["whole"]["macs"]
    assert after <= before / 2
    assert 0 <= found["agreement"]["top1"] <= 1
    small, images = onebyone.load(out), torch.randn(4, 1, 8, 8)
    assert small(images).shape == (4, 10)
    assert "names the class that the original names" in run(capsys, trained, *options).replace(
        "\n", " "
    )


def test_a_curve_goes_on_where_it_was_interrupted(trained, tmp_path, capsys):
    pytest.importorskip("altair")
    options = ("--data", "digits", "--budget", "macs", "--images", "64", "--curve", str(tmp_path))
    options = (*options, "--runtime", "eager", "--threads", "1")
    found = json.loads(run(capsys, trained, *options, "--json"))
    assert [point["budget"] for point in found["points"]][:2] == ["", "macs=0.8"]
    assert (tmp_path / "curve.svg").stat().st_size > 1000
    (tmp_path / "macs-0.5.json").unlink()
    kept = (tmp_path / "macs-0.8.json").stat().st_mtime_ns
    assert "macs=0.5" in run(capsys, trained, *options)
    assert (tmp_path / "macs-0.8.json").stat().st_mtime_ns == kept


def test_learning_from_the_original_never_makes_it_worse(trained, capsys):
    options = ("--data", "digits", "--budget", "macs=0.5", "--images", "64", "--align", "4")
    options = (*options, "--tune", "1")
    tuned = json.loads(run(capsys, trained, *options, "--json"))["tuned"]
    assert tuned["helped"] == (tuned["after"] > tuned["before"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet52"], "no model 'resnet52'; did you mean"),
        (["resnet18", "--budget", "macs=0.5"], "images to decide on were wanted: --data"),
        (["resnet18", "--data", "digits"], "a budget was wanted, such as --budget latency=0.5"),
        (["resnet18", "--data", "digits", "--budget", "0.5"], "a budget such as latency=0.5"),
        (["resnet18", "--data", "digits", "--budget", "macs=0"], "above 0 and below 1"),
        (["resnet18", "--data", "digits", "--budget", "macs=1.2"], "above 0 and below 1"),
        (
            ["resnet18", "--data", "digits", "--budget", "macs=0.5", "--out", "small.pth"],
            "--out: a file .safetensors in a folder that is there was wanted",
        ),
    ],
)
def test_a_wrong_use_is_one_line(arguments, message, capsys):
    assert run_program(["shrink", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_bad_names_are_told_of_a_network_that_is_there(trained, capsys):
    for arguments, message in (
        (["--budget", "macs=0.01"], "the cheapest network that can be made has"),
        (["--budget", "macs=0.5", "--runtime", "onnx"], "runtime"),
        (["--budget", "macs=0.5", "--keep", "nowhere"], "`keep` names 'nowhere'"),
    ):
        assert run_program(["shrink", trained, "--data", "digits", *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.splitlines()) == 1
