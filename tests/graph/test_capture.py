"""Arguments and results keep their nesting, and must be what was captured."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from onebyone.errors import ShapeError
from onebyone.graph import Convolution, Input, View, capture, interpret
from tests.helpers.graphs import check_capture


def image(channels=4):
    return torch.randn(2, channels, 7, 5)


def test_nested_arguments_and_results():
    def function(x, others, *, scale, last=None):
        first = x + others["a"]
        return {"sum": first, "rest": (others["b"][0] * scale, None, 3), "view": x.mean((2, 3))}

    others = {"a": image(), "b": [image(1), 7]}
    check_capture(function, image(), others, scale=2.0, last=None)


def test_results_of_other_containers_and_of_nothing_new():
    check_capture(lambda x: OrderedDict(a=x, b=x + 1), image())
    check_capture(lambda x: [x, x], image())
    check_capture(lambda x: x, image())
    constant = torch.arange(3)
    check_capture(lambda x: (x.relu(), constant), image())


def test_outputs_are_shown_in_views():
    def function(x):
        return x, x.permute(0, 2, 3, 1), x.mean((2, 3)), x.flatten(2)

    graph = check_capture(function, image())
    views = [ref.view for ref in graph.outputs]
    assert views == [View.NCHW, View.NHWC, View.NC, View.NCHW]


def test_inputs_that_nobody_reads_stay():
    graph = check_capture(lambda x, y: x.relu(), image(), torch.ones(3))
    assert [node.index for node in graph if isinstance(node, Input)] == [0, 1]


def test_what_nobody_reads_goes():
    graph = check_capture(lambda x: (x.relu().sum(), x.tanh())[1], image())
    assert [node.name for node in graph] == ["input", "tanh"]


def test_other_arguments_are_refused():
    captured = capture(lambda x, n: x * n, (image(), 3))
    assert len(captured.flatten((image(), 3))) == 1
    with pytest.raises(
        ShapeError, match=r"^argument 0 must be torch.float32 \(2, 4, 7, 5\) as in "
    ):
        captured.flatten((image(3), 3))
    with pytest.raises(ShapeError, match=r"got torch.float64 \(2, 4, 7, 5\); capture it again$"):
        captured.flatten((image().double(), 3))
    with pytest.raises(ShapeError, match=r"^argument 0 must be a tensor; got str$"):
        captured.flatten(("x", 3))
    with pytest.raises(
        ShapeError, match=r"^argument 1 must be 3 as in .*; got 4; capture it again"
    ):
        captured.flatten((image(), 4))
    with pytest.raises(ShapeError, match=r"^the arguments must be nested as in the example"):
        captured.flatten((image(),), {"n": 3})


def test_constants_among_the_arguments():
    captured = capture(lambda w, x: x * w, (torch.full((4, 1, 1), 2.0), image()), constants=[0])
    assert len(captured.graph.inputs) == 1
    x = image()
    (tensor,) = captured.flatten((torch.zeros(1), x))
    torch.testing.assert_close(interpret(captured.graph, [tensor]), [2 * x])


def test_the_network_is_left_as_it_was():
    network = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    capture(network, (image(),))
    for name, tensor in network.state_dict().items():
        assert (tensor == before[name]).all()
    assert all(p.requires_grad for p in network.parameters())


def test_capturing_imports_no_compiler(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys, torch; from torch import nn; from onebyone.graph import capture; "
        "n = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU6(True), nn.MaxPool2d(2),"
        " nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval(); "
        "capture(n, (torch.randn(1, 3, 9, 9),)); "
        "assert not {'sympy', 'torch._dynamo'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_a_network_without_numbers_is_captured_as_one_with_numbers():
    def network():
        layers = nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8, affine=False), nn.ReLU(inplace=True)
        scaled = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 6, 1))
        return nn.Sequential(*layers, scaled, nn.Flatten(), nn.Linear(90, 3)).eval()

    with torch.device("meta"):
        empty = network()
    captured = capture(empty, (image(),)).graph
    assert str(captured) == str(capture(network(), (image(),)).graph)
    tensors = [tensor for node in captured for tensor in node.tensors()]
    assert len(tensors) == 10
    assert all(tensor.is_meta for tensor in tensors)


@pytest.mark.parametrize(
    ("layer", "pointwise", "pixelwise", "depthwise", "channelwise"),
    [
        (nn.Conv2d(4, 8, 1), True, True, False, False),
        (nn.Conv2d(4, 8, 1, stride=2), True, True, False, False),
        (nn.Conv2d(4, 8, 1, padding=1), True, False, False, False),
        (nn.Conv2d(4, 8, 1, groups=2), False, False, False, False),
        (nn.Conv2d(4, 4, 1, groups=4), False, False, True, True),
        (nn.Conv2d(4, 8, (1, 3), groups=4), False, False, True, False),
        (nn.Conv2d(4, 8, 3), False, False, False, False),
    ],
)
def test_what_a_convolution_is_called(layer, pointwise, pixelwise, depthwise, channelwise):
    _, node = capture(layer.eval(), (image(),)).graph
    assert (node.is_pointwise, node.is_pixelwise) == (pointwise, pixelwise)
    assert (node.is_depthwise, node.is_channelwise) == (depthwise, channelwise)
    assert not node.is_linear


def test_a_linear_layer_is_a_convolution_that_says_so():
    graph = capture(nn.Linear(5, 3).eval(), (torch.randn(2, 5),)).graph
    (node,) = (node for node in graph if isinstance(node, Convolution))
    assert node.is_linear
    assert node.is_pointwise
