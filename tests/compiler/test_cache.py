"""Compiled networks on disk: found again, rebuilt when damaged, bounded, never in the way."""

import os
import subprocess
import sys

import pytest
import torch

import onebyone.compiler.build
import onebyone.compiler.kernels.dense.lower
from onebyone import store
from onebyone.compiler import TARGETS, cache, compile_model, host_target
from onebyone.compiler.cache import SLICE, read_entry, write_entry
from onebyone.errors import CompileError
from onebyone.store import PAGE, Folder
from tests.compiler.test_model import Small

X = torch.randn(1, 3, 9, 7)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("ONEBYONE_CACHE_DIR", str(tmp_path / "cache"))
    cache._warn.cache_clear()
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
    assert first.fates() == second.fates()
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
    "digest flipped": lambda data: flipped(data, data.index(b'"constants": "') + 20),
    "description flipped": lambda data: flipped(data, data.index(b"arena_size") + 13),
    "code flipped": lambda data: flipped(data, data.index(b"\x7fELF") + 300),
    "weights flipped": lambda data: flipped(data, data.index(b"\x7fELF") - 600),
    "weights moved by a word": lambda data: swapped(data, 8, at=data.index(b"\x7fELF") - 1024),
    "pages swapped": lambda data: swapped(data, PAGE, at=2 * PAGE),
    "another file": lambda data: b"hello\n" * 1000,
    "JSON of another kind": lambda data: b"[1, 2]\n" + data,
}


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def swapped(data, size, *, at):
    one, other = data[at : at + size], data[at + size : at + 2 * size]
    return data[:at] + other + one + data[at + 2 * size :]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_made_anew(damage, compilations, folder):
    network = make_network()
    compiled_is_right(network)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    spoiled = damage(whole)
    assert spoiled != whole
    path.write_bytes(spoiled)
    compiled_is_right(network)
    assert len(compilations) == 2
    assert path.read_bytes() == whole
    compiled_is_right(network)
    assert len(compilations) == 2


FATES = {
    "removed": lambda path: path.unlink(),
    "cut off": lambda path: os.truncate(path, 0),
    "overwritten": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("fate", FATES.values(), ids=FATES)
def test_a_running_model_outlives_its_entry(fate, folder):
    network = make_network()
    models = [compiled_is_right(network) for _ in ("anew", "from the cache")]
    (path,) = folder.iterdir()
    fate(path)
    for compiled in models:
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
    def full(_self, _name):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Folder, "writing", full)
    compiled_is_right(make_network())
    assert not list(folder.iterdir())


def test_a_folder_that_others_may_write_to_is_not_used_and_said_once(folder, compilations, caplog):
    folder.mkdir()
    folder.chmod(0o777)
    for _ in range(2):
        compiled_is_right(make_network())
    (line,) = caplog.messages
    assert "others may write to it" in line
    assert len(compilations) == 2
    assert not list(folder.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_strangers_entry_is_not_used_but_replaced(folder, compilations, caplog):
    compiled_is_right(make_network())
    (path,) = folder.iterdir()
    os.chown(path, 54321, 54321)
    for _ in range(2):
        compiled_is_right(make_network())
    (line,) = caplog.messages
    assert "belongs to user 54321" in line
    assert len(compilations) == 2
    assert path.stat().st_uid == 0


def test_an_entry_that_may_only_be_read_is_used(folder, compilations, monkeypatch):
    compiled_is_right(make_network())

    def refused(*_args):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "utime", refused)
    compiled_is_right(make_network())
    assert len(compilations) == 1


