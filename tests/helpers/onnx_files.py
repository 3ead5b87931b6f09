"""Little ONNX files, written by hand with `onnx.helper`."""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from onebyone.importing.check import run_onnx

IMAGE = (1, 3, 8, 8)


def numbers(*shape, seed=0):
    """Random weights, small enough for sums of them to stay near 1."""
    generator = np.random.default_rng([seed, *shape])
    return (generator.standard_normal(shape) / max(1, np.prod(shape[1:])) ** 0.5).astype("float32")


def node(operator, inputs, outputs="out", name=None, domain="", **settings):
    """A node; names stand between spaces."""
    return helper.make_node(
        operator, inputs.split(), outputs.split(), name=name, domain=domain, **settings
    )


def make_model(nodes, weights=None, *, reads=IMAGE, gives=("out",), opset=17, domains=(), facts=()):
    """A file's content: of what is read, one tensor "x"; sizes may be words, or None."""
    initializers = [
        numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()
    ]
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, reads)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in gives],
        initializers,
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(one, 1) for one in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, dict(facts))
    return model


def write(path, *args, **kwargs):
    """Write such a file."""
    onnx.save(make_model(*args, **kwargs), path)
    return path


def run_file(path, images):
    """What ONNX Runtime gives for a file."""
    found = run_onnx(onnx.load(path), [images])
    assert found is not None
    return found


def convolution(path, *, weight=None, reads=IMAGE, **settings):
    """A file of one 1x1 convolution, or of another one."""
    weight = numbers(4, 3, 1, 1) if weight is None else weight
    return write(path, [node("Conv", "x w", **settings)], {"w": weight}, reads=reads)


def relative_rms(found, wanted):
    """How far two tensors are apart."""
    found, wanted = torch.as_tensor(found).double(), torch.as_tensor(wanted).double()
    return float((found - wanted).norm() / wanted.norm())
