"""What is kept between runs: only what nobody else could have written is used."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebyone import store
from onebyone.errors import CacheError
from onebyone.store import (
    PAGE,
    folder_path,
    make_folder,
    open_folder,
    pack_head,
    read_head,
    total_size,
)

NAME, OTHER = "a" * 64, "b" * 64 + "-3"
STRANGER = 54321

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A folder of the test's own, in which nothing is."""
    monkeypatch.setenv("ONEBYONE_CACHE_DIR", str(tmp_path / "cache"))
    make_folder()
    return tmp_path / "cache"


def put(name, content=b"content"):
    with open_folder() as folder, folder.writing(name) as file:
        file.write(content)


def get(name):
    with open_folder() as folder, folder.open(name) as file:
        return file.read()


@contextmanager
def soon():
    """What waits for ever is ended."""
    signal.alarm(20)
    yield
    signal.alarm(0)


def test_files_come_back_and_are_the_users_alone(path):
    old = os.umask(0)
    try:
        put(NAME)
    finally:
        os.umask(old)
    assert get(NAME) == b"content"
    assert stat.S_IMODE((path / NAME).stat().st_mode) == 0o600
    assert [one.name for one in path.iterdir()] == [NAME]


def test_the_folder_is_made_for_the_user_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEBYONE_CACHE_DIR", str(tmp_path / "new" / "cache"))
    old = os.umask(0)
    try:
        make_folder()
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "new" / "cache").stat().st_mode) == 0o700


