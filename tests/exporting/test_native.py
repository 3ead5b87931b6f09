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
from tests.helpers.library import HERE

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
    assert (told["name"], told["batches"], told["any_batch"]) == ("tiny", [1], True)
    assert told["deviation"] < 1e-5
    assert not (tmp_path / "small-net/tiny.weights").exists()
    monkeypatch.setenv("CC", "no-such-compiler")
    assert run_program(command) == 2
    assert "no program 'no-such-compiler'" in capsys.readouterr().err


@needs_compiler
@pytest.mark.parametrize(
    ("batch", "line", "reads"),
    [
        ("3,1", "1, 3 images at once, in calls of any size; weights", "any number of images"),
        ("2", "2 images at once, in calls of multiples of 2; weights", "2 images"),
        ("2,3", "2, 3 images a call; weights", "2 images"),
    ],
)
def test_the_command_exports_for_some_numbers_of_images(tmp_path, capsys, batch, line, reads):
    (tmp_path / "tiny.py").write_text(
        "from torch import nn\n"
        "from onebyone.models.card import ModelCard\n"
        "from onebyone.models.preprocess import Preprocess\n"
        "def make():\n"
        "    network = nn.Conv2d(3, 4, 1).eval()\n"
        "    network.card = ModelCard(model='tiny', preprocess=Preprocess(input_size=8))\n"
        "    return network\n"
    )
    command = ["export", f"{tmp_path}/tiny.py:make", "--to", "native", "--batch", batch]
    assert run_program([*command, "--out", str(tmp_path / "net"), "--target", HERE[-1]]) == 0
    printed = capsys.readouterr().out
    assert line in printed
    assert f"reads {reads} 3x8x8" in printed


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
        (make_network, {"batch": (8, 0)}, ShapeError, "up to 32 different numbers"),
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
    with pytest.raises(ShapeError, match=r"`batch` \(=\(1, 8\)\): several numbers .* are for lib"):
        onebyone.export(make_network(), tmp_path / "net.pt2", batch=(1, 8))
    with pytest.raises(UnknownNameError, match="`embed` is for libraries"):
        onebyone.export(make_network(), tmp_path / "net.pt2", embed=True)
    assert [one.name for one in tmp_path.iterdir()] == ["net"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--target", "avx2,neo"], "no target 'neo'; did you mean 'neon'?"),
        (["--name", "a b"], "must begin with a small letter"),
        (["--target", "avx2", "--to", "pt2"], "--target is for libraries"),
        (["--batch", "1,8", "--to", "pt2"], "several numbers of images are for libraries"),
        (["--batch", "1,1"], "several, such as 1,8,32, or 'any', was wanted; got '1,1'"),
        (["--batch", "1,,2"], "was wanted; got '1,,2'"),
    ],
)
def test_wrong_use_gets_one_line(options, text, capsys, tmp_path):
    command = ["export", "resnet50", "--to", "native", "--out", str(tmp_path / "net")]
    assert run_program([*command, *options]) == 2
    printed = capsys.readouterr().err
    assert text in printed
    assert len(printed.splitlines()) == 1
