"""The same rows on Ray Data, from a Ray of one core on this machine."""

from contextlib import nullcontext

import pyarrow as pa
import pytest

from onebyone.errors import PredictionError
from onebyone.offline import on_ray, parts, predict_many
from tests.offline.small import NETWORK, rows_of, write_network, write_photos

ray = pytest.importorskip("ray")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("onebyone.compiler.threads.usable_cores", lambda: 1)
    monkeypatch.setattr(parts, "PART_IMAGES", 5)
    return write_photos(tmp_path / "photos")


def test_ray_writes_the_same_file(tmp_path, folder, capsys):
    model = write_network(tmp_path)
    plain, out = tmp_path / "plain.parquet", tmp_path / "results.parquet"
    predict_many(model, folder, plain)
    seen = []
    with on_ray.reached("local"):
        assert ray.cluster_resources()["CPU"] == 1
        done = predict_many(model, folder, out, ray="auto", watch=seen.append)
        assert ray.is_initialized(), "what was there before stays"
    assert not ray.is_initialized()
    assert out.read_bytes() == plain.read_bytes()
    assert (done.images, done.failed) == (12, 1)
    assert seen[0].images == 0
    assert seen[-1].images == seen[-1].total == 12
    assert len(seen) == 1 + 3
    assert capsys.readouterr().out == ""


def in_this_process(task, parts, missing, digest):
    """What Ray Data does, without Ray."""
    actor = on_ray.Actor(task.from_anywhere(), parts.from_anywhere(), digest)
    for part in missing:
        yield actor(pa.table({"item": [part]}))


@pytest.fixture
def without_ray(monkeypatch):
    monkeypatch.setattr(on_ray, "_tables", in_this_process)
    monkeypatch.setattr(on_ray, "reached", lambda address: nullcontext())


@pytest.mark.usefixtures("without_ray")
def test_another_network_on_another_machine_is_one_line(tmp_path, folder, monkeypatch):
    init = on_ray.Actor.__init__
    monkeypatch.setattr(
        on_ray.Actor, "__init__", lambda self, task, parts, _: init(self, task, parts, "other")
    )
    model = write_network(tmp_path)
    with pytest.raises(PredictionError) as error:
        predict_many(model, folder, tmp_path / "results.parquet", ray="auto")
    assert str(error.value) == (
        f"{model} is another network on a machine of the cluster than it is here; all machines "
        "need the same files"
    )


@pytest.mark.usefixtures("without_ray")
def test_a_network_that_fails_in_an_actor_is_one_line(tmp_path, folder):
    model = write_network(tmp_path, NETWORK.replace("nn.Linear(8, 4)", "nn.Unflatten(1, (2, 4))"))
    with pytest.raises(PredictionError, match=r"^scores of shape \(1, classes\) were wanted"):
        predict_many(model, folder, tmp_path / "results.parquet", ray="auto", engine="torch")
    assert not (tmp_path / "results.parquet.parts").exists()


@pytest.mark.usefixtures("without_ray")
def test_a_machine_that_does_not_see_the_parts_is_one_line(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(parts.Parts, "from_anywhere", lambda self: parts.Parts(tmp_path / "no"))
    with pytest.raises(PredictionError, match=r"No such file.*; all machines need to see what is"):
        predict_many(write_network(tmp_path), folder, tmp_path / "results.parquet", ray="auto")


@pytest.mark.usefixtures("without_ray")
def test_parts_may_come_in_any_order_and_in_pieces(tmp_path, folder, monkeypatch):
    def in_pieces(*given):
        *first, last = in_this_process(*given)
        yield last.slice(0, 1)
        yield pa.concat_tables(reversed(first))
        yield last.slice(1)

    model = write_network(tmp_path)
    predict_many(model, folder, tmp_path / "plain.parquet")
    monkeypatch.setattr(on_ray, "_tables", in_pieces)
    predict_many(model, folder, tmp_path / "results.parquet", ray="auto")
    plain, ours = (rows_of(tmp_path / f"{name}.parquet") for name in ("plain", "results"))
    assert ours == plain


def test_a_ray_that_cannot_be_reached_is_one_line(tmp_path, folder, monkeypatch):
    def init(*_, **__):
        raise ConnectionError("Could not find any running Ray instance")

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(PredictionError) as error:
        predict_many(write_network(tmp_path), folder, tmp_path / "results.parquet", ray="auto")
    assert str(error.value) == (
        "Ray cannot be used at 'auto' (ConnectionError: Could not find any running Ray instance)"
    )
    assert not (tmp_path / "results.parquet.parts").exists()
