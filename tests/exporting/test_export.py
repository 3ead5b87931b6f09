"""`onebyone.export`: what the files give, what is written along, and what is refused."""

import json
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from torch import nn

import onebyone
from onebyone.cli.program import run_program
from onebyone.errors import ModelError, ShapeError, UnknownNameError
from onebyone.models.adapt import adapt_config
from onebyone.models.families import build_network
from onebyone.models.preprocess import Preprocess
from onebyone.models.registry import find_model

FORMATS = ("onnx", "pt2")


def make_network():
    torch.manual_seed(0)
    config = adapt_config(
        find_model("resnet20").config, in_channels=3, num_classes=4, image_size=32
    )
    network = build_network(config).eval()
    network.card = replace(network.card, preprocess=Preprocess(input_size=32, resize_size=32))
    return network


@pytest.fixture
def network():
    return make_network()


def run_file(file, images):
    """Run a file as its users do."""
    if file.suffix == ".pt2":
        return torch.export.load(BytesIO(file.read_bytes())).module()(images)
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (scores,) = session.run(["scores"], {"images": images.numpy()})
    return torch.from_numpy(scores)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("batch", [3, "any"])
def test_the_file_gives_what_the_network_gives(network, tmp_path, to, batch):
    file = tmp_path / f"net.{to}"
    found = onebyone.export(network, file, batch=batch)
    side = network.card.preprocess.input_size
    assert found.shape == (0 if batch == "any" else 3, 3, side, side)
    assert found.size_bytes == file.stat().st_size
    assert found.deviation < 1e-5
    for count in (1, 5) if batch == "any" else (3,):
        images = torch.randn(count, 3, side, side)
        given, wanted = run_file(file, images), network(images)
        np.testing.assert_allclose(given.detach(), wanted.detach(), rtol=1e-3, atol=1e-5)


def test_what_photos_need_is_written_along(network, tmp_path):
    onnx = pytest.importorskip("onnx")
    onebyone.export(network, tmp_path / "net.onnx")
    written = {one.key: one.value for one in onnx.load(tmp_path / "net.onnx").metadata_props}
    onebyone.export(network, tmp_path / "net.pt2")
    beside = {"preprocess": "", "onebyone": ""}
    torch.export.load(BytesIO((tmp_path / "net.pt2").read_bytes()), extra_files=beside)
    for found in (written, beside):
        assert found["onebyone"] == onebyone.__version__
        preprocess = json.loads(found["preprocess"])
        assert preprocess["mean"] == list(network.card.preprocess.mean)
        assert preprocess["input_size"] == network.card.preprocess.input_size


@pytest.mark.parametrize("to", FORMATS)
def test_a_shrunk_network_is_exported(network, tmp_path, to):
    images = torch.randn(32, 3, 32, 32)
    plan = onebyone.plan_shrink(network, images, budget=onebyone.MacsBudget(0.5), align=4)
    small = plan.apply(network)
    file = tmp_path / f"small.{to}"
    onebyone.export(small, file, example=images[:1])
    given, wanted = run_file(file, images[:1]), small(images[:1])
    np.testing.assert_allclose(given.detach(), wanted.detach(), rtol=1e-3, atol=1e-5)


def test_the_network_stays_as_it_was(network, tmp_path):
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    onebyone.export(network, tmp_path / "net.pt2")
    assert network.training
    for name, value in network.state_dict().items():
        assert torch.equal(before[name], value)


class Pair(nn.Module):
    """Gives two tensors, the first of zeros alone."""

    def forward(self, images):
        return images.mean((2, 3)) * 0, images + 1


@pytest.mark.parametrize("to", FORMATS)
def test_several_outputs_and_zeros_are_written_too(tmp_path, to):
    if to == "onnx":
        pytest.importorskip("onnxruntime")
    file = tmp_path / f"pair.{to}"
    assert onebyone.export(Pair(), file, example=torch.ones(1, 3, 8, 8)).deviation == 0


class Through(nn.Module):
    """Gives what it reads besides, which torch writes as an ONNX file that does not load."""

    def forward(self, images):
        return images + 1, images


def test_an_onnx_file_that_does_not_run_is_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(ModelError, match="does not run in ONNX Runtime"):
        onebyone.export(Through(), tmp_path / "net.onnx", example=torch.ones(1, 3, 8, 8))
    assert not list(tmp_path.iterdir())


class Wrongly(nn.Module):
    """Gives something else once it is exported."""

    def forward(self, images):
        factor = 2.0 if torch.compiler.is_exporting() else 1.0
        return images.mean((2, 3)) * factor


class Unreadable(nn.Module):
    """Looks at numbers, which no exporter can."""

    def forward(self, images):
        return images * (2.0 if float(images.sum()) > 0 else 1.0)


@pytest.mark.parametrize(
    ("make", "options", "error", "text"),
    [
        (make_network, {"to": "tflite"}, UnknownNameError, "'onnx' or 'pt2' or 'native'"),
        (make_network, {"batch": 0}, ShapeError, "1 or more"),
        (lambda: nn.Conv2d(3, 4, 1), {}, ShapeError, "give an example"),
        (make_network, {"example": torch.ones(1, 5, 32, 32)}, ModelError, "cannot write it"),
        (Wrongly, {"example": torch.ones(1, 3, 8, 8)}, ModelError, "something else"),
        (Unreadable, {"example": torch.ones(1, 3, 8, 8)}, ModelError, "cannot write it"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is_lost(
    tmp_path, make, options, error, text
):
    file = tmp_path / "net.pt2"
    file.write_text("what was there")
    with pytest.raises(error, match=text):
        onebyone.export(make(), file, **options)
    assert file.read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [file]


def test_the_command_exports_a_checkpoint(network, tmp_path, capsys):
    checkpoint = tmp_path / "net.safetensors"
    onebyone.save(network, checkpoint)
    out = tmp_path / "net.pt2"
    assert run_program(["export", str(checkpoint), "--out", str(out), "--batch", "any"]) == 0
    assert "any number of images 3x32x32" in capsys.readouterr().out
    assert run_program(["export", str(checkpoint), "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["shape"] == [1, 3, 32, 32]
    assert found["deviation"] < 1e-5


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--out", "net.tflite"], "'onnx', 'pt2' or 'native'"),
        (["--out", "there/is/none/net.onnx"], "in a folder that is there"),
        (["--out", "net.onnx", "--batch", "many"], "'any'"),
    ],
)
def test_wrong_use_gets_one_line(options, text, capsys):
    assert run_program(["export", "resnet50", *options]) == 2
    printed = capsys.readouterr().err
    assert text in printed
    assert len(printed.splitlines()) == 1