HOMELESS = """
import os, torch
from torch import nn
import onebyone
network, x = nn.Conv2d(3, 4, 1).eval(), torch.randn(1, 3, 8, 8)
onebyone.compile(network, x)
for name in ("HOME", "ONEBYONE_CACHE_DIR", "XDG_CACHE_HOME"):
    os.environ.pop(name, None)
os.setuid(54321)
compiled = onebyone.compile(network, x)
print(torch.allclose(compiled(x), network(x), atol=1e-5))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_a_user_without_a_home_has_no_cache_and_an_answer():
    done = subprocess.run(
        [sys.executable, "-c", HOMELESS], capture_output=True, text=True, check=False
    )
    assert done.stdout == "True\n", done.stderr
    assert "this user has no home" in done.stderr


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

    monkeypatch.setattr(onebyone.compiler.kernels.dense.lower, "pack_convolution", exhausted)
    with pytest.raises(CompileError, match="not enough memory"):
        compile_model(make_network(), X, threads=1)
    assert not folder.exists()


def test_other_targets_have_other_entries(folder):
    network = make_network()
    compiled_is_right(network)
    compiled_is_right(network, target=TARGETS["baseline"])
    assert len(list(folder.iterdir())) == (1 if host_target().name == "baseline" else 2)


def put(key, constants, *, code=b"\x7fELF code", **description):
    write_entry(key, description, constants, lambda: code, summary={})


KEY, ANOTHER = "0" * 64, "1" * 64


@pytest.mark.parametrize("count", [0, 1, 1000, SLICE // 4, 5 * SLICE // 8])
def test_entries_come_back_as_they_were(count):
    constants = torch.arange(count, dtype=torch.int32)
    put(KEY, constants, layers=[1, "ä"], x=None)
    found = read_entry(KEY)
    assert found is not None
    assert found[:2] == ({"layers": [1, "ä"], "x": None}, b"\x7fELF code")
    assert torch.equal(found[2], constants)
    assert read_entry(ANOTHER) is None


def test_an_entry_under_another_name_is_as_good_as_none(folder):
    put(KEY, torch.arange(1000, dtype=torch.int32))
    (folder / KEY).rename(folder / ANOTHER)
    assert read_entry(ANOTHER) is None


def test_no_bit_of_an_entry_may_change_and_no_byte_be_missing(folder):
    put(KEY, torch.arange(1000, dtype=torch.int32), code=bytes(range(256)))
    path = folder / KEY
    whole = path.read_bytes()
    for place in range(0, len(whole), 29):
        for spoiled in (flipped(whole, place), whole[:place]):
            path.write_bytes(spoiled)
            assert read_entry(KEY) is None, place
    path.write_bytes(whole)
    assert read_entry(KEY) is not None


def test_each_place_of_large_weights_counts(folder):
    constants = torch.arange(3 * SLICE // 4, dtype=torch.int32)
    put(KEY, constants)
    path = folder / KEY
    whole = path.read_bytes()
    start = len(whole) - constants.nbytes - len(b"\x7fELF code")
    for size in (4, 8, PAGE, SLICE):
        path.write_bytes(swapped(whole, size, at=start))
        assert read_entry(KEY) is None, size


def test_too_much_is_not_kept(folder, monkeypatch):
    monkeypatch.setattr(store, "LARGEST_BYTES", 5 * PAGE)
    for key in (KEY, ANOTHER):
        put(key, torch.zeros(2 * PAGE // 4, dtype=torch.int32))
    assert [path.name for path in folder.iterdir()] == [ANOTHER]


RACE = """
import os, signal, sys, time
import torch
from onebyone.compiler.cache import read_entry, write_entry

def write_on(number):
    constants = torch.full((300_000,), number, dtype=torch.int32)
    for _ in range(40):
        write_entry("0" * 64, {"n": number}, constants, lambda: b"%d" % number, summary={})

writers = []
for number in (1, 2):
    writers.append(os.fork())
    if not writers[-1]:
        write_on(number)
        os._exit(0)
seen = 0
while any(os.waitpid(one, os.WNOHANG) == (0, 0) for one in writers[:1]):
    entry = read_entry("0" * 64)
    if entry is None:
        assert not seen, "an entry was there, and another took its place"
        continue
    description, code, constants = entry
    number = description["n"]
    assert code == b"%d" % number and bool((constants == number).all())
    seen += 1
os.waitpid(writers[1], 0)
print(seen > 0)
"""


def test_two_writers_and_a_reader_at_once(folder):
    done = subprocess.run(
        [sys.executable, "-c", RACE], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "True\n", done.stderr
    assert [path.name for path in folder.iterdir()] == [KEY]
