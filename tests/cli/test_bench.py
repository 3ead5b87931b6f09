"""`onebyone bench` as a user meets it; the engines are stand-ins."""

import json

import pytest
import torch

from onebyone.bench import Engine, IsolatedComparison, IsolatedResult, RatioSpread, Spread
from onebyone.compiler import host_target
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
        lambda names, numerics: [Engine("onebyone", exact), *(known[name] for name in names)],
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
    assert result["isolated"] is False
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


@pytest.fixture
def isolated(monkeypatch):
    """Stand in for the processes, and note what is asked of them."""
    asked = []

    def compare(subject, engines, **settings):
        print("noise of a comparison")  # noqa: T201
        settings.pop("watch")
        asked.append((subject.name, [engine.label for engine in engines], settings))
        spread = Spread(0.001, 0.001, 0.002)
        result = IsolatedResult(loop=spread, burst=spread, relative_rms=1e-6)
        return IsolatedComparison(
            model=subject.name,
            engines={"onebyone": result, "eager": result},
            loop_ratios={"eager": RatioSpread(1.0, 0.9, 1.1)},
            burst_ratios={"eager": RatioSpread(2.0, 1.9, 2.1)},
            absent={"openvino": "its process was killed by SIGSEGV"},
            remarks={},
            **settings,
        )

    monkeypatch.setattr("onebyone.bench.compare_isolated", compare)
    return asked


def test_isolated_as_json(run, isolated):
    status, out, err = run(
        *("bench", NIN, "--against", "eager,openvino", "--isolate", "--json"),
        *("--rounds", 2, "--threads", 1, "--batch", 3),
    )
    assert (status, err) == (0, "noise of a comparison\n")
    settings = {"batch": 3, "threads": 1, "rounds": 2, "numerics": "fp32"}
    assert isolated == [(NIN, ["onebyone", "eager", "openvino"], settings)]
    [result] = json.loads(out)["results"]
    assert "numerics" not in result
    assert result["isolated"] is True
    assert result["burst_ratios"] == {"eager": {"median": 2.0, "p10": 1.9, "p90": 2.1}}


def test_isolated_as_a_table(run, isolated):
    status, out, _ = run("bench", NIN, "--isolate")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 100
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line}
    times = ["1.00", "1.00", "(0.90..1.10)", "1.00", "2.00", "(1.90..2.10)", "1.0e-06"]
    assert lines["eager"] == ["eager", *times]
    assert " ".join(lines["openvino:"]).endswith("no result. its process was killed by SIGSEGV")


def test_numerics_are_asked_for(run, isolated, monkeypatch):
    monkeypatch.setattr("onebyone.cli.bench.host_target", lambda numerics: None)
    options = ("--against", "openvino,onnxruntime", "--isolate", "--json", "--numerics", "bf16")
    status, out, _ = run("bench", NIN, *options)
    [(_, labels, settings)] = isolated
    assert labels == ["onebyone", "onebyone bf16", "openvino", "openvino bf16", "onnxruntime"]
    assert settings["numerics"] == "bf16"
    assert (status, json.loads(out)["results"][0]["numerics"]) == (0, "bf16")


def test_a_processor_without_bfloat16_is_told_so_before_anything_is_loaded(run, monkeypatch):
    monkeypatch.setattr("onebyone.compiler.target.can_run", lambda target: not target.bf16)
    monkeypatch.setattr("onebyone.cli.bench.host_target", host_target.__wrapped__)
    monkeypatch.setattr("onebyone.bench.load_subject", lambda model: pytest.fail("was loaded"))
    status, out, err = run("bench", NIN, "--numerics", "bf16")
    assert (status, out) == (2, "")
    assert err.startswith("onebyone: `numerics` (='bf16') needs a processor that multiplies bfloat")
    assert err.count("\n") == 1


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
            ["bench", NIN, "--numerics", "fp16"],
            "Invalid value for '--numerics': Value error, 'fp16' is not one of 'fp32', 'bf16'.",
        ),
        (
            ["bench", NIN, "--against", "eager,inducter"],
            "no engine 'inducter' to compare with; did you mean 'inductor'? there are eager, "
            "executorch, inductor, litert, ncnn, onnxruntime, openvino",
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
