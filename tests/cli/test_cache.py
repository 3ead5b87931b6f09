"""`onebyone cache`: what is kept, how large it is, and how to be rid of it."""

import json
import os
import sys

import pytest
import torch
from torch import nn

from onebyone.cli import main
from onebyone.compiler import compile_model, host_target
from onebyone.store import LARGEST_BYTES
from onebyone.training.data.shard_index import index_shard
from tests.training.photos import sample, write_shard


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("ONEBYONE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command line; gives the exit status, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["onebyone", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    return run


def keep(channels=4):
    network = nn.Sequential(nn.Conv2d(3, channels, 1), nn.ReLU()).eval()
    compile_model(network, torch.zeros(1, 3, 8, 8), threads=1)


def test_entries_as_a_table(run, folder):
    keep()
    (path,) = folder.iterdir()
    status, out, err = run("cache")
    assert (status, err) == (0, "")
    head, row, _, total = out.splitlines()
    assert head.split() == ["name", "layers", "inputs", "target", "numerics", "MB", "last", "used"]
    assert row.split()[0] == path.name[:8]
    assert row.split()[2:6] == ["1x3x8x8", host_target().name, "fp32", "0.0"]
    assert total.startswith(f"{folder}: 1 file, 0.0 MB of at most 8,589.9 MB")


def test_entries_as_json(run, folder):
    keep(4)
    os.utime(next(folder.iterdir()), (0, 0))
    keep(5)
    (folder / ("f" * 64)).write_bytes(b"damaged")
    os.utime(folder / ("f" * 64), (1, 1))
    status, out, err = run("cache", "--json")
    assert (status, err) == (0, "")
    content = json.loads(out)
    assert list(content) == ["folder", "bytes", "largest_bytes", "entries"]
    assert (content["folder"], content["largest_bytes"]) == (str(folder), LARGEST_BYTES)
    assert content["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    first, damaged, last = content["entries"]
    assert first["inputs"] == last["inputs"] == [[1, 3, 8, 8]]
    assert first["layers"] == last["layers"] > 0
    assert damaged["layers"] is None
    assert first["last_used"] > damaged["last_used"] > last["last_used"]


def test_indexes_of_shards_are_listed_too(run, folder, tmp_path):
    index_shard(write_shard(tmp_path / "train-0.tar", sample(1, 0)))
    _, row, _, _ = run("cache")[1].splitlines()
    assert row.split()[1:3] == ["index", "train-0.tar"]
    (entry,) = json.loads(run("cache", "--json")[1])["entries"]
    assert (entry["shard"], entry["layers"]) == ("train-0.tar", None)


def test_clearing(run, folder):
    keep()
    (folder / "notes.txt").write_text("precious")
    size = next(path for path in folder.iterdir() if path.suffix != ".txt").stat().st_size
    status, out, err = run("cache", "clear", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out) == {"folder": str(folder), "removed": 1, "freed_bytes": size}
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert run("cache", "clear") == (0, f"{folder}: removed 0 files, 0.0 MB are free\n", "")


def test_where_nothing_was_ever_kept_there_is_nothing(run, folder):
    assert run("cache") == (0, f"{folder}: 0 files, 0.0 MB of at most 8,589.9 MB\n", "")
    assert json.loads(run("cache", "clear", "--json")[1])["removed"] == 0
    assert not folder.exists()


@pytest.mark.parametrize("action", ["list", "clear"])
def test_a_folder_that_is_not_to_be_used_is_one_line(run, folder, action):
    folder.mkdir()
    folder.chmod(0o777)
    status, out, err = run("cache", action)
    assert (status, out) == (2, "")
    assert err.startswith(f"onebyone: {folder} is not used: others may write to it (mode 0777)")
    assert len(err.splitlines()) == 1
    folder.rmdir()
    folder.write_text("in the way")
    status, out, err = run("cache", action)
    assert (status, out) == (2, "")
    assert err == (
        f"onebyone: {folder} cannot be used (Not a directory); name another folder in "
        "ONEBYONE_CACHE_DIR\n"
    )


def test_a_wrong_action_is_one_line(run):
    status, out, err = run("cache", "burn")
    assert (status, out) == (2, "")
    assert "'burn' is not one of 'list', 'clear'" in err
