"""What is no ONNX file, or none that can be read, is answered with one line."""

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

import onebyone
from onebyone.cli.program import run_program
from onebyone.errors import MissingPackageError, ModelError, ShapeError
from onebyone.importing import imported
from onebyone.importing.check import deviation_of, run_module
from onebyone.importing.file import read_model
from tests.helpers.light import hide
from tests.helpers.onnx_files import IMAGE, convolution, make_model, node, numbers, write

WEIGHT = {"w": numbers(4, 3, 1, 1)}
CONV = [node("Conv", "x w")]


def without_opset(model):
    del model.opset_import[:]


def of_the_future(model):
    model.opset_import[0].version = 99


def without_nodes(model):
    del model.graph.node[:]


def without_shape(model):
    model.graph.input[0].type.tensor_type.ClearField("shape")


def of_text(model):
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.STRING


def with_weights_elsewhere(model):
    onnx.external_data_helper.convert_model_to_external_data(model, size_threshold=0)
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "weights.bin")
    tensor.ClearField("raw_data")


def reads(*sizes):
    def change(model):
        value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, sizes)
        model.graph.input[0].CopyFrom(value)

    return change


def nodes(*changed, domains=()):
    def change(model):
        del model.graph.node[:]
        model.graph.node.extend(changed)
        model.opset_import.extend(helper.make_opsetid(one, 1) for one in domains)

    return change


WRONG = {
    "its operators' version is not said": (without_opset, "which version of ONNX's operators"),
    "its operators are of the future": (of_the_future, "it is of opset 99, and the onnx package"),
    "it is empty": (without_nodes, "there is no network in it"),
    "it reads anything": (without_shape, "its input 'x' has no shape; export"),
    "it reads text": (of_text, "its input 'x' is no tensor of numbers"),
    "its weights are elsewhere": (with_weights_elsewhere, "weights that it keeps in other files"),
    "the size is open": (
        reads("n", 3, "h", "w"),
        "its input 'x' leaves the size of images open (?x?); say it behind the file's name",
    ),
    "the width is open": (reads(1, 3, 8, "w"), "leaves the size of images open (8x?); say"),
    "channels are open": (
        reads("n", "c", 8, 8),
        "its input 'x' is (n, c, 8, 8), and only the batch, height and width of images can be",
    ),
    "it has operators of nobody": (
        nodes(
            node("Frobnicate", "x", "a", domain="my.own"),
            node("Conv", "a w", "b"),
            node("Squash", "b", "c"),
            node("Frobnicate", "c", domain="my.own"),
            domains=["my.own"],
        ),
        "it has operators that cannot be converted to PyTorch: Squash, my.own.Frobnicate; export",
    ),
    "it has one operator of nobody": (
        nodes(node("Squash", "x")),
        "it has an operator that cannot be converted to PyTorch: Squash;",
    ),
    "it does not fit together": (nodes(node("MatMul", "x w")), "it does not run in ONNX Runtime ("),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_one_line_and_status_2(name, tmp_path, capsys):
    change, text = WRONG[name]
    model = make_model(CONV, WEIGHT)
    change(model)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    assert run_program(["explain", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"onebyone: {path}: ")
    assert text in line


@given(st.floats(0.01, 0.99), st.sampled_from([1, 4, 64]))
def test_a_file_that_is_cut_anywhere_is_one_line(tmp_path_factory, share, width):
    model = make_model(CONV, {"w": numbers(width, 3, 1, 1)})
    content = model.SerializeToString()
    path = tmp_path_factory.mktemp("cut") / "net.onnx"
    path.write_bytes(content[: max(1, int(share * len(content)))])
    with pytest.raises(ModelError) as error:
        onebyone.from_onnx(path)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert any(word in str(error.value) for word in ("is cut", "no ONNX file", "no network in it"))


def test_a_file_cut_in_the_middle_says_so(tmp_path):
    path = convolution(tmp_path / "net.onnx", weight=numbers(64, 3, 1, 1))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="it is cut or damaged: get the file again$"):
        onebyone.from_onnx(path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"PK\x03\x04 an archive", ": it is no ONNX file, and an ONNX file was wanted"),
        (b"<html>not found</html>", ": it is no ONNX file, and an ONNX file was wanted"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "pointer of Git LFS"),
        (b"", " is empty (0 bytes); an ONNX file was wanted"),
        (None, ": an ONNX file was wanted, and there is no such file"),
    ],
)
def test_what_is_no_onnx_file_is_one_line(content, text, tmp_path):
    path = tmp_path / "net.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError) as error:
        onebyone.from_onnx(path)
    assert text in str(error.value)
    assert str(error.value).count(str(path)) == 1


