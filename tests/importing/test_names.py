"""Layers of ONNX files are called what the network that was exported called them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import onebyone
from onebyone.importing.names import Origins, name_layers
from tests.helpers.onnx_files import make_model, node, numbers, write

RENAMED = {"is_taken": lambda name: name in ("forward", "training")}


def names_of(nodes):
    model = make_model(nodes, {})
    return list(
        name_layers({one.output[0]: one for one in nodes}, Origins.of(model), **RENAMED).values()
    )


@pytest.mark.parametrize(
    ("weight", "name", "path"),
    [
        ("layer1.0.conv1.weight", "node_conv2d_1", "layer1.0.conv1"),
        ("onnx::Conv_193", "/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
        ("onnx::Conv_193", "/model.2/cv1/conv/Conv", "model.2.cv1.conv"),
        ("391", "Conv_0", "conv"),
        ("conv2d_0.w_0", "p2o.Conv.0", "conv2d_0"),
        ("conv1_weights", "Conv@0", "conv1"),
        ("stage1_conv0_weight", "stage1_conv0_fwd", "stage1_conv0"),
        ("features.forward.weight", "", "features.forward_"),
        ("größe/1.weight", "", "gr_e.1"),
    ],
)
def test_what_exporters_call_a_layer(weight, name, path):
    assert names_of([node("Conv", f"x {weight}", name=name)]) == [path]


def test_the_networks_own_name_is_left_away():
    """TensorFlow puts it before all others."""
    nodes = [
        node("Conv", "x net/stem/Conv2D/ReadVariableOp:0", "a", name="Conv__12"),
        node("Conv", "a folded", "b", name="net/block/depthwise/depthwise"),
        node("MatMul", "b net/top/MatMul/ReadVariableOp:0", "out", name="net/top/MatMul"),
    ]
    assert names_of(nodes) == ["stem", "block.depthwise", "top"]


def test_a_note_of_pytorchs_exporter_is_read():
    one = node("Conv", "x folded", name="node_conv2d")
    prop = one.metadata_props.add()
    prop.key, prop.value = "pkg.torch.onnx.name_scopes", "['', 'stem', 'stem.conv', 'conv2d']"
    assert names_of([one]) == ["stem.conv"]


WORDS = st.lists(st.sampled_from(["a", "b", "0"]), min_size=1, max_size=3).map(".".join)


@given(st.lists(WORDS, max_size=8))
def test_no_two_layers_are_alike_and_none_is_within_another(paths):
    nodes = [node("Conv", f"x {path}.weight{i * ' '}", f"o{i}") for i, path in enumerate(paths)]
    found = names_of(nodes)
    assert len(set(found)) == len(paths)
    for one in found:
        assert not [other for other in found if other.startswith(f"{one}.")]


def test_a_merged_batch_norm_leaves_the_convolution_its_name(tmp_path):
    nodes = [
        node("Conv", "x onnx::Conv_1", "y", name="/stem/conv/Conv"),
        node("BatchNormalization", "y s b m v", "z", name="/stem/bn/BatchNormalization"),
        node("Relu", "z", name="/stem/act/Relu"),
    ]
    ones = {"s": 1.5, "b": 0.5, "m": 0.1, "v": 2.0}
    weights = {name: numbers(4) * 0 + value for name, value in ones.items()}
    weights["onnx::Conv_1"] = numbers(4, 3, 1, 1)
    network = onebyone.from_onnx(write(tmp_path / "net.onnx", nodes, weights))
    assert isinstance(network.stem.conv, nn.Conv2d)
    report = onebyone.explain(network, torch.zeros(1, 3, 8, 8))
    assert [one["name"] for one in report.to_json()["pointwise"]] == ["stem.conv"]


def test_layers_that_share_weights_are_one_module(tmp_path):
    nodes = [node("Conv", "x w", "a"), node("Relu", "a", "r"), node("Conv", "r w", "b")]
    path = write(tmp_path / "net.onnx", nodes, {"w": numbers(3, 3, 1, 1)}, gives=("b",))
    network = onebyone.from_onnx(path)
    assert [type(one) for one in network.children()] == [nn.Conv2d]
    assert len(list(network.parameters())) == 1
