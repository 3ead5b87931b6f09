"""One compilation for several sizes of images: same bits, each layout of weights once."""

import hashlib
import pickle
from itertools import pairwise
from math import prod

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import onebyone
from onebyone.compiler import (
    TARGETS,
    BatchedModel,
    CompiledModel,
    CompileOptions,
    ShapedModel,
    compile_model,
)
from onebyone.compiler.choose.tiling import TileSize, cut_tiles
from onebyone.compiler.emit.matrix_tiles import DEPTH
from onebyone.compiler.kernels.dense.weights import pack_pairs
from onebyone.compiler.kernels.matrix.weights import pack_matrix
from onebyone.compiler.plan.plan import plan_execution
from onebyone.compiler.sharing import rewrite_alike
from onebyone.errors import CompileError, FallbackWarning, ModelError, ShapeError
from onebyone.graph import Convolution, Opaque, capture
from onebyone.models import create_model

BUILD = "onebyone.compiler.compile.build"


class Pyramid(nn.Module):
    """Winograd, a band of rows, groups, pools, a part enlarged to the size of another, and one
    encoding of positions for each size.
    """

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(32, 48, 1), nn.Conv2d(48, 48, 3, 2, 1, groups=48))
        self.tail = nn.Conv2d(48, 32, 1)
        self.grouped = nn.Conv2d(64, 20, 3, padding=1, groups=4)
        self.positions = nn.Parameter(torch.randn(1, 32, 4, 4))
        self.head = nn.Linear(20, 7)

    def forward(self, x):
        x = self.stem(x)
        small = self.tail(self.deep(x))
        x = x + F.interpolate(self.positions, size=x.shape[-2:])
        y = self.grouped(torch.cat([x, F.interpolate(small, size=x.shape[-2:])], 1))
        return F.max_pool2d(y, 2), self.head(y.mean((2, 3)))


def pyramid():
    torch.manual_seed(0)
    return Pyramid().eval()


