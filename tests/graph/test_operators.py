"""Each operator, over shapes and options: the graph gives what PyTorch gives."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from onebyone.graph import (
    Activation,
    Arithmetic,
    Concat,
    Convolution,
    LayerNorm,
    Pad,
    Pool,
    Reshape,
    Shuffle,
    Slice,
    Softmax,
    Upsample,
)
from onebyone.graph.interpret import apply_function
from tests.helpers.functions import EXAMPLES
from tests.helpers.graphs import check_capture

pixels = st.integers(1, 9)


def kinds(graph):
    return [type(node) for node in graph][1:]


def image(channels=4, height=7, width=5, batch=2):
    return torch.randn(batch, channels, height, width)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@given(
    pixels,
    pixels,
    st.sampled_from([(1, 1), (3, 3), (1, 5), (4, 2)]),
    st.sampled_from([(1, 1), (2, 1), (3, 2)]),
    st.sampled_from([(4, 6, 1), (4, 6, 2), (4, 4, 4), (4, 8, 4)]),
    st.integers(1, 2),
    st.booleans(),
    st.sampled_from(["same", 0, (2, 1), (4, 5)]),
)
def test_convolution(height, width, kernel, stride, channels, dilation, bias, padding):
    if padding == "same":
        stride = 1
    in_channels, out_channels, groups = channels
    options = {"stride": stride, "groups": groups, "dilation": dilation, "bias": bias}
    layer = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, **options).eval()
    x = image(4, height + 12 if padding == 0 else height + 8, width + 12)
    graph = check_capture(layer, x)
    assert set(kinds(graph)) <= {Pad, Convolution}


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.ConvTranspose2d(4, 6, 3, stride=2), image()),
        (nn.Conv1d(4, 6, 3), torch.randn(2, 4, 9)),
        (nn.Conv3d(4, 6, 1), torch.randn(2, 4, 3, 3, 3)),
    ],
    ids=["transposed", "1d", "3d"],
)
def test_other_convolutions_are_left_to_pytorch(layer, x):
    check_capture(layer.eval(), x, opaque=["convolution"])


def test_a_convolution_of_one_image_without_a_batch():
    assert Convolution in kinds(check_capture(nn.Conv2d(4, 6, 3), torch.randn(4, 9, 9)))


@given(pixels, pixels, st.integers(1, 3), st.integers(1, 3), st.integers(0, 1), st.booleans())
def test_max_pool(height, width, kernel, stride, padding, ceil_mode):
    kernel = max(kernel, 2 * padding)
    layer = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)
    x = image(3, height + 2, width + 2)
    assert kinds(check_capture(layer, x)) == [Pool]


@given(
    pixels,
    pixels,
    st.sampled_from([(2, 3), (3, 3), (1, 2)]),
    st.sampled_from([(1, 1), (2, 3), (3, 2)]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, 5]),
)
def test_avg_pool(height, width, kernel, stride, padded, ceil_mode, count_include_pad, divisor):
    padding = (kernel[0] // 2, kernel[1] // 2) if padded else 0
    layer = nn.AvgPool2d(
        kernel, stride, padding, ceil_mode, count_include_pad, divisor_override=divisor
    )
    assert kinds(check_capture(layer, image(3, height + 2, width + 2))) == [Pool]


@given(
    pixels, pixels, pixels, pixels, st.sampled_from([F.adaptive_avg_pool2d, F.adaptive_max_pool2d])
)
def test_adaptive_pool(height, width, rows, columns, pool):
    x = image(3, height, width)
    assert kinds(check_capture(lambda x: pool(x, (rows, columns)), x)) == [Pool]


@pytest.mark.parametrize("dims", [(2, 3), (-1, -2), (2,), (3,)])
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("reduce", [torch.mean, torch.amax])
def test_mean_and_maximum_of_pixels(dims, keepdim, reduce):
    graph = check_capture(lambda x: reduce(x, dims, keepdim), image())
    assert kinds(graph)[0] is Pool


def test_a_pool_that_is_asked_where_its_maxima_are_is_left_to_pytorch():
    layer = nn.MaxPool2d(2, return_indices=True)
    check_capture(layer, image(), opaque=["max_pool2d_with_indices"])
    dilated = nn.MaxPool2d(2, dilation=2)
    check_capture(dilated, image(), opaque=["max_pool2d_with_indices"])


@pytest.mark.parametrize("dims", [(0,), (1,), (0, 2, 3), (1, 2, 3)])
def test_means_over_channels_or_images_are_left_to_pytorch(dims):
    check_capture(lambda x: x.mean(dims), image(), opaque=["mean"])


@given(
    pixels,
    pixels,
    st.sampled_from([{"size": (5, 9)}, {"scale_factor": 2}, {"scale_factor": (1.7, 0.6)}]),
    st.sampled_from(
        [
            {"mode": "nearest"},
            {"mode": "bilinear", "align_corners": False},
            {"mode": "bilinear", "align_corners": True},
        ]
    ),
)
def test_upsample(height, width, size, mode):
    x = image(2, height + 1, width + 1)
    graph = check_capture(lambda x: F.interpolate(x, **size, **mode), x)
    assert kinds(graph) == [Upsample]


@pytest.mark.parametrize("mode", ["bicubic", "nearest-exact"])
def test_other_upsampling_is_left_to_pytorch(mode):
    name = {"bicubic": "upsample_bicubic2d", "nearest-exact": "_upsample_nearest_exact2d"}[mode]
    check_capture(lambda x: F.interpolate(x, size=(9, 9), mode=mode), image(), opaque=[name])


@given(st.lists(st.integers(0, 3), min_size=4, max_size=4), st.sampled_from([0.0, -1.5]))
def test_pad(pad, value):
    graph = check_capture(lambda x: F.pad(x, pad, value=value) * 2, image())
    assert kinds(graph)[:1] == [Pad] or not any(pad)


@given(st.lists(st.integers(0, 2), min_size=4, max_size=4))
def test_pad_of_images_with_channels_last(pad):
    """The channels come first in PyTorch's list, and are not padded."""

    def network(x):
        return F.pad(x.permute(0, 2, 3, 1) * 2, (0, 0, *pad)).permute(0, 3, 1, 2)

    graph = check_capture(network, image())
    assert Pad in kinds(graph) or not any(pad)


