"""One compilation for several numbers of images: same bits, one copy of the weights."""

import pytest
import torch
from torch import nn

from onebyone import compile as compile_network
from onebyone.compiler import BatchedModel, compile_model, plan_model
from onebyone.compiler import backend as door
from onebyone.compiler.build import build
from onebyone.errors import CompileError, FallbackWarning, ShapeError
from onebyone.models import create_model

NUMERICS = ("fp32", "fp32-direct")
BUILD = "onebyone.compiler.compile.build"


class Pyramid(nn.Module):
    """Two inputs (one without images), Winograd, a band of rows, groups, and several outputs."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, padding=1)
        self.deep = nn.Sequential(nn.Conv2d(32, 48, 1), nn.Conv2d(48, 48, 3, 2, 1, groups=48))
        self.tail = nn.Conv2d(48, 20, 1)
        self.grouped = nn.Conv2d(20, 20, 3, padding=1, groups=4)
        self.head = nn.Linear(20, 7)

    def forward(self, x, scale, *, shift):
        x = torch.relu(self.stem(x)) * scale
        y = self.grouped(self.tail(self.deep(x))) + shift
        return {"maps": y, "scores": self.head(y.mean((2, 3))), "sizes": (7, y.relu())}


def pyramid():
    torch.manual_seed(0)
    return Pyramid().eval()


def arguments(images):
    generator = torch.Generator().manual_seed(images)
    x = torch.randn(images, 3, 13, 11, generator=generator)
    shift = torch.randn(images, 20, 1, 1, generator=generator)
    return x, torch.full((1, 32, 1, 1), 1.5), shift


def leaves(result):
    return [result["maps"], result["scores"], result["sizes"][1]]


@pytest.mark.parametrize("numerics", NUMERICS)
@pytest.mark.parametrize("threads", [1, 2])
def test_each_image_has_the_bits_that_it_has_alone(numerics, threads):
    x, scale, shift = arguments(19)
    fast = compile_network(
        pyramid(),
        (x[:3], scale),
        {"shift": shift[:3]},
        batch="any",
        numerics=numerics,
        threads=threads,
    )
    one = compile_model(
        pyramid(), (x[:1], scale), {"shift": shift[:1]}, numerics=numerics, threads=threads
    )
    alone = [leaves(one(x[i : i + 1], scale, shift=shift[i : i + 1])) for i in range(19)]
    for images in (8, 1, 2, 3, 5, 7, 9, 16, 19):  # larger and smaller ones meet in one memory
        got = fast(x[:images], scale, shift=shift[:images])
        assert got["sizes"][0] == 7
        for found, parts in zip(leaves(got), zip(*alone, strict=True), strict=True):
            assert torch.equal(found, torch.cat(parts[:images]))


def test_results_are_those_of_pytorch():
    model, (x, scale, shift) = pyramid(), arguments(11)
    fast = compile_network(model, (x, scale), {"shift": shift}, batch="any")
    with torch.inference_mode():
        for found, wanted in zip(
            leaves(fast(x, scale, shift=shift)), leaves(model(x, scale, shift=shift)), strict=True
        ):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "googlenet"])
def test_weights_and_working_memory_are_there_once(name):
    model = create_model(name).eval()
    largest = compile_model(model, torch.empty(8, 3, 64, 64))
    fast = compile_network(model, torch.empty(1, 3, 64, 64), batch="any")
    assert fast.memory_bytes < 1.02 * largest.memory_bytes
    constants = {id(one.memory.binary.constants) for one in _functions(fast)}
    assert len(constants) == 1
    x = torch.randn(3, 3, 64, 64)
    assert torch.equal(fast(x), compile_model(model, x)(x))


def _functions(fast: BatchedModel):
    return [step.function for model in fast.models.values() for step in model.native_steps]


def test_twenty_numbers_of_images_are_one_compilation(monkeypatch):
    built = []
    monkeypatch.setattr(BUILD, lambda *given: built.append(given) or build(*given))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 1)).eval()
    fast = compile_network(model, torch.empty(2, 3, 31, 33), batch="any")
    torch.compiler.reset()
    theirs = torch.compile(model, backend="onebyone", dynamic=True)
    with torch.inference_mode():
        for images in range(2, 22):
            x = torch.randn(images, 3, 31, 33)
            torch.testing.assert_close(fast(x), model(x))
            torch.testing.assert_close(theirs(x), model(x))
    torch.compiler.reset()
    # The second door found what the first had kept.
    assert len(built) == 1


def test_a_network_that_pytorch_has_to_run_is_compiled_for_each_number(monkeypatch):
    class Sums(nn.Module):
        def forward(self, x):
            return torch.cumsum(x, 0) + 1

    graphs = []
    begin = door.Specialized.__init__
    monkeypatch.setattr(
        door.Specialized, "__init__", lambda self, *a: begin(self, *a) or graphs.append(self)
    )
    torch.compiler.reset()
    fast = torch.compile(Sums().eval(), backend="onebyone", dynamic=True)
    tensors = [torch.randn(images, 3, 31, 33) for images in (2, 3, 5)]
    with torch.inference_mode():
        with pytest.warns(FallbackWarning):
            results = [fast(x) for x in tensors]
        for x, found in zip(tensors, results, strict=True):
            torch.testing.assert_close(found, Sums()(x))
    assert len(graphs[0].compiled) == 3
    torch.compiler.reset()


def test_only_numbers_that_were_asked_for():
    model = nn.Conv2d(3, 4, 1).eval()
    fast = compile_network(model, torch.empty(1, 3, 5, 5), batch=(8, 1))
    assert list(fast.models) == [1, 8]
    x = torch.randn(8, 3, 5, 5)
    assert torch.equal(fast(x), compile_model(model, x)(x))
    with pytest.raises(ShapeError, match=r"compiled for 1, 8 images, and 3 came; .*`batch=\"any\""):
        fast(x[:3])
    with pytest.raises(ShapeError, match=r"argument 0 must be .*\(8, 3, 5, 5\)"):
        fast(torch.randn(8, 3, 5, 6))
    assert repr(fast).startswith("BatchedModel(1, 8 of images, ")


@pytest.mark.parametrize(
    "batch", ["all", (), (0,), (1, 1), (True,), 4, (2.0,), tuple(range(1, 40))]
)
def test_other_batches_are_refused(batch):
    with pytest.raises(ShapeError, match=r"^`batch` \(=.*must be \"any\", or up to 32 different"):
        compile_network(nn.Conv2d(3, 4, 1).eval(), torch.empty(1, 3, 5, 5), batch=batch)


class MeanOfImages(nn.Module):
    def forward(self, x):
        return x - x.mean(0, keepdim=True)


class OtherForOne(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv(x) if len(x) > 1 else self.conv(self.conv(x))


class NumberOfImages(nn.Module):
    def forward(self, x):
        return x.relu(), len(x)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (MeanOfImages(), "PyTorch runs .*mean.*may look at several images"),
        (OtherForOne(), "it does something else with 1 images"),
        (NumberOfImages(), "it returns something else with"),
    ],
)
def test_a_network_that_needs_all_images_at_once_is_refused(model, why):
    with pytest.raises(CompileError, match=rf"several numbers of images \(.*{why}.*leave out"):
        compile_network(model.eval(), torch.empty(2, 3, 5, 5), batch="any")


def test_what_a_network_writes_into_its_input_is_written_for_all_images():
    class Doubling(nn.Module):
        def forward(self, x):
            return x.mul_(2).relu()

    fast = compile_network(Doubling().eval(), torch.empty(2, 3, 5, 5), batch="any")
    x = torch.randn(11, 3, 5, 5)
    before = x.clone()
    assert torch.equal(fast(x), (2 * before).relu())
    assert torch.equal(x, 2 * before)


def test_profile_and_fates_are_those_of_a_compiled_model():
    fast = compile_network(nn.Conv2d(3, 4, 1).eval(), torch.empty(1, 3, 5, 5), batch="any")
    assert fast.profile(torch.randn(5, 3, 5, 5)).layers
    with pytest.raises(ShapeError, match="9 images cannot be timed at once, but 1, 2"):
        fast.profile(torch.randn(9, 3, 5, 5))
    assert str(fast.fates())
    assert fast.fallbacks == ()


def test_it_is_found_again_and_a_plan_for_fewer_images_reads_the_same_weights(monkeypatch):
    model, x = pyramid(), arguments(5)
    first = compile_network(model, x[:2], {"shift": x[2]}, batch="any")
    monkeypatch.setattr(BUILD, None)
    again = compile_network(model, x[:2], {"shift": x[2]}, batch="any")
    assert torch.equal(first(*x[:2], shift=x[2])["maps"], again(*x[:2], shift=x[2])["maps"])
    with pytest.raises(TypeError):
        compile_network(model, x[:2], {"shift": x[2]}, batch=(1, 3))
    assert plan_model(model, x[:2], {"shift": x[2]})


def test_no_images_are_refused_in_one_line():
    fast = compile_network(nn.Conv2d(3, 4, 1).eval(), torch.empty(1, 3, 5, 5), batch="any")
    with pytest.raises(ShapeError, match="there are no images in the arguments; at least one"):
        fast(torch.empty(0, 3, 5, 5))


class Widening(nn.Module):
    """Puts channels of zeros, or of other numbers for each image, behind its own."""

    def __init__(self, numbers):
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3, padding=1)
        self.numbers = numbers

    def forward(self, x):
        more = self.numbers(len(x)).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
        return self.conv(torch.cat([x, more], dim=1))


def test_zeros_for_each_image_are_no_reason_for_code_of_its_own():
    torch.manual_seed(0)
    model, x = Widening(torch.zeros).eval(), torch.randn(11, 3, 9, 7)
    fast = compile_network(model, x[:1], batch="any")
    one = compile_model(model, x[:1])
    alone = torch.cat([one(x[i : i + 1]) for i in range(11)])
    for images in (8, 1, 2, 3, 5, 11):
        assert torch.equal(fast(x[:images]), alone[:images])
    with torch.inference_mode():
        torch.testing.assert_close(alone, model(x), rtol=1e-4, atol=1e-5)
    with pytest.raises(CompileError, match="a constant has an entry for each of 8 images"):
        compile_network(Widening(lambda n: torch.arange(n) * 1.0).eval(), x[:1], batch="any")
