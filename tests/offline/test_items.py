"""Which photos are predicted, and in which order."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebyone.errors import MissingPackageError, PhotoError
from onebyone.models.photo import SUFFIXES
from onebyone.offline.items import Item, Kind, read_source
from onebyone.offline.shards import _MEMBER, expand, find_members
from tests.helpers.light import hide
from tests.offline.small import photo, write_photos, write_shard


def names(photos):
    return [item.name for item in read_source([photos]).items()]


def test_a_folders_photos_come_in_the_order_of_their_paths(tmp_path):
    folder = write_photos(tmp_path / "photos")
    expected = sorted(
        (path.relative_to(folder) for path in folder.rglob("*") if path.suffix in SUFFIXES),
        key=lambda path: path.parts,
    )
    assert names(folder) == [str(path) for path in expected]


def test_capitals_are_photos_and_hidden_files_are_none(tmp_path):
    for name in ("b.JPEG", "a.Png", ".c.png", "d", "e.txt"):
        (tmp_path / name).touch()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "f.png").touch()
    assert names(tmp_path) == ["a.Png", "b.JPEG"]


def test_links_are_followed_but_not_in_circles(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").touch()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "circle").symlink_to(folder)
    (folder / "gone.png").symlink_to(tmp_path / "no.png")
    assert names(folder) == ["gone.png", "linked/a.png"]


def test_names_that_are_no_text_are_spelt_out_and_still_found(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.png")).write_bytes(b"content")
    (item,) = read_source([tmp_path]).items()
    assert item.name == "a\\xff.png"
    with item.open() as content:
        assert content.read() == b"content"


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda path: None, "cannot be read (No such file or directory); a photo was wanted"),
        (lambda path: path.touch(), "is empty (0 bytes); a photo was wanted: get the file again"),
        (os.mkfifo, "is no ordinary file; a photo was wanted"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, make, line):
    make(tmp_path / "a.jpg")
    with pytest.raises(PhotoError) as error, Item("a.jpg", tmp_path / "a.jpg", 0).open():
        pass
    assert str(error.value) == f"a.jpg {line}"


def test_a_shards_photos_are_named_by_their_keys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_shard(
        Path("s-0.tar"),
        [
            ("x/one.cls", b"1"),
            ("x/one.jpg", photo(0)),
            ("x/one.mask.png", photo(2)),
            ("two.json", b"{}"),
            ("__meta__/three.png", photo(3)),
            ("four.PNG", photo(4)),
            ("six.2026.jpg", photo(6)),
        ],
    )
    write_shard(Path("s-1.tar"), [("five.webp", photo(5))])
    source = read_source(["s-{0..1}.tar"])
    items = list(source.items())
    assert source.kind is Kind.SHARDS
    assert [item.name for item in items] == [
        "s-0.tar::x/one",
        "s-0.tar::four",
        "s-0.tar::six",
        "s-1.tar::five",
    ]
    for item, number in zip(items, (0, 4, 6, 5), strict=True):
        with item.open() as content:
            assert content.read() == photo(number)


@given(st.text("ab._/\n", max_size=9))
def test_keys_are_webdatasets(name):
    webdataset = pytest.importorskip("webdataset.tariterators")
    match = _MEMBER.fullmatch(name)
    ours = (match["key"], match["extension"]) if match else (None, None)
    if not name.endswith("\n"):  # which Python's "$" overlooks
        assert ours == webdataset.base_plus_ext(name)


def test_a_sample_with_several_photos_is_refused(tmp_path):
    path = write_shard(tmp_path / "s.tar", [("a.jpg", b""), ("b.1.jpg", b""), ("b.2.jpg", b"")])
    members = find_members(path)
    assert next(members).key == "a"
    with pytest.raises(PhotoError) as error:
        next(members)
    assert str(error.value) == (
        f"{path}::b was to have one photo, and has several (1.jpg, 2.jpg); give each a name of its "
        "own up to the first dot"
    )


@given(st.integers(0, 5000))
def test_a_shard_that_is_cut_anywhere_is_refused(tmp_path_factory, cut):
    path = tmp_path_factory.getbasetemp() / "cut.tar"
    write_shard(path, [("a.png", photo(0)), ("b.png", photo(1))])
    whole = list(find_members(path))
    end = whole[-1].offset + -(-whole[-1].size // 512) * 512
    path.write_bytes(path.read_bytes()[: min(cut, end + 511)])
    with pytest.raises(PhotoError, match=r"cut\.tar is (damaged, cut short, or no|empty)"):
        list(find_members(path))


def test_a_shard_with_a_damaged_head_is_refused(tmp_path):
    path = write_shard(tmp_path / "s.tar", [("a.png", photo(0)), ("b.png", photo(1))])
    first, _ = find_members(path)
    second = first.offset + -(-first.size // 512) * 512
    content = bytearray(path.read_bytes())
    content[second] ^= 1  # the first letter of its name
    path.write_bytes(content)
    with pytest.raises(PhotoError, match=f"no end at byte {second}"):
        list(find_members(path))


@pytest.mark.parametrize(
    ("photos", "line"),
    [
        ([], "one folder, tar shards or photos were wanted"),
        (
            ["nowhere"],
            "nowhere: one folder, tar shards or photos were wanted, and there is no such file",
        ),
        (
            ["folder", "a.png"],
            "one folder, tar shards or photos were wanted, and folder came with a.png; predict one "
            "at a time",
        ),
        (
            ["s.tar", "a.png"],
            "one folder, tar shards or photos were wanted, and s.tar came with a.png; predict one "
            "at a time",
        ),
        (
            ["folder"],
            "folder: no photo is in there; files whose names end in .jpg, .png or the like were "
            "wanted",
        ),
        (["shards"], "shards: no photo is in there, but shards are; name those: shards/s.tar"),
        (
            ["none.tar"],
            "none.tar: no photo is in there; members named KEY.jpg, KEY.png or the like were "
            "wanted",
        ),
        (
            ["s.tar.gz"],
            "s.tar.gz is packed, and shards are read from the middle; unpack it (photos in it are "
            "packed already, so it grows little), and name the .tar",
        ),
        (["s-{0..1.tar"], "s-{0..1.tar: a brace is not closed; say photos-{000..009}.tar"),
        (["s-{0..1}.tar"], "s-0.tar: a tar shard was wanted, and there is no such file"),
    ],
    ids=str,
)
def test_what_is_no_source_is_one_line(tmp_path, monkeypatch, photos, line):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("a.png").touch()
    Path("shards").mkdir()
    write_shard(Path("shards/s.tar"), [])
    write_shard(Path("none.tar"), [("a.txt", b"text")])
    with pytest.raises(PhotoError) as error:
        read_source(photos).check()
    assert str(error.value) == line


def test_a_folder_that_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    def scandir(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", scandir)  # root may read all
    with pytest.raises(PhotoError, match=r"cannot be read \(Permission denied\); a folder"):
        list(read_source([tmp_path]).items())


def test_braces_without_their_package_are_answered_with_its_pip_line(monkeypatch):
    hide(monkeypatch, "braceexpand")
    with pytest.raises(MissingPackageError, match=r"pip install 'onebyone\[predict\]'$"):
        expand("s-{0..1}.tar")
    assert expand("s-0.tar") == ["s-0.tar"]
