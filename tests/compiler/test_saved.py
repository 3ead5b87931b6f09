"""Compiled networks as files: what was saved is what is loaded, or one line says why not."""

import multiprocessing
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

import onebyone
from onebyone.compiler import TARGETS, CompiledModel, compile_model, saved
from onebyone.compiler.options import NUMERICS
from onebyone.compiler.target import host_target
from onebyone.errors import CompileError, ShapeError
from onebyone.models import create_model


class Nested(nn.Module):
    """A number and a word among its arguments, a dict and a tuple among its results."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x, power, *, mode):
        y = self.conv(x) * power
        return {"y": y, "all": (mode, y.mean((2, 3)), None)}


def nested():
    torch.manual_seed(0)
    return Nested().eval()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.obo"


def runs_here(numerics):
    return numerics != "bf16" or bool(host_target("bf16").bf16)


@pytest.mark.parametrize("numerics", [name for name in NUMERICS if runs_here(name)])
def test_what_is_loaded_gives_the_same_bits_and_says_the_same(path, numerics):
    model, x = create_model("mobilenet_v2").eval(), torch.randn(2, 3, 64, 64)
    fast = compile_model(model, x, numerics=numerics, threads=2)
    fast.save(path)
    again = onebyone.load_compiled(path)
    assert isinstance(again, CompiledModel)
    assert torch.equal(again(x), fast(x))
    assert repr(again) == repr(fast)
    assert str(again.fates()) == str(fast.fates())
    assert again.memory_bytes == fast.memory_bytes
    assert [one.layer for one in again.profile(x, rounds=1).layers] == [
        one.layer for one in fast.profile(x, rounds=1).layers
    ]
    one = onebyone.load_compiled(path, threads=1)
    assert one.threads == 1
    assert torch.equal(one(x), fast(x))


def test_nesting_numbers_and_words_come_back(path):
    x = torch.randn(2, 3, 5, 5)
    fast = compile_model(nested(), (x, 2), {"mode": "sum"})
    fast.save(path)
    again = onebyone.load_compiled(str(path))
    got, wanted = again(x, 2, mode="sum"), fast(x, 2, mode="sum")
    assert torch.equal(got["y"], wanted["y"])
    assert got["all"][0] == "sum"
    assert torch.equal(got["all"][1], wanted["all"][1])
    assert got["all"][2] is None
    with pytest.raises(ShapeError, match="argument 1 must be 2 as in the example"):
        again(x, 3, mode="sum")
    with pytest.raises(ShapeError, match=r"argument 0 must be .*\(2, 3, 5, 5\)"):
        again(x[:1], 2, mode="sum")


def test_a_network_for_any_number_of_images_is_one_file(path):
    x = torch.randn(11, 3, 5, 5)
    fast = onebyone.compile(nested(), (x[:1], 2), {"mode": "m"}, batch="any")
    fast.save(path)
    again = onebyone.load_compiled(path)
    for images in (1, 4, 8, 11):
        found, wanted = (net(x[:images], 2, mode="m")["y"] for net in (again, fast))
        assert torch.equal(found, wanted)
    assert repr(again) == repr(fast)
    few = onebyone.compile(nn.Conv2d(3, 4, 1).eval(), torch.empty(1, 3, 5, 5), batch=(2,))
    few.save(path)
    with pytest.raises(ShapeError, match="compiled for 2 images, and 11 came"):
        onebyone.load_compiled(path)(x)


def call(model, x):
    return model(x)


def test_it_reaches_a_spawned_worker_by_name(path):
    x = torch.randn(2, 3, 5, 5)
    fast = compile_model(nn.Conv2d(3, 4, 1).eval(), x)
    with pytest.raises(CompileError, match=r"call `\.save\(path\)` first"):
        pickle.dumps(fast)
    fast.save(path)
    assert len(pickle.dumps(fast)) < 1000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert torch.equal(pool.apply(call, (fast, x)), fast(x))
    again = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(fast))))
    assert torch.equal(again(x), fast(x))


def test_a_pickle_is_of_the_network_that_was_saved(path):
    x = torch.randn(2, 3, 5, 5)
    fast = compile_model(nn.Conv2d(3, 4, 1).eval(), x)
    fast.save(path)
    pickled = pickle.dumps(fast)
    compile_model(nn.Conv2d(3, 5, 1).eval(), x).save(path)
    with pytest.raises(CompileError, match="another network than the one that was pickled"):
        pickle.loads(pickled)


def test_neither_llvmlites_ir_nor_the_network_is_needed(path):
    x = torch.ones(2, 3, 5, 5)
    compile_model(nn.Conv2d(3, 4, 1).eval(), x).save(path)
    program = (
        "import sys, torch, onebyone\n"
        f"net = onebyone.load_compiled({str(path)!r})\n"
        "net(torch.ones(2, 3, 5, 5))\n"
        "print('onebyone.models' in sys.modules, 'onebyone.compiler.plan' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"], done.stderr


@pytest.mark.parametrize("place", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("is_cut", [False, True])
def test_damage_is_found(path, place, is_cut):
    compile_model(nn.Conv2d(3, 64, 3).eval(), torch.empty(1, 3, 9, 9)).save(path)
    content = bytearray(path.read_bytes())
    index = int(place * len(content))
    content[index] ^= 1
    path.write_bytes(content[:index] if is_cut else content)
    with pytest.raises(CompileError, match="net.obo is (damaged|empty)"):
        onebyone.load_compiled(path)


def test_other_files_and_missing_ones_are_told(path, tmp_path):
    with pytest.raises(CompileError, match=r"a compiled network .* no such file"):
        onebyone.load_compiled(path)
    path.write_text("no network")
    with pytest.raises(CompileError, match=r"net.obo is damaged, or not a compiled network"):
        onebyone.load_compiled(path)
    with pytest.raises(CompileError, match="is a folder"):
        onebyone.load_compiled(tmp_path)


def test_other_versions_and_processors_are_told(path, monkeypatch):
    fast = compile_model(nn.Conv2d(3, 4, 1).eval(), torch.empty(1, 3, 9, 9))
    monkeypatch.setattr(saved, "KEY", "onebyone compiled network, version 0")
    fast.save(path)
    monkeypatch.undo()
    with pytest.raises(CompileError, match="version 0', and this version reads .*save it again"):
        onebyone.load_compiled(path)
    monkeypatch.setattr(fast, "target", TARGETS["neon"])
    fast.save(path)
    with pytest.raises(CompileError, match="target 'neon', which this processor cannot run"):
        onebyone.load_compiled(path)


class Sums(nn.Module):
    def forward(self, x):
        return torch.cumsum(x, 1)


class Constant(nn.Module):
    def __init__(self):
        super().__init__()
        self.number = nn.Buffer(torch.ones(2))

    def forward(self, x):
        return x.relu(), self.number


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (Sums(), "fully native can be saved; .*cumsum"),
        (Constant(), r"returns tensor\(\[1., 1.\]\), which has no place in a file"),
    ],
)
def test_what_cannot_be_saved_is_told(path, model, why):
    fast = compile_model(model.eval(), torch.empty(1, 3, 9, 9))
    with pytest.raises(CompileError, match=why):
        fast.save(path)
    assert not path.exists()


def test_a_failed_save_leaves_the_old_file(path, tmp_path):
    fast = compile_model(nn.Conv2d(3, 4, 1).eval(), torch.empty(1, 3, 9, 9))
    with pytest.raises(CompileError, match="cannot be written"):
        fast.save(tmp_path / "nowhere" / "net")
    fast.save(path)
    before = path.read_bytes()
    with pytest.raises(CompileError):
        compile_model(Sums().eval(), torch.empty(1, 3, 9, 9)).save(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["net.obo"]


def test_a_loaded_network_is_no_source_of_libraries(path, tmp_path):
    compile_model(nn.Conv2d(3, 4, 1).eval(), torch.empty(1, 3, 9, 9)).save(path)
    with pytest.raises(CompileError, match="loaded from a file has no layers to make code of"):
        onebyone.load_compiled(path).export(tmp_path / "library")
