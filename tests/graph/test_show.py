"""A graph as text, and what its values are, node by node."""

import torch
import torch.nn.functional as F
from torch import nn

from onebyone.graph import capture, interpret, interpret_nodes
from onebyone.graph.graph import Convolution, Function, Graph, Input, Ref, Window
from onebyone.graph.windows import adaptive_windows, average_windows, max_windows


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False))
        self.norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        x = F.max_pool2d(F.relu6(self.norm(self.stem(x))), 3, 2, ceil_mode=True)
        x = F.interpolate(F.pad(F.channel_shuffle(x, 2), (1, 2, 0, 0)), scale_factor=2)
        x = torch.cat([x[:, ::2], x.cumsum(1)[:, :4]], 1) * 0.5
        return self.fc(x.mean((2, 3))).softmax(1), x.permute(0, 2, 3, 1)


SHOWN = """\
1x3x16x16  input     input 0
1x8x8x8    stem.0    convolution 3x3 stride=2 padding=1(input)
1x8x8x8    norm      batchnorm eps=1e-05(stem.0)
1x8x8x8    relu6     activation relu6(norm)
1x8x4x4    max_pool  pool max 4*3 x 4*3(relu6)
1x8x4x4    shuffle   shuffle groups=2(max_pool)
1x8x4x7    pad       pad 0,0,1,2(shuffle)
1x8x8x14   upsample  upsample nearest scale=2(pad)
1x4x8x14   slice     slice C[0:8:2](upsample)
1x8x8x14   cumsum    opaque aten.cumsum.default(upsample, 1)
1x4x8x14   slice_2   slice C[0:4](cumsum)
1x8x8x14   concat    concat(slice, slice_2)
1x1x1x1    constant  constant
1x8x8x14   mul       arithmetic mul(concat, constant)
1x8x1x1    avg_pool  pool avg 1*8 x 1*14(mul)
1x4x1x1    fc        convolution 1x1 bias(avg_pool)
1x4x1x1    softmax   softmax(fc)
outputs: softmax:NC, mul:NHWC"""


def test_a_graph_is_shown_line_by_line():
    graph = capture(Network().eval(), (torch.randn(1, 3, 16, 16),)).graph
    assert "\n".join(line.rstrip() for line in str(graph).splitlines()) == SHOWN
    assert Graph.of([], []).__str__() == "outputs: "


def test_what_a_convolution_says_of_itself():
    node = Convolution(
        name="a",
        inputs=("x", "r"),
        shape=(1, 4, 3, 3),
        path="block.conv",
        weight=torch.ones(4, 1, 3, 3),
        bias=torch.ones(4),
        padding=(0, 1, 0, 1),
        dilation=(2, 2),
        groups=4,
        activation=Function("clamp", (0.0, 0.5)),
    )
    graph = Graph.of([node], [Ref("a")])
    assert str(graph).splitlines()[0] == (
        "1x4x3x3  a  convolution 3x3 padding=0,1,0,1 dilation=2 groups=4 bias then clamp(0, 0.5)"
        "(x, r)  # block.conv"
    )


def test_what_pytorch_is_called_with():
    def function(x):
        return torch.index_select(x, 1, torch.tensor([2, 0])).sum((1, 2), keepdim=True, dtype=None)

    lines = str(capture(function, (torch.randn(1, 3, 4, 5),)).graph).splitlines()
    assert lines[1].endswith("opaque aten.index_select.default(input, 1, tensor[2])")
    assert lines[2].endswith("opaque aten.sum.dim_IntList(index_select, [1, 2], True)")


def test_every_node_has_a_value_of_its_shape():
    graph = capture(Network().eval(), (torch.randn(1, 3, 16, 16),)).graph
    values = dict(interpret_nodes(graph, [torch.randn(1, 3, 16, 16)], dtype=torch.float64))
    assert values.keys() == graph.nodes.keys()
    for name, value in values.items():
        assert tuple(value.shape) == graph[name].shape
        assert value.dtype == torch.float64


def test_a_convolution_with_all_that_rewrites_give_it():
    x, residual = torch.randn(2, 4, 6, 5), torch.randn(2, 8, 7, 3)
    weight, bias = torch.randn(8, 2, 3, 2), torch.randn(8)
    node = Convolution(
        name="conv",
        inputs=("x", "r"),
        shape=(2, 8, 7, 3),
        weight=weight,
        bias=bias,
        stride=(1, 2),
        padding=(1, 2, 0, 1),
        groups=2,
        activation=Function("relu"),
    )
    inputs = [
        Input(name=name, shape=tuple(value.shape), index=i)
        for i, (name, value) in enumerate({"x": x, "r": residual}.items())
    ]
    (got,) = interpret(Graph.of([*inputs, node], [Ref("conv")]), [x, residual])
    padded = torch.zeros(2, 4, 9, 6)
    padded[:, :, 1:7, :5] = x
    wanted = F.conv2d(padded, weight, bias, (1, 2), groups=2) + residual
    torch.testing.assert_close(got, wanted.clamp(min=0))


def test_windows():
    assert max_windows(4, 3, 2, 1, ceil_mode=True)[-1] == Window(3, 4, 1)
    assert len(max_windows(4, 2, 2, 1, ceil_mode=True)) == 3
    counted = average_windows(4, 3, 2, 1, ceil_mode=True, count_padding=True)
    assert counted == (Window(0, 2, 3), Window(1, 4, 3), Window(3, 4, 2))
    assert adaptive_windows(3, 5)[0] == Window(0, 1, 1)