def test_where_files_lie(monkeypatch, tmp_path):
    monkeypatch.delenv("ONEBYONE_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folder_path() == tmp_path / "onebyone" / "compiled"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert folder_path() == tmp_path / "home" / ".cache" / "onebyone" / "compiled"


@only_root
def test_a_user_without_a_home_is_told():
    script = f"""
import os
from onebyone import store
for name in ("HOME", "ONEBYONE_CACHE_DIR", "XDG_CACHE_HOME"):
    os.environ.pop(name, None)
os.setuid({STRANGER})
try:
    store.folder_path()
except store.CacheError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "this user has no home; name a folder in ONEBYONE_CACHE_DIR" in done.stdout


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_folder_that_others_may_write_to_is_refused(path, mode):
    path.chmod(mode)
    with pytest.raises(CacheError, match=f"others may write to it .*{mode:04o}.*chmod go-w"):
        put(NAME)
    path.chmod(0o755)
    put(NAME)


@only_root
def test_a_strangers_folder_is_refused(path):
    os.chown(path, STRANGER, STRANGER)
    with pytest.raises(CacheError, match=f"belongs to user {STRANGER}, and this is user 0"):
        put(NAME)


def device(place):
    os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero: it has no end


def listening(place):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(place))


def linked(place):
    target = place.with_name("target")
    target.write_bytes(b"content")
    place.symlink_to(target)


def lax(place):
    place.write_bytes(b"content")
    place.chmod(0o660)


def foreign(place):
    place.write_bytes(b"content")
    os.chown(place, STRANGER, STRANGER)


REFUSED = [
    pytest.param(os.mkfifo, "no ordinary file", id="a pipe"),
    pytest.param(os.mkdir, "Is a directory", id="a folder"),
    pytest.param(listening, "No such device", id="a socket"),
    pytest.param(linked, "symbolic links", id="a link"),
    pytest.param(lax, "others may write to it", id="a group's"),
    pytest.param(foreign, f"belongs to user {STRANGER}", id="a stranger's", marks=only_root),
    pytest.param(device, "no ordinary file", id="a device", marks=only_root),
]


@pytest.mark.parametrize(("make", "line"), REFUSED)
def test_what_is_no_file_of_the_users_is_refused(path, monkeypatch, make, line):
    monkeypatch.chdir(path)  # a socket's path must be short
    make(Path(NAME))
    with soon(), pytest.raises(CacheError, match=line):
        get(NAME)


@pytest.mark.parametrize(("make", "line"), [one for one in REFUSED if one.id != "a folder"])
def test_a_file_of_the_users_takes_the_place(path, monkeypatch, make, line):
    monkeypatch.chdir(path)
    make(Path(NAME))
    with soon():
        put(NAME)
        assert get(NAME) == b"content"


def test_another_folder_of_the_same_name_is_never_meant(path, tmp_path):
    put(NAME, b"ours")
    with open_folder() as folder:
        path.rename(tmp_path / "moved")
        path.mkdir()
        (path / NAME).write_bytes(b"theirs")
        with folder.open(NAME) as file:
            assert file.read() == b"ours"
        with folder.writing(NAME) as file:
            file.write(b"new")
    assert (path / NAME).read_bytes() == b"theirs"
    assert (tmp_path / "moved" / NAME).read_bytes() == b"new"


def test_what_was_not_written_to_its_end_is_not_there(path):
    put(NAME, b"old")
    with (
        open_folder() as folder,
        pytest.raises(OSError, match="No space"),
        folder.writing(NAME) as file,
    ):
        file.write(b"new")
        raise OSError(28, "No space left on device")
    assert get(NAME) == b"old"
    assert [one.name for one in path.iterdir()] == [NAME]


KILLED = """
import os, signal
from onebyone.store import open_folder
with open_folder() as folder, folder.writing("a" * 64) as file:
    file.write(bytes(1000))
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_killed_writers_leave_is_swept(path):
    done = subprocess.run([sys.executable, "-c", KILLED], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(path.iterdir())) == 1
    with open_folder() as folder:
        assert total_size(folder.sweep()) == 1000
    assert not list(path.iterdir())


def test_what_is_being_written_is_not_swept_unless_it_is_old(path):
    with open_folder() as folder:
        with folder.writing(NAME) as file:
            file.write(b"content")
            assert folder.sweep() == []
        assert get(NAME) == b"content"
        old = time.time() - store.STALE_SECONDS - 1
        with pytest.raises(FileNotFoundError), folder.writing(NAME) as file:
            (unfinished,) = (one for one in path.iterdir() if one.name != NAME)
            os.utime(unfinished, (old, old))
            assert len(folder.sweep()) == 1
    assert get(NAME) == b"content"


def test_files_of_other_names_are_left_alone(path):
    names = ["notes.txt", "a" * 63, NAME + ".bak", f".{NAME}", f".{NAME}.swp"]
    for name in names:
        (path / name).write_text("precious")
    (path / OTHER).mkdir()
    put(NAME)
    with open_folder() as folder:
        assert [one.name for one in folder.kept()] == [NAME]
        assert [one.name for one in folder.clear()] == [NAME]
        assert folder.clear() == []
    assert sorted(one.name for one in path.iterdir()) == sorted([*names, OTHER])


def test_what_was_not_used_for_longest_goes_first(path, monkeypatch):
    monkeypatch.setattr(store, "LARGEST_BYTES", 30)
    names = [digit * 64 for digit in "0123"]
    for age, name in enumerate(names):
        put(name, bytes(10))
        os.utime(path / name, (age, age))
    with open_folder() as folder:
        folder.bound(keep=names[0])
        assert [one.name for one in folder.kept()] == [names[0], *names[2:]]
        monkeypatch.setattr(store, "LARGEST_BYTES", 0)
        folder.bound(keep=names[0])
        assert [one.name for one in folder.kept()] == names[:1], "the newest stays"


def test_a_head_says_what_it_was_given(path):
    facts = {"layers": 3, "name": "ä\n", "inputs": [[1, 3, 8, 8]]}
    put(NAME, pack_head(facts) + b"more")
    assert len(pack_head(facts)) == PAGE
    with open_folder() as folder, folder.open(NAME) as file:
        assert read_head(file) == facts


@given(st.integers(0, 8 * PAGE - 1))
def test_a_head_with_one_bit_changed_is_refused(tmp_path_factory, bit):
    head = bytearray(pack_head({"layers": 3}))
    head[bit // 8] ^= 1 << bit % 8
    check_no_head(tmp_path_factory.mktemp("head") / "file", bytes(head))


@pytest.mark.parametrize("content", [b"", b"\n", b"[1]\n", b"x" * PAGE, b"\n" * PAGE])
def test_what_has_no_head_is_refused(tmp_path, content):
    check_no_head(tmp_path / "file", content)


def check_no_head(path, content):
    path.write_bytes(content)
    with path.open("rb") as file, pytest.raises(ValueError, match="no head"):
        read_head(file)
