"""`onebyone bench` as a user meets it; the engines are stand-ins."""

import json

import pytest
import torch

from onebyone.bench import Engine
from tests.cli import test_cli

run = test_cli.run
NIN = "nin_cifar10"


@pytest.fixture
def engines(monkeypatch):
    """Our engine is exact, "eager" is wrong, the others are absent."""

    def exact(model, example, threads):
        print("noise of an engine")  # noqa: T201
        return torch.no_grad()(model)

    def wrong(model, example, threads):
        return torch.no_grad()(lambda images: 2 * model(images))

    def missing(model, example, threads):
        raise ModuleNotFoundError("No module named 'openvino'", name="openvino")

    known = {"eager": Engine("eager", wrong), "openvino": Engine("openvino", missing)}
    monkeypatch.setattr(
        "onebyone.bench.find_engines",
        lambda names: [Engine("onebyone", exact), *(known[name] for name in names)],
    )


def test_json(run, engines):
    status, out, err = run(
        "bench", NIN, "--against", "eager, openvino", "--rounds", 1, "--threads", 1, "--json"
    )
    assert status == 0
    assert err == "noise of an engine\n"
    content = json.loads(out)
    assert list(content) == ["machine", "results"]
    assert {"cpu", "cores", "isa", "packages"} <= set(content["machine"])
    [result] = content["results"]
    assert (result["model"], result["batch"], result["threads"]) == (NIN, 1, 1)
    assert list(result["engines"]) == ["onebyone", "eager"]
    assert result["ratios"] == {}
    assert result["engines"]["eager"]["relative_rms"] == pytest.approx(1.0, rel=1e-3)
    assert result["absent"] == {
        "openvino": "openvino is not installed: pip install 'onebyone[bench]'"
    }


def test_table(run, engines):
    status, out, _ = run(
        "bench", NIN, NIN, "--against", "eager,openvino", "--rounds", 1, "--batch", 2
    )
    assert status == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= 100
    assert "core" in lines[0]
    assert sum(line.startswith(f"{NIN}, batch 2, ") for line in lines) == 2
    assert sum("WRONG OUTPUT" in line for line in lines) == 2
    assert sum(line.startswith("openvino: no result. ") for line in lines) == 2


@pytest.mark.parametrize("option", ["--batch", "--threads", "--rounds"])
def test_no_less_than_one(run, option):
    assert run("bench", NIN, option, 0) == (
        2,
        "",
        f"onebyone: Invalid value for '{option}': Input should be greater than or equal to 1.\n",
    )


@pytest.mark.parametrize("batch", [10**12, 10**30])
def test_more_images_than_fit_into_memory(run, engines, batch):
    status, _, err = run("bench", NIN, "--against", "eager", "--batch", batch)
    assert (status, err) == (
        2,
        f"onebyone: {NIN}: `batch` (={batch}) is more images (3, 32, 32) than fit into memory; "
        "ask for fewer\n",
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["bench"], "Missing argument 'MODEL'."),
        (
            ["bench", NIN, "--threads", "100000000"],
            "Invalid value for '--threads': Input should be less than or equal to 1024.",
        ),
        (
            ["bench", NIN, "--against", "eager,inducter"],
            "no engine 'inducter' to compare with; did you mean 'inductor'? there are eager, "
            "inductor, onnxruntime, openvino",
        ),
        (
            ["bench", NIN, "resnet52"],
            "no model 'resnet52'; did you mean 'resnet152' or 'resnet56' or 'resnet50'? "
            "`onebyone models` lists all",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_wrong_use_is_one_line_and_status_2(run, arguments, line):
    assert run(*arguments) == (2, "", f"onebyone: {line}\n")