def images(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def check_same(one, other):
    for found, wanted in zip(one, other, strict=True):
        assert torch.equal(found, wanted)


def check_near(found, x):
    """PyTorch's float64 is the oracle."""
    with torch.inference_mode():
        for one, wanted in zip(found, pyramid().double()(x.double()), strict=True):
            torch.testing.assert_close(one.double(), wanted, rtol=1e-4, atol=1e-5)


SIZES = st.lists(st.tuples(st.integers(4, 40), st.integers(4, 40)), min_size=2, max_size=4)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(SIZES.map(lambda sizes: list(dict.fromkeys(sizes))), st.integers(1, 2), st.data())
def test_any_sizes_have_the_bits_that_they_have_alone(sizes, threads, data):
    model = pyramid()
    fast = onebyone.compile(model, images(1, 3, 9, 9), shapes=sizes, threads=threads)
    for size in sizes:
        check_near(fast(images(1, 3, *size)), images(1, 3, *size))
    x = images(1, 3, *data.draw(st.sampled_from(sizes)))
    check_same(fast(x), compile_model(model, x)(x))


@pytest.mark.parametrize("numerics", ["fp32", "fp32-direct", "fp16-weights"])
def test_numbers_and_sizes_of_images_together(numerics):
    model, sizes = pyramid(), [(24, 40), (16, 16)]
    fast = onebyone.compile(model, images(1, 3, 8, 8), shapes=sizes, batch="any", numerics=numerics)
    assert all(isinstance(one, BatchedModel) for one in fast.models.values())
    for size in sizes:
        x = images(11, 3, *size)
        one = compile_model(model, x[:1], numerics=numerics)
        alone = [torch.cat(parts) for parts in zip(*map(one, x.split(1)), strict=True)]
        for count in (8, 1, 3, 11):
            check_same(fast(x[:count]), [part[:count] for part in alone])


def test_weights_and_working_memory_are_there_once():
    model, sizes = create_model("resnet18").eval(), [(32, 32), (64, 64), (32, 64)]
    fast = onebyone.compile(model, images(1, 3, 64, 64), shapes=sizes, numerics="fp32-direct")
    largest = compile_model(model, images(1, 3, 64, 64), numerics="fp32-direct")
    assert fast.memory_bytes < 1.02 * largest.memory_bytes
    steps = [one.native_steps[0] for one in fast.models.values()]
    assert len({id(step.function.memory) for step in steps}) == 1


def plans_of(sizes, name="resnet18", **options):
    model = create_model(name).eval()
    graphs = rewrite_alike([capture(model, (torch.empty(1, 3, *one),)).graph for one in sizes])
    options, plans = CompileOptions(**options), []
    for graph in graphs:
        plans.append(
            plan_execution(graph, TARGETS["avx512"], options, like=plans[-1] if plans else None)
        )
    return graphs, plans


def test_each_layout_of_weights_is_kept_once():
    """Constants are the union of what sizes read: algorithms differ, and the last repeats them."""
    sizes = [(256, 320), (224, 224), (96, 96), (64, 64), (256, 256)]
    graphs, plans = plans_of(sizes)
    ways = [{name: one.winograd for name, one in plan.choices.items()} for plan in plans]
    assert any(one != other for one, other in pairwise(ways)), "nothing to tell apart"
    expected = 0
    for name, way in {pair for some in ways for pair in some.items()}:
        node = graphs[0].nodes.get(name)
        if isinstance(node, Convolution):
            vectors = plans[-1].layouts[name, way]
            block = vectors * TARGETS["avx512"].lanes
            products = way.multiplications if way else prod(node.kernel_size)
            expected += products * node.weight.shape[1] * -(-node.shape[1] // block) * block
    constants = plans[0].constants
    assert all(plan.constants is constants for plan in plans)
    assert expected <= constants.size < 1.02 * expected
    block, large = constants.block(), []
    for name, (size, _) in constants._packs.items():
        start = constants.offsets[name]
        if size > 4096:
            large.append(hashlib.sha256(block[start : start + size].numpy().data).digest())
    assert len(large) == len(set(large)) > 20


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2", "googlenet"])
def test_a_size_more_adds_tables_alone_where_algorithms_agree(name):
    sizes = [(256, 320), (224, 224), (192, 192)]
    options = {"name": name, "numerics": "fp32-direct"}
    (_, several), (_, one) = (plans_of(some, **options) for some in (sizes, sizes[:1]))
    assert several[0].constants.size < 1.05 * one[0].constants.size


class Standardized(nn.Module):
    """Weights that are computed anew in each call."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 3, 3, 3))

    def forward(self, x):
        return F.conv2d(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True))


class Partly(nn.Module):
    """An operator with weights that only PyTorch has, between native ones."""

    def __init__(self):
        super().__init__()
        self.first, self.last = Standardized(), nn.Conv2d(5, 4, 1)
        self.scale = nn.Parameter(torch.rand(5, 1, 1))

    def forward(self, x):
        return self.last(torch.hypot(self.first(x), self.scale).flip(2))


def test_what_pytorch_runs_runs_for_each_size_and_has_its_weights_once():
    torch.manual_seed(0)
    model, sizes = Partly().eval(), [(8, 8), (12, 9)]
    with pytest.warns(FallbackWarning, match="no native code and run"):
        fast = onebyone.compile(model, images(1, 3, 8, 8), shapes=sizes)
    for size in sizes:
        x = images(1, 3, *size)
        with torch.inference_mode():
            torch.testing.assert_close(fast(x), model(x))
        assert torch.equal(fast(x), compile_model(model, x)(x))
    compiled = fast.models.values()
    captured = [node for one in compiled for node in one.captured.graph]
    run = [step for one in compiled for step in one._steps if isinstance(step, Opaque)]
    for nodes in (captured, run):
        tensors = [id(tensor) for node in nodes for tensor in node.tensors()]
        assert len(tensors) == 2 * len(set(tensors)) > 0
    with pytest.raises(CompileError, match="`strict` is on, .*flip"):
        onebyone.compile(model, images(1, 3, 8, 8), shapes=sizes, strict=True)


class OtherIfWide(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv(self.conv(x)) if x.shape[-1] > 9 else self.conv(x).relu()


def test_what_a_network_does_may_depend_on_the_size():
    model = OtherIfWide().eval()
    fast = onebyone.compile(model, images(1, 3, 8, 8), shapes=[(8, 8), (8, 12)], batch=(1, 2))
    for x in (images(2, 3, 8, 8), images(1, 3, 8, 12)):
        with torch.inference_mode():
            torch.testing.assert_close(fast(x), model(x))


class Two(nn.Module):
    def forward(self, x, vector, *, mask):
        return x * mask + vector


def test_tensors_of_the_first_ones_size_change_with_it():
    arguments = images(1, 3, 8, 8), images(1, 3, 1, 1)
    fast = onebyone.compile(
        Two().eval(), arguments, {"mask": images(1, 1, 8, 8)}, shapes=[(5, 6), (8, 8)]
    )
    x, vector, mask = images(1, 3, 5, 6), images(1, 3, 1, 1), images(1, 1, 5, 6)
    torch.testing.assert_close(fast(x, vector, mask=mask), x * mask + vector)
    with pytest.raises(ShapeError, match=r"argument 2 must be .*\(1, 1, 5, 6\)"):
        fast(x, vector, mask=images(1, 1, 8, 8))


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 4, 1)).eval()
    return onebyone.compile(model, images(1, 3, 9, 9), shapes=[(16, 16), (9, 20)], batch=(1, 2))


def test_another_size_is_told_which_there_are(small):
    with pytest.raises(
        ShapeError, match=r"for images of 9x20, 16x16, and 20x9 came; .* among `shapes`$"
    ):
        small(images(1, 3, 20, 9))
    with pytest.raises(ShapeError, match=r"argument 0 must be .*\(2, 3, 16, 16\).*got .*\(2, 4"):
        small(images(2, 4, 16, 16))
    with pytest.raises(ShapeError, match="compiled for 1, 2 images, and 3 came"):
        small(images(3, 3, 16, 16))
    with pytest.raises(ShapeError, match="arguments must be nested as in the example"):
        small()


WRONG = [
    [],
    (8, 8),
    [(8, 8), (8, 8)],
    [(0, 8)],
    [(8,)],
    [(True, 8)],
    "any",
    [(8, n) for n in range(1, 18)],
]


@pytest.mark.parametrize("shapes", WRONG, ids=str)
def test_other_shapes_are_refused(shapes):
    with pytest.raises(ShapeError, match=r"^`shapes` \(=.*must be up to 16 different sizes"):
        onebyone.compile(nn.Conv2d(3, 4, 1).eval(), images(1, 3, 5, 5), shapes=shapes)


def test_networks_without_a_size_or_with_a_fixed_one_are_refused_in_a_line():
    with pytest.raises(ShapeError, match=r"^`shapes` are of images .*first tensor is .*\(1, 4\)"):
        onebyone.compile(nn.Linear(4, 5).eval(), images(1, 4), shapes=[(8, 8)])
    fixed = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(256, 5)).eval()
    with pytest.raises(ModelError, match=r"^`shapes`, 9x8: 2: .*inputs of shape \(1, 3, 9, 8\)"):
        onebyone.compile(fixed, images(1, 3, 8, 8), shapes=[(8, 8), (9, 8)])


def test_it_is_no_library_and_no_network_to_compile(small, tmp_path):
    with pytest.raises(CompileError, match=r"one size of images.*`\.models\[\(9, 20\)\]\.export"):
        small.export(tmp_path / "library")
    with pytest.raises(ModelError, match=r"compiled already, ShapedModel\(9x20, 16x16; 1, 2 of"):
        onebyone.compile(small, images(1, 3, 9, 9))


def test_profile_and_fates_are_those_of_a_compiled_model(small):
    assert small.profile(images(2, 3, 9, 20), rounds=2).layers
    assert str(small.fates())
    assert small.fallbacks == ()


@pytest.mark.parametrize("batch", [None, (1, 3), "any"])
def test_it_is_one_file_and_its_pickle_is_a_name(tmp_path, batch):
    model, sizes = pyramid(), [(16, 16), (9, 20)]
    fast = onebyone.compile(model, images(1, 3, 16, 16), shapes=sizes, batch=batch)
    with pytest.raises(CompileError, match=r"call `\.save\(path\)` first"):
        pickle.dumps(fast)
    fast.save(tmp_path / "net.obo")
    again = onebyone.load_compiled(tmp_path / "net.obo")
    assert isinstance(again, ShapedModel)
    kind = CompiledModel if batch is None else BatchedModel
    assert {type(one) for one in again.models.values()} == {kind}
    assert repr(again) == repr(fast)
    for size in sizes:
        for x in (images(1, 3, *size), *([images(3, 3, *size)] if batch else [])):
            check_same(again(x), fast(x))
            check_same(pickle.loads(pickle.dumps(again))(x), fast(x))
        assert str(again.models[size].fates()) == str(fast.models[size].fates())
    with pytest.raises(ShapeError, match="images of 9x20, 16x16, and 9x9 came"):
        again(images(1, 3, 9, 9))


def test_it_is_found_again_for_the_same_sizes_alone(monkeypatch):
    model, sizes = pyramid(), [(10, 12), (7, 5)]
    first = onebyone.compile(model, images(1, 3, 9, 9), shapes=sizes)
    monkeypatch.setattr(BUILD, None)
    again = onebyone.compile(model, images(1, 3, 6, 6), shapes=sizes[::-1])
    for size in sizes:
        check_same(first(images(1, 3, *size)), again(images(1, 3, *size)))
    with pytest.raises(TypeError):
        onebyone.compile(model, images(1, 3, 9, 9), shapes=[*sizes, (8, 8)])


@pytest.mark.parametrize("channels", [64, 6, 5])
def test_weights_of_bfloat16_lie_apart_only_where_positions_are_padded(channels):
    """A row of the kernel is one position, or several, as pixels lie; that may depend on sizes."""
    weight = torch.randn(20, channels, 3, 3)
    tiling = cut_tiles(TARGETS["avx512"], 8, 20, TileSize(4, 1))
    pairs = [pack_pairs(weight, 1, taps, tiling, 16) for taps in (3, 9)]
    assert (channels % 2 == 0) == (pairs[0].shape == pairs[1].shape and torch.equal(*pairs))
    steps = [pack_matrix(weight, taps, tiling) for taps in (3, 9)]
    assert (channels % DEPTH == 0) == (steps[0].shape == steps[1].shape and torch.equal(*steps))
