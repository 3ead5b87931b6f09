"""Compiled networks on disk: found again, rebuilt when damaged, bounded, never in the way."""

import os

import pytest
import torch
from torch import nn

import onebyone.compiler.build
import onebyone.compiler.plan.dense
from onebyone.compiler import TARGETS, cache, compile_model, host_target
from onebyone.compiler.cache import PAGE, cache_directory, graph_key, read_entry, write_entry
from onebyone.errors import CompileError
from onebyone.graph import capture
from tests.compiler.test_model import Small

X = torch.randn(1, 3, 9, 7)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("ONEBYONE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def compilations(monkeypatch):
    """A list that grows with each run of LLVM on a network."""
    found = []
    compile_module = onebyone.compiler.jit.compile_module

    def spy(*args, **kwargs):
        found.append(args)
        return compile_module(*args, **kwargs)

    monkeypatch.setattr(onebyone.compiler.build, "compile_module", spy)
    return found


def make_network(seed=0):
    torch.manual_seed(seed)
    return Small().eval()


def compiled_is_right(network, **options):
    compiled = compile_model(network, X, threads=1, **options)
    with torch.no_grad():
        torch.testing.assert_close(compiled(X), network(X), rtol=1e-4, atol=1e-5)
    return compiled


def test_the_second_time_nothing_is_compiled(compilations, folder):
    network = make_network()
    first = compiled_is_right(network)
    assert len(compilations) == 1
    second = compiled_is_right(network)
    assert len(compilations) == 1
    assert torch.equal(first(X), second(X))
    assert first.explain_plan() == second.explain_plan()
    assert len(list(folder.iterdir())) == 1, "one file, and nothing left over from writing it"


DAMAGES = {
    "empty": lambda data: b"",
    "cut in the header": lambda data: data[:100],
    "cut in the weights": lambda data: data[: PAGE + 50],
    "cut in the code": lambda data: data[: data.index(b"\x7fELF") + 50],
    "cut at the end": lambda data: data[:-4],
    "longer": lambda data: data + bytes(4096),
    "header flipped": lambda data: flipped(data, 30),
    "first byte flipped": lambda data: flipped(data, 0),
    "checksum flipped": lambda data: flipped(data, data.index(b'"checksum": "') + 20),
    "description flipped": lambda data: flipped(data, data.index(b"arena_size") + 13),
    "code flipped": lambda data: flipped(data, data.index(b"\x7fELF") + 300),
    "weights flipped": lambda data: flipped(data, data.index(b"\x7fELF") - 600),
    "another file": lambda data: b"hello\n" * 1000,
    "JSON of another kind": lambda data: b"[1, 2]\n" + data,
}


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_made_anew(damage, compilations, folder):
    network = make_network()
    compiled_is_right(network)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    spoiled = damage(whole)
    assert spoiled != whole
    path.unlink()  # who has mapped the old one keeps it
    path.write_bytes(spoiled)
    compiled_is_right(network)
    assert len(compilations) == 2
    assert path.read_bytes() == whole
    compiled_is_right(network)
    assert len(compilations) == 2


def test_a_running_model_outlives_its_entry(folder):
    network = make_network()
    compiled_is_right(network)
    compiled = compiled_is_right(network)
    for path in folder.iterdir():
        path.unlink()
    with torch.no_grad():
        torch.testing.assert_close(compiled(X), network(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("where", ["a file", "below a file"])
def test_a_folder_that_cannot_be_is_no_failure(where, tmp_path, monkeypatch, compilations):
    path = tmp_path / "a file"
    path.write_text("in the way")
    monkeypatch.setenv("ONEBYONE_CACHE_DIR", str(path if where == "a file" else path / "cache"))
    for count in (1, 2):
        compiled_is_right(make_network())
        assert len(compilations) == count
    assert path.read_text() == "in the way"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_no_failure(folder):
    folder.mkdir()
    folder.chmod(0o500)
    compiled_is_right(make_network())
    assert not list(folder.iterdir())


def test_a_full_disk_is_no_failure(folder, monkeypatch):
    def full(_path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "replacing", full)
    compiled_is_right(make_network())
    assert not list(folder.iterdir())


def test_code_that_cannot_be_made_leaves_no_entry(folder, monkeypatch):
    def refused(*_args):
        raise CompileError("LLVM refused the code")

    monkeypatch.setattr(onebyone.compiler.build, "compile_module", refused)
    with pytest.raises(CompileError, match="LLVM refused the code"):
        compile_model(make_network(), X, threads=1)
    assert not list(folder.iterdir())


def test_weights_that_find_no_memory_leave_no_entry(folder, monkeypatch):
    def exhausted(*_args):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(onebyone.compiler.plan.dense, "pack_convolution", exhausted)
    with pytest.raises(CompileError, match="not enough memory"):
        compile_model(make_network(), X, threads=1)
    assert not folder.exists()


def test_what_was_not_used_for_longest_goes_first(folder, monkeypatch):
    constants = torch.arange(3 * PAGE // 4, dtype=torch.int32)
    monkeypatch.setattr(cache, "LARGEST_BYTES", 16 * PAGE)  # each takes 5 pages
    for number in range(3):
        write_entry(f"entry{number}", {}, constants, lambda: b"code")
        os.utime(folder / f"entry{number}", (number, number))
    assert read_entry("entry0") is not None  # used just now
    write_entry("entry3", {}, constants, lambda: b"code")
    assert sorted(path.name for path in folder.iterdir()) == ["entry0", "entry2", "entry3"]
    monkeypatch.setattr(cache, "LARGEST_BYTES", 0)
    write_entry("entry4", {}, constants, lambda: b"code")
    assert [path.name for path in folder.iterdir()] == ["entry4"], "the newest stays"


def test_entries_come_back_as_they_were():
    description, constants = {"layers": [1, "ä"], "x": None}, torch.arange(1000, dtype=torch.int32)
    write_entry("key", description, constants, lambda: b"\x00code\n")
    found = read_entry("key")
    assert found is not None
    assert found[:2] == (description, b"\x00code\n")
    assert torch.equal(found[2], constants)
    assert read_entry("another") is None


def key_of(network, *facts, x=X):
    return graph_key(capture(network, (x,)).graph, *facts)


def test_the_key_is_that_of_all_that_matters(monkeypatch):
    network = make_network()
    keys = {"as it is": key_of(network)}
    assert key_of(make_network()) == keys["as it is"]
    keys["other weights"] = key_of(make_network(seed=1))
    keys["another shape"] = key_of(network, x=torch.zeros(2, 3, 9, 7))
    keys["another target"] = key_of(network, TARGETS["neon"].key)
    keys["numerics"] = key_of(network, "fp16")
    network.norm.eps *= 2
    keys["epsilon"] = key_of(network)
    network.stem.stride = (1, 1)
    keys["stride"] = key_of(network)
    with torch.no_grad():
        network.head.bias[0] += 1e-6
    keys["one number"] = key_of(network)
    monkeypatch.setattr(cache, "_compiler_version", lambda: "another")
    keys["another compiler"] = key_of(network)
    assert len(set(keys.values())) == len(keys)
    assert len({target.key for target in TARGETS.values()}) == len(TARGETS)


def test_weights_in_arguments_of_pytorchs_operators_count():
    class Table(nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.register_buffer("table", torch.arange(9.0) + seed)

        def forward(self, x):
            return torch.cumsum(x, 3) * torch.cumsum(self.table, 0)[:7]

    assert key_of(Table(0).eval()) != key_of(Table(1e-3).eval())


def test_other_targets_have_other_entries(folder):
    network = make_network()
    compiled_is_right(network)
    compiled_is_right(network, target=TARGETS["baseline"])
    assert len(list(folder.iterdir())) == (1 if host_target().name == "baseline" else 2)


def test_where_entries_lie(monkeypatch, tmp_path):
    monkeypatch.delenv("ONEBYONE_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "onebyone" / "compiled"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_directory() == tmp_path / "home" / ".cache" / "onebyone" / "compiled"
