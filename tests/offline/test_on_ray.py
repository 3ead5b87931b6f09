"""The same rows on Ray Data, from a Ray of one core on this machine."""

import pytest

from onebyone.errors import PredictionError
from onebyone.offline import Engine, Task, on_ray, parts, predict_many
from onebyone.offline.items import read_source
from tests.offline.small import NETWORK, write_network, write_photos

ray = pytest.importorskip("ray")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("onebyone.compiler.target.usable_cores", lambda: 1)
    monkeypatch.setattr(parts, "PART_IMAGES", 5)
    return write_photos(tmp_path / "photos")


def test_ray_writes_the_same_file_or_one_line(tmp_path, folder, capsys, monkeypatch):
    """One test, as it takes long to start Ray."""
    model = write_network(tmp_path)
    plain, out = tmp_path / "plain.parquet", tmp_path / "results.parquet"
    predict_many(model, folder, plain)
    seen = []
    with on_ray.reached("local"):
        assert ray.cluster_resources()["CPU"] == 1
        done = predict_many(model, folder, out, ray="auto", watch=seen.append)
        assert ray.is_initialized(), "what was there before stays"

        with parts.open_parts(tmp_path / "other.parquet") as other:
            other.list_items(read_source([folder]).items())
            task = Task(model, None, Engine.COMPILED, 5)
            work = on_ray.predict_on_ray(task, other, [0, 1], other.sizes(), "other", "auto")
            with pytest.raises(PredictionError, match=r"mine\.py:make is another network on a ma"):
                list(work)

        write_network(tmp_path, NETWORK.replace("nn.Linear(8, 4)", "nn.Unflatten(1, (2, 4))"))
        with pytest.raises(PredictionError, match=r"^scores of shape \(1, classes\) were wanted"):
            predict_many(model, folder, tmp_path / "none.parquet", ray="auto", engine="torch")
    assert not ray.is_initialized()
    assert out.read_bytes() == plain.read_bytes()
    assert (done.images, done.failed) == (12, 1)
    assert seen[0].images == 0
    assert seen[-1].images == seen[-1].total == 12
    assert len(seen) == 1 + 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err


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