def test_pad_of_one_row_pads_rows():
    check_capture(lambda x: F.pad(x[:, :1, :1] * 2, (0, 0, 2, 1)), image())


def test_pads_that_cut_or_that_add_channels_are_left_to_pytorch():
    check_capture(lambda x: F.pad(x, (-1, 0, 1, 1)), image(), opaque=["constant_pad_nd"])
    check_capture(lambda x: F.pad(x, (0, 0, 0, 0, 1, 0)), image(), opaque=["constant_pad_nd"])
    check_capture(lambda x: F.pad(x, (1, 1, 1, 1), "reflect"), image(), opaque=["reflection_pad2d"])


FUNCTIONS = {
    **{str(function): partial(apply_function, function) for function in EXAMPLES},
    "clamp(-0.5, 0.7)": lambda x: F.hardtanh(x, -0.5, 0.7),
    "clamp(-0.25, 1)": lambda x: x.clamp(-0.25, 1),
    "clamp(-inf, 0.5)": lambda x: x.clamp_max(0.5),
    "clamp(0.25, inf)": lambda x: x.clamp(min=0.25),
}


@pytest.mark.parametrize("shown", FUNCTIONS)
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3)])
def test_activation(shown, shape):
    graph = check_capture(FUNCTIONS[shown], torch.randn(shape) * 4)
    (node,) = [node for node in graph if isinstance(node, Activation)]
    assert str(node.function) == shown


def test_a_clamp_at_0_and_at_6_has_its_own_name():
    graph = check_capture(lambda x: x.clamp(0, 6).clamp_min(0), image())
    assert [str(n.function) for n in graph if isinstance(n, Activation)] == ["relu6", "relu"]


@pytest.mark.parametrize(
    "function",
    [
        *(F.relu_, F.hardtanh_, F.leaky_relu_, torch.Tensor.sigmoid_, torch.Tensor.tanh_),
        *(lambda x: F.silu(x, inplace=True), lambda x: F.hardswish(x, inplace=True)),
        *(lambda x: x.clamp_(0, 1), lambda x: x.add_(x), lambda x: x.mul_(3), lambda x: x.neg_()),
    ],
)
def test_functions_that_work_in_place(function):
    check_capture(lambda x: function(x * 1) + 1, image())


