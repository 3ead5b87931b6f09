"""Libraries with code for several numbers of images: each image has the bits that it has in Python.

And those that it has alone: with any others beside it, on any number of threads.
"""

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

import onebyone
from onebyone.compiler import compile_model
from onebyone.compiler.batched import ANY
from onebyone.compiler.library.parts import Parts
from onebyone.compiler.library.sources import source
from onebyone.compiler.library.write import write_library
from onebyone.compiler.target import runs_here
from onebyone.errors import CompileError, ModelError, NativeError
from tests.compiler.library.test_library import BESIDE, CC, SANITIZE, STRICT
from tests.helpers.library import HERE, checked, small_network, small_plan

pytestmark = pytest.mark.skipif(not CC, reason="no C compiler: apt-get install gcc libc6-dev")
MOST = 19
"""Two parts of 8 images, and one of 3."""

needs_bf16 = pytest.mark.skipif(
    not runs_here("bf16"), reason="this processor does not multiply bfloat16"
)


class Scaled(nn.Module):
    """Reads images and numbers for all of them; gives something of images, and of those alone."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 3, padding=1)
        self.tail = nn.Conv2d(24, 20, 1)
        self.head = nn.Linear(20, 7)

    def forward(self, x, scale):
        maps = self.tail(torch.relu(self.stem(x)) * scale)
        return maps, scale.sigmoid(), self.head(maps.mean((2, 3)))


def scaled_network():
    torch.manual_seed(0)
    return Scaled().eval()


def scaled_inputs():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(MOST, 3, 13, 11, generator=generator)
    return x, torch.randn(1, 24, 1, 1, generator=generator)


@pytest.fixture(scope="module")
def scaled(tmp_path_factory):
    """A network for any number of images, and its library."""
    x, scale = scaled_inputs()
    fast = onebyone.compile(scaled_network(), (x[:2], scale), batch="any", threads=2)
    return fast, fast.export(tmp_path_factory.mktemp("library") / "scaled").out


def check_equal(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("threads", [1, 3])
def test_each_number_of_images_has_the_bits_of_python(scaled, threads):
    fast, folder = scaled
    x, scale = scaled_inputs()
    with onebyone.open_native(folder, threads=threads) as library:
        assert (library.batches, library.any_batch) == (ANY, True)
        assert [one.per_image for one in library.inputs] == [3 * 13 * 11, 0]
        assert [one.per_image for one in library.outputs] == [20 * 13 * 11, 0, 7]
        for images in (1, 2, 3, 5, 8, 9, MOST, 4):  # larger and smaller ones meet in one memory
            given = x[:images].numpy(), scale.numpy()
            check_equal(library(*given), fast(x[:images], scale))


def test_each_image_has_the_bits_that_it_has_alone_and_pytorch_agrees(scaled):
    _, folder = scaled
    x, scale = scaled_inputs()
    alone = compile_model(scaled_network(), (x[:1], scale))
    parts = [alone(x[i : i + 1], scale) for i in range(MOST)]
    with onebyone.open_native(folder) as library, torch.no_grad():
        maps, shared, scores = library(x.numpy(), scale.numpy())
        check_equal([shared], [parts[0][1]])
        for found, place in ((maps, 0), (scores, 2)):
            check_equal(found, torch.cat([part[place] for part in parts]))
        wanted = scaled_network().double()(x.double(), scale.double())
        for one, other in zip((maps, shared, scores), wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_eight_threads_at_once_with_other_numbers_of_images_each(scaled):
    fast, folder = scaled
    x, scale = scaled_inputs()
    with onebyone.open_native(folder) as library, ThreadPoolExecutor(max_workers=8) as threads:

        def call(images):
            return library(x[MOST - images :].numpy(), scale.numpy())

        sizes = [1, 9, 8, 2, 3, 5, 16, 7]
        wanted = [fast(x[MOST - images :], scale) for images in sizes]
        for _ in range(5):
            for found, other in zip(threads.map(call, sizes), wanted, strict=True):
                check_equal(found, other)


def test_inputs_of_other_numbers_of_images_are_refused(scaled):
    x, scale = (one.numpy() for one in scaled_inputs())
    with onebyone.open_native(scaled[1]) as library:
        for wrong in ((x[:0], scale), (x[:2], np.concatenate([scale, scale]))):
            with pytest.raises(NativeError, match="must be float32 of shape"):
                library(*wrong)


@needs_bf16
@pytest.mark.parametrize("batch", [None, "any"])
def test_bfloat16_has_the_bits_of_the_compiled_network(tmp_path, batch):
    x = torch.randn(MOST if batch else 1, 3, 18, 14)
    fast = onebyone.compile(small_network(), x[:1], numerics="bf16", batch=batch)
    fast.export(tmp_path / "some")
    with onebyone.open_native(tmp_path / "some", threads=2) as library:
        for images in (1, 2, 3, 5, 8, 9, MOST) if batch else (1,):
            check_equal(library(x[:images].numpy()), fast(x[:images]))


@pytest.mark.parametrize(
    ("batches", "taken", "refused"),
    [((1, 8), (1, 8, 9, 5), ()), ((2, 6), (2, 6, 8, 4), (3,)), ((2, 3), (2, 3), (1, 4, 5, 6))],
)
def test_some_numbers_of_images(tmp_path, batches, taken, refused):
    network, x = small_network(), torch.randn(9, 3, 18, 14)
    one = compile_model(network, x[:1])
    fast = onebyone.compile(network, x[:1], batch=batches)
    folder = fast.export(tmp_path / "net").out
    with onebyone.open_native(folder, threads=2) as library:
        assert library.batches == batches
        for images in taken:
            alone = [one(x[i : i + 1]) for i in range(images)]
            check_equal(library(x[:images].numpy()), map(torch.cat, zip(*alone, strict=True)))
        for images in refused:
            with pytest.raises(NativeError, match=rf"of shape \({batches[0]}, 3, .*, or "):
                library(x[:images].numpy())


@pytest.fixture(scope="module")
def any_parts():
    """What a library of the small network for any number of images is made of."""
    return Parts.of(small_plan(HERE[-1:], batches=ANY))


def test_memory_for_fewer_images_and_of_the_callers_own(any_parts, tmp_path):
    """`images.c`, under the sanitizers: contexts in as many bytes as they ask for, not one more."""
    objects = any_parts.write(tmp_path)
    (tmp_path / "net.weights").write_bytes(any_parts.weights)
    sources = ("runtime.c", BESIDE / "images.c")
    checked(CC, *STRICT, "-I.", *SANITIZE, *sources, *objects, "-o", "images", folder=tmp_path)
    assert checked("./images", "net.weights", folder=tmp_path) == "all as it should be\n"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("", ""),
        ("inputs, outputs, (size_t)done)", "inputs, outputs, (size_t)(done / 2))"),
        ("words[1] = channels * pixels", "words[1] = 0"),
    ],
)
def test_the_self_test_sees_images_that_are_mixed_up(any_parts, library, tmp_path, right, wrong):
    """Faults that are put into the runtime; the call of one image stays right."""
    objects = any_parts.write(tmp_path)
    runtime = (tmp_path / "runtime.c").read_text()
    assert right in runtime
    (tmp_path / "runtime.c").write_text(runtime.replace(right, wrong))
    (tmp_path / "net.weights").write_bytes(any_parts.weights)
    (tmp_path / "selftest.c").write_text(source(any_parts.plan, "selftest.c"))
    sources = ("runtime.c", "selftest.c")
    checked(
        CC, *STRICT, "-I.", *SANITIZE, *sources, *objects, "-lm", "-o", "selftest", folder=tmp_path
    )
    command = (tmp_path / "selftest", tmp_path / "net.weights", library / "selftest")
    if right == wrong:
        assert re.match(r"\S+ +passed; the same bits", checked(*command))
    else:
        with pytest.raises(AssertionError, match="other bits with other images"):
            checked(*command)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A folder of the small network for one image."""
    return write_library(small_plan(HERE[-1:]), tmp_path_factory.mktemp("library") / "net").out


def test_a_library_whose_images_change_each_other_is_not_written(tmp_path, monkeypatch):
    from onebyone.compiler.library import trial

    run = trial._run

    def run_wrong(network, inputs):
        return [one + (len(inputs[0]) == 2) for one in run(network, inputs)]

    monkeypatch.setattr(trial, "_run", run_wrong)
    with pytest.raises(ModelError, match="gives other bits for 2 images than for the same among"):
        write_library(small_plan(batches=(1, 2)), tmp_path / "net")
    assert not list(tmp_path.iterdir())


class OtherForOne(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv(x) if len(x) > 1 else self.conv(self.conv(x))


def test_a_network_that_does_something_else_with_one_image_is_no_library_for_any(tmp_path):
    x = torch.zeros(1, 3, 8, 8)
    with pytest.raises(CompileError, match=r"several numbers of images \(.*else with 1 images"):
        onebyone.export(OtherForOne(), tmp_path / "n", to="native", example=x, batch="any")
    assert not list(tmp_path.iterdir())
