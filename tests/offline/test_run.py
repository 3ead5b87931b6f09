"""A file of predictions: what is in it, and what becomes of it when a run is cut short."""

import threading
from contextlib import suppress

import pyarrow.parquet as pq
import pytest

from onebyone.errors import MissingPackageError, ModelError, OneByOneError, PredictionError
from onebyone.models import load_model, open_photo, predict
from onebyone.offline import Progress, parts, predict_many
from onebyone.offline.predictor import AHEAD, ahead
from tests.helpers.light import hide
from tests.offline.small import NETWORK, photo, rows_of, write_network, write_photos, write_shard


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(parts, "PART_IMAGES", 4)
    monkeypatch.setattr(parts, "GROUP_PARTS", 2)


@pytest.fixture
def model(tmp_path):
    return write_network(tmp_path)


@pytest.fixture
def folder(tmp_path):
    return write_photos(tmp_path / "photos")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results.parquet"


class Stopped(Exception):  # noqa: N818
    """What ends a run where a test wants it to end."""


def stop_at(images):
    def watch(progress):
        if progress.images == images:
            raise Stopped

    return watch


def test_rows_are_what_predict_says_of_each_photo(model, folder, out):
    done = predict_many(model, folder, out, engine="torch", top=3)
    network, card = load_model(model)
    rows = rows_of(out)
    assert [row["image"] for row in rows] == sorted(row["image"] for row in rows)
    assert (done.images, done.failed, len(rows)) == (12, 1, 12)
    for row in rows:
        if row["image"] == "inner/damaged.jpg":
            assert row["indexes"] is row["labels"] is row["probabilities"] is None
            assert (row["error"],) == done.errors
            assert row["error"].startswith("inner/damaged.jpg is no photo that can be read; ")
            continue
        best = predict(network, card, open_photo(folder / row["image"]), top=3).top
        assert row["error"] is None
        assert row["indexes"] == [one.index for one in best]
        assert row["labels"] == [one.label for one in best]
        assert row["probabilities"] == [one.probability for one in best]


def test_the_columns_and_their_types(model, folder, out):
    predict_many(model, folder, out)
    columns = pq.read_schema(out)
    assert columns.names == ["image", "indexes", "labels", "probabilities", "error"]
    assert [str(kind) for kind in columns.types] == [
        "string",
        "list<element: int32>",
        "list<element: string>",
        "list<element: float>",
        "string",
    ]
    assert pq.read_metadata(out).num_row_groups == 2


def test_photos_and_shards_give_the_folders_predictions(model, folder, out, tmp_path):
    predict_many(model, folder, out)
    named = {row["image"]: row for row in rows_of(out)}
    files = [folder / name for name in named]
    predict_many(model, files, tmp_path / "files.parquet")
    shard = write_shard(tmp_path / "s.tar", [(f"{i}.png", photo(i)) for i in range(11)])
    predict_many(model, shard, tmp_path / "shard.parquet")
    for row, (name, expected) in zip(
        rows_of(tmp_path / "files.parquet"), named.items(), strict=True
    ):
        assert row["image"] == str(folder / name)
        assert row["probabilities"] == expected["probabilities"]
    by_number = {int(name[-7:-4]): row for name, row in named.items() if name.endswith(".png")}
    for number, row in enumerate(rows_of(tmp_path / "shard.parquet")):
        assert row["image"] == f"{shard}::{number}"
        assert row["probabilities"] == by_number[number]["probabilities"]


