"""What ONNX files become gives what ONNX Runtime gives, in PyTorch and compiled."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import onebyone
from onebyone.compiler import compile_model
from onebyone.graph import capture
from onebyone.graph.graph import Activation, Opaque
from onebyone.importing import import_onnx
from onebyone.importing.inputs import fix_inputs
from onebyone.importing.simplify import simplify
from tests.helpers.onnx_files import (
    convolution,
    make_model,
    node,
    numbers,
    relative_rms,
    run_file,
    write,
)

EXACT = 1e-5


def check_file(path, *, batch=1, native=True):
    """Compiled and in PyTorch, a file gives what ONNX Runtime gives, without fallbacks."""
    found = import_onnx(path)
    (reads,) = found.inputs
    images = torch.randn(batch, *reads.image_shape)
    given = images.permute(0, 2, 3, 1) if reads.channels_last else images
    wanted = run_file(path, given.contiguous())
    compiled = compile_model(found.network, images)
    assert not (native and compiled.fallbacks), compiled.fallbacks
    for network in (found.network, compiled):
        with torch.inference_mode():
            outputs = network(images)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        for one, other in zip(outputs, wanted, strict=True):
            assert one.shape == other.shape
            assert relative_rms(one, other) < EXACT
    return found.network


W3 = numbers(4, 3, 3, 3)
WEIGHTS = {
    "w": W3,
    "b": numbers(4),
    "one": numbers(8, 4, 1, 1),
    "scale": np.abs(numbers(4)) + 0.5,
    "shift": numbers(4, seed=1),
    "mean": numbers(4, seed=2),
    "var": np.abs(numbers(4, seed=3)) + 0.5,
    "zero": np.float32(0),
    "six": np.float32(6),
    "three": np.float32(3),
    "half": np.float32(0.5),
    "unit": np.float32(1),
    "root": np.float32(2**0.5),
    "matrix": numbers(5, 4),
    "turned": numbers(4, 5),
    "bias": numbers(5, seed=4),
    "rest": np.array([0, -1]),
    "same": np.array([1, -1]),
    "pads": np.array([0, 0, 1, 2, 0, 0, 0, 1]),
    "pads_last": np.array([0, 1, 2, 0, 0, 0, 1, 0]),
    "none": np.array([], dtype="float32"),
    "twice": np.array([1, 1, 2, 2], dtype="float32"),
    "first": np.array(0),
    "front": np.array([0]),
    "all": np.array([-1]),
    "halves": np.array([1, 3]),
    "taken_from": np.array([1]),
    "taken_to": np.array([7]),
    "rows": np.array([2]),
    "squeezed": np.array([2, 3]),
}
POOLED = [node("Conv", "x w b", "y"), node("GlobalAveragePool", "y", "p")]

NETWORKS = {
    "uneven pads": [node("Conv", "x w b", pads=[0, 1, 2, 1], strides=[2, 2])],
    "same upper": [node("Conv", "x w", auto_pad="SAME_UPPER", strides=[2, 2])],
    "same lower": [node("Conv", "x w", auto_pad="SAME_LOWER", strides=[2, 2])],
    "valid": [node("Conv", "x w b", auto_pad="VALID")],
    "batch norm by itself": [
        node("Conv", "x w b", "y"),
        node("Relu", "y", "z"),
        node("BatchNormalization", "z scale shift mean var", epsilon=1e-3),
    ],
    "batch norm behind a convolution": [
        node("Conv", "x w", "y"),
        node("BatchNormalization", "y scale shift mean var"),
    ],
    "flatten and gemm": [
        *POOLED,
        node("Flatten", "p", "f"),
        node("Gemm", "f matrix bias", transB=1, alpha=0.5, beta=2.0),
    ],
    "reshape and gemm": [
        *POOLED,
        node("Reshape", "p rest", "f"),
        node("Gemm", "f turned"),
    ],
    "matrix product and sum": [
        *POOLED,
        node("Squeeze", "p squeezed", "f"),
        node("MatMul", "f turned", "m"),
        node("Add", "m bias"),
    ],
    "shape arithmetic": [
        *POOLED,
        node("Shape", "p", "s"),
        node("Gather", "s first", "n"),
        node("Unsqueeze", "n front", "u"),
        node("Concat", "u all", "t", axis=0),
        node("Reshape", "p t", "f"),
        node("Gemm", "f turned bias"),
    ],
    "relu6": [node("Conv", "x w", "y"), node("Clip", "y zero six")],
    "clipped from below": [node("Conv", "x w", "y"), node("Clip", "y half")],
    "hard sigmoid of Keras": [node("Conv", "x w", "y"), node("HardSigmoid", "y")],
    "hard swish": [node("Conv", "x w", "y"), node("HardSwish", "y")],
    "hard swish written out": [
        node("Conv", "x w", "y"),
        node("Add", "y three", "a"),
        node("Clip", "a zero six", "c"),
        node("Mul", "y c", "m"),
        node("Div", "m six"),
    ],
    "silu": [node("Conv", "x w", "y"), node("Sigmoid", "y", "s"), node("Mul", "y s")],
    "gelu written out": [
        node("Conv", "x w", "y"),
        node("Div", "y root", "d"),
        node("Erf", "d", "e"),
        node("Add", "e unit", "a"),
        node("Mul", "y a", "m"),
        node("Mul", "m half"),
    ],
    "max pool with uneven pads": [
        node("Conv", "x w", "y"),
        node("MaxPool", "y", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
    ],
    "max pool that rounds up": [
        node("Conv", "x w", "y"),
        node("MaxPool", "y", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    ],
    "average pool": [
        node("Conv", "x w", "y"),
        node("AveragePool", "y", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    ],
    "pads": [node("Pad", "x pads", "p"), node("Conv", "p w")],
    "resize": [node("Conv", "x w", "y"), node("Resize", "y none twice", mode="nearest")],
    "concat": [node("Conv", "x w", "y"), node("Relu", "y", "z"), node("Concat", "y z", axis=1)],
    "split": [
        node("Conv", "x w", "y"),
        node("Split", "y halves", "l r", axis=1),
        node("Mul", "l r"),
    ],
    "slice": [
        node("Slice", "x taken_from taken_to rows", "s"),
        node("Conv", "s w"),
    ],
    "channels last inside": [
        node("Conv", "x w", "y"),
        node("Transpose", "y", "t", perm=[0, 2, 3, 1]),
        node("Mul", "t scale", "m"),
        node("Pad", "m pads_last", "p"),
        node("Transpose", "p", "c", perm=[0, 3, 1, 2]),
        node("Conv", "c one"),
    ],
    "mean over pixels, and softmax": [
        node("Conv", "x w", "y"),
        node("ReduceMean", "y", "m", axes=[2, 3], keepdims=0),
        node("Softmax", "m", axis=1),
    ],
}


def weights_of(nodes):
    return {key: WEIGHTS[key] for one in nodes for key in one.input if key in WEIGHTS}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_compiles_without_fallbacks_and_gives_the_same(name, tmp_path):
    check_file(write(tmp_path / "net.onnx", NETWORKS[name], weights_of(NETWORKS[name])))


def test_what_pytorch_runs_gives_the_same_too(tmp_path):
    nodes = [node("ConvTranspose", "x w", strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])]
    network = check_file(
        write(tmp_path / "net.onnx", nodes, {"w": numbers(3, 4, 3, 3)}), native=False
    )
    assert isinstance(network.conv_transpose, nn.ConvTranspose2d)


@settings(max_examples=12)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    strides=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    spread=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.sampled_from([1, 3]),
)
def test_convolutions(tmp_path_factory, kernel, pads, strides, spread, groups):
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    weight = numbers(6, 3 // groups, *kernel)
    settings = {"pads": pads, "strides": strides, "dilations": spread, "group": groups}
    network = check_file(convolution(path, weight=weight, **settings))
    (layer,) = [one for one in network.modules() if isinstance(one, nn.Conv2d)]
    assert layer.groups == groups
    assert layer.weight.requires_grad


@pytest.mark.parametrize("reads", [("batch", 3, 8, 8), (None, 3, 8, 8), (1, 3, 8, 8), (2, 3, 8, 8)])
def test_images_may_be_any_number(reads, tmp_path):
    """An open batch stays open; one that only shapes depend on is opened."""
    nodes = [*POOLED, node("Reshape", "p shape", "f"), node("Gemm", "f turned")]
    first = reads[0] if isinstance(reads[0], int) else 0
    weights = {key: WEIGHTS[key] for key in ("w", "b", "turned")}
    path = write(
        tmp_path / "net.onnx", nodes, {**weights, "shape": np.array([first, 4])}, reads=reads
    )
    found = import_onnx(path)
    assert found.inputs[0].any_batch
    images = torch.randn(5, 3, 8, 8)
    singly = onebyone.from_onnx(
        write(tmp_path / "one.onnx", nodes, {**weights, "shape": np.array([1, 4])})
    )
    wanted = torch.cat([singly(image[None]) for image in images])
    assert relative_rms(found.network(images).detach(), wanted.detach()) < EXACT


MIXING = {
    "sum over images": ([node("ReduceMean", "x", axes=[0], keepdims=1)], {}),
    "reshape over images": (
        [node("Reshape", "x flat", "f"), node("Softmax", "f", axis=0)],
        {"flat": np.array([1, 192])},
    ),
}


@pytest.mark.parametrize("name", MIXING)
def test_a_batch_that_matters_stays_as_it_is(name, tmp_path):
    nodes, weights = MIXING[name]
    path = write(tmp_path / "net.onnx", nodes, weights)
    found = import_onnx(path)
    assert not found.inputs[0].any_batch
    with pytest.raises(onebyone.OneByOneError) as error:
        found.network(torch.zeros(2, 3, 8, 8))
    assert str(error.value) == (
        f"{path} reads (1, 3, 8, 8), and (2, 3, 8, 8) came; for another number of images export it "
        "with an open batch"
    )


def test_another_size_is_refused_and_not_computed_wrongly(tmp_path):
    network = onebyone.from_onnx(convolution(tmp_path / "net.onnx"))
    for run in (network, lambda images: compile_model(network, images)):
        with pytest.raises(onebyone.OneByOneError, match=r"reads \(N, 3, 8, 8\), and \(1, 3, 9, 8"):
            run(torch.zeros(1, 3, 9, 8))


def test_open_sizes_are_what_is_asked_for(tmp_path):
    path = convolution(tmp_path / "net.onnx", reads=("n", 3, "h", "w"))
    network = onebyone.from_onnx(path, size=(6, 10))
    assert network(torch.zeros(2, 3, 6, 10)).shape == (2, 4, 6, 10)
    assert onebyone.from_onnx(path, size=7)(torch.zeros(1, 3, 7, 7)).shape == (1, 4, 7, 7)


def test_images_with_channels_last_are_read_with_channels_first(tmp_path):
    nodes = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("Conv", "t w b", "y"),
        node("Transpose", "y", perm=[0, 2, 3, 1]),
    ]
    weights = {"w": W3, "b": WEIGHTS["b"]}
    check_file(write(tmp_path / "net.onnx", nodes, weights, reads=("n", 9, 7, 3)), batch=2)


def test_other_inputs_are_read_as_they_are(tmp_path):
    path = write(
        tmp_path / "net.onnx", [node("MatMul", "x m")], {"m": numbers(5, 4)}, reads=("n", 5)
    )
    network, values = onebyone.from_onnx(path), torch.randn(3, 5)
    assert relative_rms(network(values).detach(), run_file(path, values)[0]) < EXACT


def test_functions_that_are_written_out_are_put_together(tmp_path):
    for name, function in (("gelu written out", "gelu"), ("hard swish written out", "hardswish")):
        path = write(tmp_path / "net.onnx", NETWORKS[name], weights_of(NETWORKS[name]))
        graph = capture(onebyone.from_onnx(path), (torch.zeros(1, 3, 8, 8),)).graph
        (activation,) = [one for one in graph if isinstance(one, Activation)]
        assert activation.function.name == function
        assert not [one for one in graph if isinstance(one, Opaque)]


def test_simplifying_leaves_the_file_alone_and_shapes_become_numbers():
    model = make_model(NETWORKS["shape arithmetic"], WEIGHTS, reads=("n", 3, 8, 8))
    fix_inputs(model, None)
    before = model.SerializeToString()
    kinds = [one.op_type for one in simplify(model).graph.node]
    assert model.SerializeToString() == before
    assert kinds == ["Conv", "GlobalAveragePool", "Reshape", "Gemm"]


def test_constants_of_any_name_are_kept_apart(tmp_path):
    """As attributes of a module some would be one, and some are taken."""
    names = ("a.b", "a_b", "half", "training", "conv")
    nodes = [node("Conv", "x w", "y0")]
    nodes += [node("Mul", f"y{i} {name}", f"y{i + 1}") for i, name in enumerate(names)]
    constants = {name: np.float32(2 + i) for i, name in enumerate(names)}
    path = write(tmp_path / "net.onnx", nodes, {"w": W3, **constants}, gives=["y5"])
    check_file(path)


def test_a_network_goes_out_and_comes_in_again(tmp_path):
    """PyTorch's exporter can follow what was made of a file, with an open batch too."""
    network = onebyone.from_onnx(
        write(
            tmp_path / "net.onnx",
            [*POOLED, node("Reshape", "p rest", "f"), node("Gemm", "f turned")],
            {key: WEIGHTS[key] for key in ("w", "b", "rest", "turned")},
            reads=("n", 3, 8, 8),
        )
    )
    images = torch.randn(3, 3, 8, 8)
    onebyone.export(network, tmp_path / "again.onnx", example=images[:1], batch="any")
    again = onebyone.from_onnx(tmp_path / "again.onnx")
    assert relative_rms(again(images).detach(), network(images).detach()) < EXACT
