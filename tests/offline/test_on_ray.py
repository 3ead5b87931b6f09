"""The same rows on Ray Data, from a Ray of one core on this machine."""

import subprocess
import sys

import pytest

from onebyone.errors import ModelError, PredictionError
from onebyone.offline import on_ray, parts, predict_many
from tests.offline.small import NETWORK, write_network, write_photos

pytest.importorskip("ray")


@pytest.fixture
def _one_core(monkeypatch):
    monkeypatch.setattr("onebyone.compiler.usable_cores", lambda: 1)
    monkeypatch.setattr(parts, "PART_IMAGES", 5)


@pytest.mark.usefixtures("_one_core")
def test_ray_writes_the_same_file_and_is_left_behind(tmp_path, capsys):
    import ray

    model, folder = write_network(tmp_path), write_photos(tmp_path / "photos")
    plain, out = tmp_path / "plain.parquet", tmp_path / "results.parquet"
    predict_many(model, folder, plain)
    seen = []
    done = predict_many(model, folder, out, ray="local", watch=seen.append)
    assert out.read_bytes() == plain.read_bytes()
    assert (done.images, done.failed) == (12, 1)
    assert sorted(progress.images for progress in seen) in ([0, 5, 10, 12], [0, 2, 7, 12])
    assert not ray.is_initialized()
    assert capsys.readouterr().out == ""