def test_activations_of_other_tensors_are_left_to_pytorch():
    check_capture(F.relu, torch.randn(2, 3, 4), opaque=["relu"])
    check_capture(F.celu, image(), opaque=["celu"])
    check_capture(lambda x: x.clamp(min=x.mean()), image(), opaque=["clamp", "mean"])


SHAPES = [(2, 4, 7, 5), (2, 4, 1, 1), (1, 4, 1, 1), (1, 1, 7, 5), (4, 1, 1), (5,), (2, 1, 7, 1), ()]
OPERATORS = [torch.add, torch.sub, torch.mul, torch.div, torch.maximum, torch.minimum]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda f: f.__name__)
def test_arithmetic_with_constants_and_values(operator, shape):
    constant = torch.rand(shape) + 1
    for function in (lambda x: operator(x, constant), lambda x: operator(constant, x + 9)):
        graph = check_capture(function, image())
        assert Arithmetic in kinds(graph)
    for function in (lambda x, y: operator(x, y), lambda x, y: operator(y, x + 9)):
        opaque = (operator.__name__,) if 0 < len(shape) < 4 else ()
        check_capture(function, image(), torch.rand(shape) + 1, opaque=()) if opaque else None
    if len(shape) == 4:
        check_capture(operator, image(), torch.rand(shape) + 1)


def test_arithmetic_with_numbers():
    def function(x):
        return (1 - x * 3) / 7 + 2 - (-x) + torch.sub(x, x * 2, alpha=3) + torch.rsub(x, 2, alpha=4)

    assert set(kinds(check_capture(function, image()))) >= {Arithmetic}
    check_capture(lambda x: torch.add(x, torch.ones(5), alpha=0.5), image())
    check_capture(lambda x, y, z: torch.addcmul(x, y, z), image(), image(), image(batch=1))


def test_a_constant_larger_than_the_value_decides_the_shape():
    grid = torch.randn(1, 4, 7, 5)
    check_capture(lambda x: x.mean((2, 3), keepdim=True) + grid, image())
    check_capture(lambda x: x.mean((2, 3)) + torch.ones(2, 4), image())


def test_other_arithmetic_is_left_to_pytorch():
    check_capture(lambda x: x + x.long(), image(), opaque=["_to_copy", "add"])
    check_capture(lambda x: torch.div(x, 0.3, rounding_mode="floor"), image(), opaque=["div"])
    check_capture(lambda x: x**3, image(), opaque=["pow"])


@pytest.mark.parametrize("make", [lambda x: x, lambda x: x.mean((2, 3)), lambda x: x.flatten(1)])
def test_batch_norm_and_dropout(make):
    x = image()
    channels = make(x).shape[1]
    kind = nn.BatchNorm2d if make(x).dim() == 4 else nn.BatchNorm1d
    norm = kind(channels)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    check_capture(nn.Sequential(norm, nn.Dropout(0.5)).eval(), make(x))
    plain = kind(channels, affine=False).eval()
    check_capture(lambda x: plain(make(x.float())).to(x.dtype), x)


def test_batch_norm_by_the_batch_is_left_to_pytorch():
    norm = nn.BatchNorm2d(4, track_running_stats=False).eval()
    check_capture(norm, image(), opaque=["native_batch_norm"])


@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm_of_channels(affine):
    norm = nn.LayerNorm(4, elementwise_affine=affine)
    nn.init.normal_(norm.weight) if affine else None
    network = Permuted((0, 2, 3, 1), norm, (0, 3, 1, 2))
    assert kinds(check_capture(network, image())) == [LayerNorm]
    assert LayerNorm in kinds(check_capture(norm, torch.randn(2, 4)))


