"""`onebyone predict --out` as a user meets it: a file, and one line where it fails."""

import json
import os
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from onebyone.cli import main
from onebyone.offline import parts
from tests.offline.small import rows_of, write_network, write_photos, write_shard


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run a command line in a folder with photos; gives the exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path)
    write_photos(tmp_path / "photos")
    (tmp_path / "empty").mkdir()
    write_shard(tmp_path / "s-0.tar", [("a.png", (tmp_path / "photos" / "001.png").read_bytes())])

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["onebyone", "predict", "mine.py:make", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run


DAMAGED = (
    "onebyone: inner/damaged.jpg is no photo that can be read; a JPEG, PNG, WebP, AVIF, BMP, TIFF "
    "or GIF was wanted\n"
)


def test_a_folder_goes_to_a_file_and_what_is_damaged_is_named(run):
    status, out, err = run("photos", "--out", "results.parquet")
    assert (status, out, err) == (
        2,
        "12 photos, 1 could not be read: results.parquet\n",
        DAMAGED,
    )
    assert [row["image"] for row in rows_of("results.parquet") if row["error"]] == [
        "inner/damaged.jpg"
    ]
    assert run("photos", "--out", "results.parquet") == (status, out, err)


def test_shards_go_to_a_file_and_json_is_one_object(run):
    status, out, err = run("s-{0..0}.tar", "--out", "results.parquet", "--json", "--top", "1")
    assert (status, err) == (0, "")
    assert json.loads(out) == {
        "model": "mine.py:make",
        "engine": "compiled",
        "out": "results.parquet",
        "images": 1,
        "failed": 0,
    }
    (row,) = rows_of("results.parquet")
    assert (row["image"], len(row["labels"])) == ("s-0.tar::a", 1)


def test_many_errors_are_counted(run, monkeypatch):
    for number in range(12):
        Path(f"photos/damaged{number:02}.png").touch()
    status, out, err = run("photos", "--out", "results.parquet")
    assert status == 2
    assert out == "24 photos, 13 could not be read: results.parquet\n"
    assert len(err.splitlines()) == 11
    assert err.endswith("onebyone: 3 more could not be read; results.parquet says why\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["photos"], "photos may hold many photos; say where predictions go: --out FILE.parquet"),
        (["s-0.tar"], "s-0.tar may hold many photos; say where predictions go: --out FILE.parquet"),
        (
            ["photos/001.png", "--ray"],
            "--ray is for many photos; say where they go: --out FILE.parquet",
        ),
        (
            ["photos/001.png", "--overwrite"],
            "--overwrite is for many photos; say where they go: --out FILE.parquet",
        ),
        (
            ["empty", "--out", "r.parquet"],
            "empty: no photo is in there; files whose names end in .jpg, .png or the like were "
            "wanted",
        ),
        (
            ["nowhere", "--out", "r.parquet"],
            "nowhere: one folder, tar shards or photos were wanted, and there is no such file",
        ),
        (
            ["photos", "photos/001.png", "--out", "r.parquet"],
            "one folder, tar shards or photos were wanted, and photos came with photos/001.png; "
            "predict one at a time",
        ),
        (["photos", "--out", "r.csv"], "r.csv: a name that ends in .parquet was wanted"),
        (
            ["photos", "--out", "nowhere/r.parquet"],
            "cannot write nowhere/r.parquet (No such file or directory); name a place that you may "
            "write to",
        ),
        (
            ["photos", "--out", "folder.parquet"],
            "folder.parquet is a folder; a name for the result was wanted",
        ),
        (
            ["photos", "--out", "mine.parquet"],
            "mine.parquet is there already, and is none of ours; write elsewhere, or replace it "
            "(--overwrite)",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_wrong_use_is_one_line_and_leaves_nothing(run, arguments, line):
    Path("folder.parquet").mkdir()
    Path("mine.parquet").write_text("mine")
    before = sorted(Path().iterdir())
    assert run(*arguments) == (2, "", f"onebyone: {line}\n")
    assert sorted(path for path in Path().iterdir() if path.name != "__pycache__") == before
    assert Path("mine.parquet").read_text() == "mine"


def test_no_permission_is_one_line(run, monkeypatch):
    def mkdir(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", mkdir)  # root may write anywhere
        assert run("photos", "--out", "r.parquet") == (
            2,
            "",
            "onebyone: cannot write r.parquet (Permission denied); name a place that you may write "
            "to\n",
        )


@pytest.mark.parametrize("last", ["0000000.parquet", "result.parquet"])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(run, monkeypatch, last):
    """As the first part is written, and as the result is."""
    fsync = os.fsync

    def fill(descriptor):
        if last in Path(f"/proc/self/fd/{descriptor}").readlink().name:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fill)
        assert run("photos", "--out", "r.parquet") == (
            2,
            "",
            f"onebyone: cannot write r.parquet.parts/{last} (No space left on device); make room, "
            "and the same command goes on\n",
        )
    assert not Path("r.parquet").exists()
    assert not list(Path().glob("r.parquet.parts/.*"))
    assert run("photos", "--out", "r.parquet")[1:] == (
        "12 photos, 1 could not be read: r.parquet\n",
        DAMAGED,
    )
    assert not Path("r.parquet.parts").exists()


def test_another_top_is_refused_while_a_run_is_unfinished(run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(parts.Parts, "join", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run("photos", "--out", "r.parquet") == (130, "", "")
    assert run("photos", "--out", "r.parquet", "--top", "2") == (
        2,
        "",
        "onebyone: r.parquet.parts holds predictions with top 5, and 2 was asked for; ask for the "
        "same, or begin anew: remove r.parquet.parts\n",
    )
    assert run("photos", "--out", "r.parquet")[0] == 2
    assert pq.read_metadata("r.parquet").num_rows == 12


def test_ray_is_asked_for_by_its_address(run, monkeypatch):
    asked = []
    monkeypatch.setattr("onebyone.offline.predict_many", lambda *_, ray, **__: asked.append(ray))
    for address in (None, "auto"):
        with monkeypatch.context() as patch, pytest.raises(AttributeError):
            if address:
                patch.setenv("RAY_ADDRESS", address)
            else:
                patch.delenv("RAY_ADDRESS", raising=False)
            run("photos", "--out", "r.parquet", "--ray")
    assert asked == ["local", "auto"]
