"""`onebyone.export(..., to="native")`: what a library tells and gives, and the command."""

import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn

import onebyone
from onebyone.cli.program import run_program
from onebyone.errors import ModelError, ShapeError, UnknownNameError
from tests.exporting.test_export import make_network

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler: apt-get install gcc"
)


@needs_compiler
def test_the_library_gives_what_the_network_gives(tmp_path):
    network = make_network()
    found = onebyone.export(network, tmp_path / "net", to="native", batch="any")
    assert (found.format, found.shape) == ("native", (0, 3, 32, 32))
    assert found.deviation < 1e-5
    card, images = network.card, torch.randn(3, 3, 32, 32)
    with onebyone.open_native(tmp_path / "net") as native:
        np.testing.assert_allclose(native.mean, card.preprocess.mean, rtol=1e-6)
        np.testing.assert_allclose(native.deviation, card.preprocess.std, rtol=1e-6)
        assert native.classes == card.classes
        with torch.no_grad():
            wanted = network(images)
        np.testing.assert_allclose(native(images.numpy()), wanted, rtol=1e-3, atol=1e-5)


@needs_compiler
def test_the_command_exports_a_library(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    onebyone.save(make_network(), "net.safetensors")
    command = ["export", "net.safetensors", "--to", "native", "--out", "small-net"]
    assert run_program(command) == 0
    printed = capsys.readouterr().out
    assert "library small_net for" in printed
    assert "any number of images 3x32x32" in printed
    assert run_program([*command, "--embed", "--name", "tiny", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["batch"], told["any_batch"]) == ("tiny", 1, True)
    assert told["deviation"] < 1e-5
    assert not (tmp_path / "small-net/tiny.weights").exists()
    monkeypatch.setenv("CC", "no-such-compiler")
    assert run_program(command) == 2
    assert "no program 'no-such-compiler'" in capsys.readouterr().err


class Cumulative(nn.Module):
    """Calls what has no native code."""

    def forward(self, images):
        return images.cumsum(1)


@pytest.mark.parametrize(
    ("model", "options", "error", "text"),
    [
        (make_network, {"targets": ["z80"]}, UnknownNameError, "no target 'z80'"),
        (make_network, {"name": "2 nets"}, UnknownNameError, "must begin with a small letter"),
        (make_network, {"batch": 0}, ShapeError, "1 or more"),
        (lambda: nn.Conv2d(3, 4, 1), {}, ShapeError, "give an example"),
        (Cumulative, {"example": torch.ones(1, 3, 8, 8)}, onebyone.OneByOneError, "aten.cumsum"),
    ],
)
def test_what_cannot_be_a_library_is_refused(tmp_path, model, options, error, text):
    with pytest.raises(error, match=text):
        onebyone.export(model(), tmp_path / "net", to="native", **options)
    assert not list(tmp_path.iterdir())


def test_a_file_is_no_folder_and_options_are_for_libraries(tmp_path):
    (tmp_path / "net").write_text("what was there")
    with pytest.raises(ModelError, match="a folder in a folder"):
        onebyone.export(make_network(), tmp_path / "net", to="native")
    with pytest.raises(UnknownNameError, match="`embed` is for libraries"):
        onebyone.export(make_network(), tmp_path / "net.pt2", embed=True)
    assert [one.name for one in tmp_path.iterdir()] == ["net"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--target", "avx2,neo"], "no target 'neo'; did you mean 'neon'?"),
        (["--name", "a b"], "must begin with a small letter"),
        (["--target", "avx2", "--to", "pt2"], "--target is for libraries"),
    ],
)
def test_wrong_use_gets_one_line(options, text, capsys, tmp_path):
    command = ["export", "resnet50", "--to", "native", "--out", str(tmp_path / "net")]
    assert run_program([*command, *options]) == 2
    printed = capsys.readouterr().err
    assert text in printed
    assert len(printed.splitlines()) == 1