def test_other_norms_are_left_to_pytorch():
    check_capture(nn.LayerNorm((7, 5)), image(), opaque=["native_layer_norm"])
    check_capture(nn.LayerNorm(5), torch.randn(2, 3, 5), opaque=["native_layer_norm"])
    check_capture(nn.GroupNorm(2, 4), image(), opaque=["native_group_norm"])


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x: x.softmax(1), (2, 4, 7, 5)),
        (lambda x: x.softmax(1), (2, 4)),
        (lambda x: x.permute(0, 2, 3, 1).softmax(-1), (2, 4, 7, 5)),
        (lambda x: x.flatten(1).softmax(1), (2, 4, 1, 1)),
    ],
)
def test_softmax_of_channels(function, shape):
    assert Softmax in kinds(check_capture(function, torch.randn(shape)))


def test_softmax_of_pixels_is_left_to_pytorch():
    check_capture(lambda x: x.softmax(-1), image(), opaque=["_softmax"])


@pytest.mark.parametrize("shape", [(2, 4, 7, 4), (2, 4), (3, 7, 4)])
def test_linear(shape):
    layer = nn.Linear(4, 6)
    if len(shape) == 3:
        check_capture(layer, torch.randn(shape), opaque=["addmm"])
    else:
        assert Convolution in kinds(check_capture(layer, torch.randn(shape)))


@pytest.mark.parametrize("bias", [True, False])
def test_linear_of_all_pixels(bias):
    network = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(4 * 7 * 5, 3, bias=bias))
    assert kinds(check_capture(network, image())) == [Activation, Reshape, Convolution]


def test_matrix_products_of_values_are_left_to_pytorch():
    check_capture(lambda x, y: x @ y, torch.randn(2, 3), torch.randn(3, 4), opaque=["mm"])
    bias, weight = torch.ones(4), torch.ones(3, 4)
    check_capture(
        lambda x: torch.addmm(bias.to(x.dtype), x, weight.to(x.dtype), alpha=2),
        torch.randn(2, 3),
        opaque=["addmm"],
    )


PARTS = {
    "chunk": lambda x: x.chunk(2, 1)[1],
    "split": lambda x: torch.cat(x.split([1, 3], 1)[::-1], 1),
    "rows": lambda x: x[:, :, 1:-1],
    "columns": lambda x: x[..., ::2],
    "narrow": lambda x: x.narrow(2, 3, 2),
    "select": lambda x: x[:, :, 3],
    "select a channel": lambda x: x[:, 1] + 1,
    "unbind": lambda x: x.unbind(3)[1],
    "focus": lambda x: torch.cat([x[..., ::2, ::2][..., :2], x[..., 1::2, 1::2][:, :, :, :2]], 2),
    "third of the channels": lambda x: x.view(2, 2, 2, 7, 5)[:, 1],
    "of NHWC": lambda x: x.permute(0, 2, 3, 1)[..., 1:3].permute(0, 3, 1, 2),
    "of a vector": lambda x: x.mean((2, 3))[:, 1:3],
    "all": lambda x: x[:, 0:99] * 2,
}


@pytest.mark.parametrize("name", PARTS)
def test_slice(name):
    opaque = ["cat"] if name == "focus" else []
    graph = check_capture(PARTS[name], image(), opaque=opaque)
    assert Slice in kinds(graph) or name == "all"


def test_parts_of_the_batch_are_left_to_pytorch():
    check_capture(lambda x: x[:1], image(), opaque=["slice"])
    check_capture(lambda x: x[1], image(), opaque=["select"])
    check_capture(lambda x: x.unbind(0)[1], image(), opaque=["unbind"])
    check_capture(lambda x: x.split(1)[1], image(), opaque=["split"])
    check_capture(lambda x: x[:, 0:0], image(), opaque=["slice"])


@pytest.mark.parametrize(
    "join",
    [
        lambda x, y: torch.cat([x, y, x], 1),
        lambda x, y: torch.cat([x.permute(0, 2, 3, 1), y.permute(0, 2, 3, 1)], -1),
        lambda x, y: torch.cat([x.mean((2, 3)), y.mean((2, 3))], 1),
        lambda x, y: torch.cat([x, torch.ones(2, 1, 7, 5)], 1),
        lambda x, y: torch.cat([x.mean((2, 3)), torch.ones(2, 1)], 1),
        lambda x, y: torch.cat([x.flatten(1), y.flatten(1)], 1),
        lambda x, y: torch.cat([x.permute(0, 2, 3, 1), torch.ones(2, 7, 5, 1)], -1),
    ],
)
def test_concat(join):
    graph = check_capture(join, image(), image(3))
    assert Concat in kinds(graph)