@pytest.mark.parametrize("images", [1, 4, 7, 12])
def test_a_run_that_was_stopped_goes_on_to_the_same_file(model, folder, out, tmp_path, images):
    predict_many(model, folder, tmp_path / "whole.parquet")
    with pytest.raises(Stopped):
        predict_many(model, folder, out, watch=stop_at(images))
    assert not out.exists()
    seen = []
    predict_many(model, folder, out, watch=seen.append)
    # A whole part was kept if its last row was written before the watch was told of the next.
    assert seen[0] == Progress((images - 1) // 4 * 4, 12)
    assert seen[-1] == Progress(12, 12)
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not out.with_name("results.parquet.parts").exists()


def test_only_whole_parts_are_trusted(model, folder, out, tmp_path):
    predict_many(model, folder, tmp_path / "whole.parquet")
    with pytest.raises(Stopped):
        predict_many(model, folder, out, watch=stop_at(10))
    kept = sorted(out.with_name("results.parquet.parts").glob("[0-9]*.parquet"))
    assert [path.name for path in kept] == ["0000000.parquet", "0000001.parquet"]
    kept[0].write_bytes(kept[0].read_bytes()[:-1])  # as a disk might lose it
    seen = []
    predict_many(model, folder, out, watch=seen.append)
    assert seen[0] == Progress(4, 12)
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_parts_that_nothing_says_what_they_are_of_are_not_trusted(model, folder, out):
    with pytest.raises(Stopped):
        predict_many(model, folder, out, watch=stop_at(10))
    (out.with_name("results.parquet.parts") / "run.json").unlink()
    seen = []
    predict_many(model, folder, out, watch=seen.append)
    assert seen[0] == Progress(0, 12)


def change_weights(model, folder):
    write_network(folder.parent, NETWORK.replace("manual_seed(0)", "manual_seed(1)"))


def change_photos(model, folder):
    (folder / "new.png").write_bytes(photo(99))


@pytest.mark.parametrize(
    ("change", "changed", "line"),
    [
        (lambda *_: None, {"top": 3}, "top 5, and 3 was asked for"),
        (lambda *_: None, {"engine": "torch"}, "engine 'compiled', and 'torch' was asked for"),
        (change_weights, {}, "network '"),
        (change_photos, {}, "photos '12 photos ("),
    ],
    ids=["top", "engine", "weights", "photos"],
)
def test_another_run_is_refused_and_the_same_one_goes_on(model, folder, out, change, changed, line):
    with pytest.raises(Stopped):
        predict_many(model, folder, out, watch=stop_at(10))
    place = out.with_name("results.parquet.parts")
    change(model, folder)
    with pytest.raises(PredictionError) as error:
        predict_many(model, folder, out, **changed)
    assert str(error.value).startswith(f"{place} holds predictions with {line}")
    assert str(error.value).endswith(f"; ask for the same, or begin anew: remove {place}")
    write_network(folder.parent)
    (folder / "new.png").unlink(missing_ok=True)
    seen = []
    predict_many(model, folder, out, watch=seen.append)
    assert seen[0] == Progress(8, 12)


def test_a_result_that_is_there_stays(model, folder, out):
    predict_many(model, folder, out)
    before = out.stat()
    assert predict_many(model, folder, out).images == 12
    assert out.stat() == before
    with pytest.raises(PredictionError, match=r"top 5, and 2 was asked for; write elsewhere, or"):
        predict_many(model, folder, out, top=2)
    assert out.stat() == before
    predict_many(model, folder, out, top=2, overwrite=True)
    assert len(rows_of(out)[0]["indexes"]) == 2


def test_a_run_that_was_killed_while_it_tidied_up_is_whole(model, folder, out, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(parts.Parts, "remove", lambda self: None)
        predict_many(model, folder, out)
    assert out.with_name("results.parquet.parts").exists()
    assert predict_many(model, folder, out).images == 12
    assert not out.with_name("results.parquet.parts").exists()


def test_a_file_that_is_none_of_ours_stays(model, folder, out):
    out.write_bytes(b"mine")
    with pytest.raises(PredictionError, match="is there already, and is none of ours; write else"):
        predict_many(model, folder, out)
    assert out.read_bytes() == b"mine"


def test_what_somebody_else_keeps_in_the_folder_of_parts_stays(model, folder, out):
    place = out.with_name("results.parquet.parts")
    place.mkdir()
    (place / "mine.txt").write_text("mine")
    predict_many(model, folder, out)
    assert [path.name for path in place.iterdir()] == ["mine.txt"]


def test_two_runs_at_once_are_refused(model, folder, out):
    with parts.open_parts(out), pytest.raises(PredictionError, match=r"^another process is writ"):
        predict_many(model, folder, out)


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(model, folder, out, monkeypatch):
    write = pq.write_table

    def fill(table, file):
        if file.name.split(".")[-2] == "parquet" and "0000001" in file.name:
            file.write(b"PAR1")
            raise OSError(28, "No space left on device")
        write(table, file)

    with monkeypatch.context() as patch, pytest.raises(PredictionError) as error:
        patch.setattr(pq, "write_table", fill)
        predict_many(model, folder, out)
    place = out.with_name("results.parquet.parts")
    assert str(error.value) == (
        f"cannot write {place / '0000001.parquet'} (No space left on device); make room, and the "
        "same command goes on"
    )
    assert sorted(path.name for path in place.iterdir()) == [
        "0000000.parquet",
        "items.parquet",
        "lock",
        "run.json",
    ]
    seen = []
    predict_many(model, folder, out, watch=seen.append)
    assert seen[0] == Progress(4, 12)


def test_a_run_that_kept_nothing_leaves_nothing(folder, tmp_path, out):
    model = write_network(tmp_path, NETWORK.replace("nn.Linear(8, 4)", "nn.Unflatten(1, (2, 4))"))
    with pytest.raises(ModelError, match="a classifier was wanted"):
        predict_many(model, folder, out)
    assert [path.name for path in tmp_path.iterdir()].count("results.parquet.parts") == 0


def test_classes_that_nobody_named_are_numbered(folder, tmp_path, out):
    model = write_network(tmp_path, NETWORK.replace(', classes=tuple("abcd")', ""))
    predict_many(model, folder, out, top=9)
    first = rows_of(out)[0]
    assert sorted(first["indexes"]) == [0, 1, 2, 3]
    assert first["labels"] == [f"class {index}" for index in first["indexes"]]


def test_photos_are_prepared_ahead_in_order_and_few_at_a_time():
    taken, made = [], []
    enough = threading.Semaphore(0)

    def numbers():
        for number in range(100):
            taken.append(number)
            yield number

    def make(number):
        made.append(number)
        enough.release()
        return number * number

    for number, square in ahead(make, numbers(), threads=2):
        assert square == number * number
        assert len(taken) - number <= 2 * AHEAD + 1
    assert sorted(made) == list(range(100))


def test_threads_end_with_the_run(model, folder, out):
    with suppress(Stopped):
        predict_many(model, folder, out, watch=stop_at(5))
    assert not [one for one in threading.enumerate() if one.name.startswith("onebyone-photos")]


@pytest.mark.parametrize("package", ["pyarrow", "ray"])
def test_a_missing_package_is_answered_with_its_pip_line(model, folder, out, monkeypatch, package):
    hide(monkeypatch, package)
    extra = {"pyarrow": "predict"}.get(package, package)
    with pytest.raises(MissingPackageError, match=rf"pip install 'onebyone\[{extra}\]'$"):
        predict_many(model, folder, out, ray="local")
    assert not out.with_name("results.parquet.parts").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"top": 0}, r"^`top` \(=0\) must be at least 1$"),
        ({"engine": "none"}, r"^`engine` \(='none'\) must be 'compiled' or 'torch'$"),
        ({"model": "resnet52"}, "^no model 'resnet52'"),
        ({"out": "results.csv"}, r"^results\.csv: a name that ends in \.parquet was wanted$"),
        ({"photos": []}, "^one folder, tar shards or photos were wanted$"),
    ],
    ids=str,
)
def test_wrong_use_is_found_first(model, folder, out, arguments, line):
    with pytest.raises(OneByOneError, match=line):
        predict_many(**{"model": model, "photos": folder, "out": out} | arguments)