def test_a_size_that_the_file_does_not_have_is_refused(tmp_path):
    path = convolution(tmp_path / "net.onnx")
    with pytest.raises(ShapeError, match="reads images of 8x8, and 9x8 was asked for"):
        onebyone.from_onnx(path, size=(9, 8))
    assert onebyone.from_onnx(path, size=8)(torch.zeros(IMAGE)).shape == (1, 4, 8, 8)


def test_a_network_that_gives_something_else_is_refused(tmp_path, monkeypatch):
    """The fault is planted: what is compared with ONNX Runtime is slightly off."""
    path = convolution(tmp_path / "net.onnx")

    def run_wrongly(network, images):
        return [one * 1.01 for one in run_module(network, images)]

    monkeypatch.setattr(imported, "run_module", run_wrongly)
    with pytest.raises(
        ModelError, match=r"something else than ONNX Runtime \(relative RMS 1\.0e-02"
    ):
        onebyone.from_onnx(path)


def test_a_deviation_beyond_the_tolerance_is_a_line(tmp_path, monkeypatch, caplog):
    path = convolution(tmp_path / "net.onnx")

    def run_inexactly(network, images):
        return [one * (1 + 1e-4) for one in run_module(network, images)]

    monkeypatch.setattr(imported, "run_module", run_inexactly)
    onebyone.from_onnx(path, tolerance=1e-3)
    assert not caplog.records
    onebyone.from_onnx(path)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{path}: what it was converted to is further from ONNX Runtime than wanted: relative RMS "
        "1.0e-04, and at most 1e-05 was"
    )


def test_deviations():
    wanted = torch.tensor([3.0, 4.0])
    assert deviation_of([wanted], [wanted]) == 0
    assert deviation_of([wanted * 1.1], [wanted]) == pytest.approx(0.1, rel=1e-4)
    assert deviation_of([wanted, wanted * 2], [wanted, wanted]) == pytest.approx(1, rel=1e-4)
    assert deviation_of([wanted * 0], [wanted * 0]) == 0
    assert deviation_of([wanted], [wanted * 0]) == float("inf")
    assert deviation_of([wanted * float("nan")], [wanted]) == float("inf")
    assert deviation_of([wanted[:1]], [wanted]) == float("inf")
    assert deviation_of([wanted + 1e-9], [wanted * 0], [1e-3]) == float("inf")
    assert deviation_of([wanted * 1e-9], [wanted * 2e-9], [1e-7]) == 0
    assert deviation_of([torch.tensor([1, 2])], [torch.tensor([1, 3])]) == 0.5


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnx2fx"])
def test_a_missing_package_is_named_with_its_cure(package, tmp_path, monkeypatch):
    hide(monkeypatch, package)
    with pytest.raises(MissingPackageError, match=rf"needs {package}, which .*'onebyone\[onnx\]'"):
        onebyone.from_onnx(convolution(tmp_path / "net.onnx"))


def test_without_onnx_runtime_a_file_is_read_and_a_line_says_so(tmp_path, monkeypatch, caplog):
    hide(monkeypatch, "onnxruntime")
    assert onebyone.from_onnx(convolution(tmp_path / "net.onnx")) is not None
    assert "not tried against ONNX Runtime" in caplog.text


def test_weights_in_files_beside_it_are_read(tmp_path):
    path = tmp_path / "net.onnx"
    model = make_model(CONV, {"w": numbers(64, 3, 1, 1)})
    onnx.save(model, path, save_as_external_data=True, size_threshold=0, location="weights.bin")
    assert (tmp_path / "weights.bin").exists()
    weight = onebyone.from_onnx(path).conv.weight
    np.testing.assert_array_equal(weight.detach().numpy(), numbers(64, 3, 1, 1))


@pytest.mark.parametrize("size", ["a", (3,), (0, 4), -1, (8.0, 8), (8, 8, 8)])
def test_a_size_that_is_none_is_one_line(tmp_path, size):
    with pytest.raises(ShapeError, match=r"^`size` \(=.*\) must be a height and a width, .*$"):
        onebyone.from_onnx(convolution(tmp_path / "net.onnx"), size=size)


def test_reading_leaves_the_file_alone(tmp_path):
    path = write(tmp_path / "net.onnx", CONV, WEIGHT)
    before = path.read_bytes()
    onebyone.from_onnx(path)
    assert path.read_bytes() == before == read_model(path).SerializeToString()
