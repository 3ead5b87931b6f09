"""net.onnx as a MODEL: what it is called, its card, and what commands do with it."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import onebyone
from onebyone.cli.program import run_program
from onebyone.errors import ModelError, WeightsError
from onebyone.models import ModelCard, Preprocess, load_model, load_untrained
from onebyone.models.card import card_of
from onebyone.models.reference import OnnxFile, check_reference, read_reference
from onebyone.offline.engine import Engine
from onebyone.offline.task import Task
from tests.helpers.onnx_files import convolution, node, numbers, relative_rms, write
from tests.helpers.photos import COFFEE

PREPROCESS = Preprocess(input_size=32, resize_size=40, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


def make_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 24, 1),
        nn.ReLU(),
        nn.Conv2d(24, 8, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    ).eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A file that `onebyone.export` wrote, and its network."""
    network = make_network()
    card = ModelCard(model="mine", preprocess=PREPROCESS, classes=("ant", "bee", "cat", "dog"))
    network.card = card
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    onebyone.export(network, path, batch="any")
    return network, path


@pytest.mark.parametrize(
    ("text", "path", "size"),
    [
        ("net.onnx", "net.onnx", None),
        ("a/net.ONNX:224", "a/net.ONNX", (224, 224)),
        ("net.onnx:480x640", "net.onnx", (480, 640)),
    ],
)
def test_what_a_file_is_called(text, path, size):
    reference = read_reference(text)
    assert reference == OnnxFile(Path(path), size)
    assert read_reference(str(reference)) == reference


@pytest.mark.parametrize("size", ["", "0", "big", "2x", "224x224x3", "-3", "100000"])
def test_a_wrong_size_is_one_line(size):
    with pytest.raises(ModelError) as error:
        read_reference(f"net.onnx:{size}")
    assert str(error.value) == (
        f"net.onnx:{size}: the size of images was wanted behind the colon, as net.onnx:224 or "
        f"net.onnx:480x640 (height, width); got {size!r}"
    )


def test_a_file_that_is_not_there_is_found_before_anything_is_loaded():
    with pytest.raises(ModelError, match="^no.onnx: an ONNX file was wanted, and there is no such"):
        check_reference("no.onnx:224")


def test_what_export_writes_along_is_read_back(exported):
    network, path = exported
    found, card = load_model(path)
    assert card == replace(network.card, model=str(path), weights=str(path))
    assert card_of(found) == card
    assert card_of(copy.deepcopy(found)) == card
    images = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        assert relative_rms(found(images), network(images)) < 1e-5


@pytest.mark.parametrize(("channels", "mean"), [(3, 3), (1, 1)])
def test_a_file_that_says_nothing_gets_imagenets_preprocessing(channels, mean, tmp_path):
    path = tmp_path / "net.onnx"
    convolution(path, weight=numbers(4, channels, 1, 1), reads=(1, channels, 56, 56))
    card = load_model(path).card
    assert (card.preprocess.input_size, card.preprocess.resize_size) == (56, 64)
    assert len(card.preprocess.mean) == mean
    assert card.classes == ()


@pytest.mark.parametrize("name", ["preprocess", "classes"])
@pytest.mark.parametrize("text", ["{", '{"input_size": -1}', "7"])
def test_damaged_metadata_is_one_line(name, text, tmp_path):
    nodes, weights = [node("Conv", "x w")], {"w": numbers(4, 3, 1, 1)}
    facts = {"onebyone": "0.1.0", name: text}
    path = write(tmp_path / "net.onnx", nodes, weights, facts=facts.items())
    with pytest.raises(ModelError, match=f"^{path}: its metadata '{name}' is damaged; export"):
        load_model(path)


def test_metadata_of_others_is_not_taken_for_ours(tmp_path):
    nodes, weights = [node("Conv", "x w")], {"w": numbers(4, 3, 1, 1)}
    path = write(tmp_path / "net.onnx", nodes, weights, facts={"classes": "many"}.items())
    assert load_model(path).card.classes == ()


def test_images_that_are_no_squares_are_timed_and_explained_but_are_no_photos(tmp_path, capsys):
    path = convolution(tmp_path / "net.onnx", reads=(1, 3, 8, 12))
    assert load_untrained(str(path))[1] == (3, 8, 12)
    assert run_program(["explain", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["input_shapes"] == [[1, 3, 8, 12]]
    with pytest.raises(ModelError, match=r"reads images 3x8x12 \(channels, height, width\), and"):
        load_model(path)


def test_what_reads_no_images_is_refused_by_commands(tmp_path):
    path = write(tmp_path / "net.onnx", [node("MatMul", "x m")], {"m": numbers(5, 4)}, reads=(1, 5))
    with pytest.raises(ModelError, match=r"reads 'x' \(1, 5\) torch.float32, and images"):
        load_model(path)


def test_explain_names_the_1x1s_of_a_file(exported, capsys):
    network, path = exported
    assert run_program(["explain", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in told["pointwise"]] == ["3", "5"]
    wanted = onebyone.explain(network, torch.zeros(1, 3, 32, 32)).to_json()
    assert told["totals"]["macs"] == wanted["totals"]["macs"]


def test_explain_takes_an_open_size_from_its_input(tmp_path, capsys):
    path = convolution(tmp_path / "net.onnx", reads=("n", 3, "h", "w"))
    for size in ("12", "1x3x12x12"):
        assert run_program(["explain", str(path), "--input", size, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["input_shapes"] == [[1, 3, 12, 12]]
    assert run_program(["explain", f"{path}:12x16", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["input_shapes"] == [[1, 3, 12, 16]]


def test_predict_names_the_files_classes(exported, capsys):
    network, path = exported
    assert run_program(["predict", str(path), str(COFFEE), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["engine"] == "compiled"
    (prediction,) = told["predictions"]
    photo = PREPROCESS(onebyone.open_photo(COFFEE))[None]
    wanted = network(photo).softmax(1)[0].detach()
    found = {one["label"]: one["probability"] for one in prediction["top"]}
    assert found == pytest.approx(
        dict(zip(network.card.classes, wanted.tolist(), strict=True)), abs=1e-5
    )


def test_a_shrunk_network_is_kept_and_read_again_beside_its_file(exported, tmp_path):
    _, path = exported
    network, _ = load_model(path)
    images = torch.randn(48, 3, 32, 32)
    plan = onebyone.plan_shrink(network, images, budget=onebyone.MacsBudget(0.8), align=4)
    small = plan.apply(network)
    assert sum(one.numel() for one in small.parameters()) < sum(
        one.numel() for one in network.parameters()
    )
    onebyone.save(small, tmp_path / "small.safetensors")
    again = load_model(path, weights=tmp_path / "small.safetensors").network
    with torch.inference_mode():
        assert torch.equal(again(images[:2]), small(images[:2]))
    with pytest.raises(
        WeightsError, match=r"comes from an ONNX file \('.*net.onnx'\), which is not"
    ):
        onebyone.load(tmp_path / "small.safetensors")


def test_a_task_names_its_file_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    task = Task("net.onnx:8x9", None, Engine.TORCH, 5).from_anywhere()
    assert task.model == f"{tmp_path}/net.onnx:8x9"