def test_other_joins_are_left_to_pytorch():
    check_capture(lambda x: torch.cat([x, x], 0), image(), opaque=["cat"])
    check_capture(lambda x: torch.cat([x, x], 2), image(), opaque=["cat"])
    check_capture(lambda x: torch.stack([x, x], 1), image(), opaque=["stack"])
    check_capture(lambda x: torch.cat([x, x.double()], 1), image(), opaque=["cat", "_to_copy"])


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_shuffle(groups):
    def by_hand(x):
        n, c, h, w = x.shape
        return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w) * 2

    assert (Shuffle in kinds(check_capture(by_hand, image(6)))) == (groups > 1)
    graph = check_capture(lambda x: F.channel_shuffle(x, groups).relu().chunk(2, 1)[0], image(6))
    assert set(kinds(graph)) <= {Shuffle, Activation, Slice}


class Permuted(nn.Module):
    def __init__(self, before, inner, after):
        super().__init__()
        self.before, self.inner, self.after = before, inner, after

    def forward(self, x):
        return self.inner(x.permute(self.before)).permute(self.after)


class ConvNeXtBlock(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.conv_dw = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(torch.rand(dim))

    def forward(self, x):
        y = self.norm(self.conv_dw(x).permute(0, 2, 3, 1))
        return x + (self.fc2(F.gelu(self.fc1(y))) * self.gamma).permute(0, 3, 1, 2)


def test_a_convnext_block_has_no_copies():
    graph = check_capture(ConvNeXtBlock(4).eval(), image())
    assert [node.kind for node in graph if node.inputs] == [
        *("convolution", "layernorm", "convolution", "activation", "convolution"),
        *("arithmetic", "arithmetic"),
    ]


def test_a_gate_that_is_expanded_by_hand_is_not_copied():
    def gate(x):
        return x * x.mean((2, 3)).sigmoid().view(2, 4, 1, 1).expand_as(x)

    graph = check_capture(gate, image())
    assert kinds(graph) == [Pool, Activation, Arithmetic]
    check_capture(
        lambda x: x.mean((2, 3), keepdim=True).expand(2, 4, 3, 3) * 2, image(), opaque=["mul"]
    )
    check_capture(lambda x: x.mean((2, 3), keepdim=True).expand(2, 4, 3, 3).flatten(2), image())


def test_tokens_of_an_image_are_still_its_pixels():
    norm, layer = nn.LayerNorm(4), nn.Linear(4, 6)
    position = torch.randn(1, 35, 4)

    def embed(x):
        tokens = x.flatten(2).transpose(1, 2)
        return norm.to(x.dtype)(tokens) + position.to(x.dtype)

    graph = check_capture(embed, image())
    assert {LayerNorm, Arithmetic} < set(kinds(graph))
    norm.float()
    layer.float()
    graph = check_capture(
        nn.Sequential(nn.Flatten(2), Permuted((0, 2, 1), layer, (0, 2, 1))), image()
    )
    assert Convolution in kinds(graph)


def test_views_of_what_pytorch_computed():
    check_capture(lambda x: x.cumsum(1).relu(), torch.randn(2, 3), opaque=["cumsum"])
    layer = nn.Conv2d(4, 4, 3).eval()
    network = nn.Sequential(nn.Flatten(2), nn.Softmax(-1), nn.Unflatten(2, (7, 5)), layer)
    check_capture(network, image(), opaque=["_softmax"])
    channels_last = nn.Sequential(
        Permuted((0, 2, 3, 1), nn.Softmax(2), (0, 1, 2, 3)), nn.Linear(4, 3)
    )
    check_capture(channels_last, image(), opaque=["_softmax"])


def test_other_types_pass_through_pytorch():
    check_capture(lambda x: x.argmax(1), image(), opaque=["argmax"])
    check_capture(lambda x: x.half().float() + 0, image() * 0, opaque=["_to_copy"])
    check_capture(
        lambda i: torch.ones(7, 3)[i].sum(1), torch.tensor([1, 5]), opaque=["index", "sum"]
    )
