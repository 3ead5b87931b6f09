"""What is asked for, as another process has to understand it."""

from pathlib import Path

import pytest

from onebyone.offline import Engine, Task


@pytest.mark.parametrize(
    ("model", "weights", "expected"),
    [
        ("resnet50", "imagenet", ("resnet50", "imagenet")),
        ("timm:dla34", "owner/name", ("timm:dla34", "owner/name")),
        ("mine.safetensors", None, ("{here}/mine.safetensors", None)),
        ("a/mine.py:make", "w.pth", ("{here}/a/mine.py:make", "{here}/w.pth")),
    ],
)
def test_files_are_named_from_the_root_on(tmp_path, monkeypatch, model, weights, expected):
    monkeypatch.chdir(tmp_path)
    Path("w.pth").touch()
    task = Task(model, weights, Engine.TORCH, 3).from_anywhere()
    named = [name and name.format(here=tmp_path) for name in expected]
    assert [task.model, task.weights] == named
    assert (task.engine, task.top) == (Engine.TORCH, 3)
