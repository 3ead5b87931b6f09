"""Comparisons, with engines that do what we tell them."""

import json

import pytest
import torch
from rich.console import Console
from torch import nn

from onebyone.bench import OURS, Engine, Subject, compare
from onebyone.bench.accuracy import float64_output, relative_rms
from onebyone.bench.table import render
from onebyone.errors import CompileError, ModelError, ShapeError
from tests.bench.test_measure import Clock


@pytest.fixture
def subject():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten()).eval()
    return Subject("tiny", network, (3, 5, 5))


class Workshop:
    """Makes engines that run the network exactly, and take the time they are told to."""

    def __init__(self):
        self.clock = Clock()

    def engine(self, name, cost, change=lambda output: output, numerics="fp32"):
        def build(model, example, threads):
            assert threads == torch.get_num_threads() == 1

            def run(images):
                self.clock.advance(cost)
                with torch.no_grad():
                    return change(model(images))

            return run

        return Engine(name, build, numerics=numerics)

    def failing(self, name, error, numerics="fp32"):
        def build(model, example, threads):
            raise error

        return Engine(name, build, numerics=numerics)

    def compare(self, subject, engines, **settings):
        settings = {"batch": 1, "threads": 1, "rounds": 3} | settings
        return compare(subject, engines, rest=lambda: None, now=self.clock, **settings)


@pytest.fixture
def shop():
    return Workshop()


def printed(comparison):
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    with console.file:
        console.print(render(comparison))
    return console.export_text()


def test_peers_are_compared_with_ours(shop, subject):
    comparison = shop.compare(
        subject,
        [shop.engine(OURS, 0.010), shop.engine("slow", 0.015), shop.engine("quick", 0.005)],
        batch=2,
    )
    assert comparison.ratios == pytest.approx({"slow": 1.5, "quick": 0.5})
    assert comparison.absent == {}
    assert comparison.batch == 2
    result = comparison.engines["slow"]
    assert result.median_seconds == result.p90_seconds == pytest.approx(0.015)
    assert 0 < result.relative_rms < 1e-6
    assert result.is_right


def test_what_must_be_known_of_a_result_is_one_line(shop, subject):
    quiet, partly = shop.engine("quiet", 0.01), shop.engine(OURS, 0.01)
    partly = Engine(partly.name, partly.build, lambda runner: "cumsum [1] runs in PyTorch")
    comparison = shop.compare(subject, [partly, quiet])
    assert comparison.remarks == {OURS: "cumsum [1] runs in PyTorch"}
    lines = printed(comparison).splitlines()
    assert lines.count("onebyone: cumsum [1] runs in PyTorch") == 1


def test_the_json_is_as_promised(shop, subject):
    comparison = shop.compare(
        subject,
        [shop.engine(OURS, 0.01), shop.engine("a", 0.02), shop.failing("b", OSError("x"))],
    )
    content = comparison.to_json()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert list(content) == [
        "isolated",
        "model",
        "batch",
        "threads",
        "engines",
        "ratios",
        "absent",
        "remarks",
    ]
    assert content["isolated"] is False
    assert (content["model"], content["batch"], content["threads"]) == ("tiny", 1, 1)
    assert list(content["engines"]) == [OURS, "a"]
    assert list(content["engines"]["a"]) == [
        "median_seconds",
        "p10_seconds",
        "p90_seconds",
        "relative_rms",
    ]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime"),
            "onnxruntime is not installed: pip install 'onebyone[bench]'",
        ),
        (ModuleNotFoundError("No module named 'x'", name="x"), "ModuleNotFoundError: No module"),
        (RuntimeError("no such operator\nat line 3"), "RuntimeError: no such operator"),
        (CompileError("cannot compile `pool1`"), "cannot compile `pool1`"),
    ],
    ids=["missing", "another missing", "failing", "ours"],
)
@pytest.mark.parametrize("name", [OURS, "peer"])
def test_an_engine_that_fails_is_named_with_its_reason(shop, subject, name, error, reason):
    others = {OURS, "peer"} - {name}
    comparison = shop.compare(
        subject, [shop.failing(name, error), *(shop.engine(other, 0.01) for other in others)]
    )
    assert list(comparison.absent) == [name]
    assert comparison.absent[name].startswith(reason)
    assert "\n" not in comparison.absent[name]
    assert set(comparison.engines) == others
    assert comparison.ratios == {}
    assert f"{name}: no result. {reason}" in printed(comparison)


def test_an_engine_that_fails_when_it_is_first_called_is_absent_too(shop, subject):
    def fail(output):
        raise ValueError("at run time")

    comparison = shop.compare(subject, [shop.engine(OURS, 0.01, change=fail)])
    assert comparison.absent == {OURS: "ValueError: at run time"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda output: output[:, 1:], "its output is (1, 99); (1, 100) was wanted"),
        (lambda output: output / 0, "its output has numbers that are not finite"),
    ],
    ids=["shape", "nan"],
)
def test_an_output_that_cannot_be_compared_is_no_result(shop, subject, change, reason):
    comparison = shop.compare(
        subject, [shop.engine(OURS, 0.01), shop.engine("peer", 0.01, change=change)]
    )
    assert comparison.absent == {"peer": reason}


def test_a_wrong_peer_has_a_time_a_loud_mark_and_no_ratio(shop, subject):
    comparison = shop.compare(
        subject,
        [
            shop.engine(OURS, 0.01),
            shop.engine("wrong", 0.02, change=lambda output: output * 1.002),
            shop.engine("near", 0.02, change=lambda output: output * 1.0005),
        ],
    )
    assert comparison.engines["wrong"].relative_rms == pytest.approx(2e-3, rel=1e-2)
    assert comparison.ratios == {"near": pytest.approx(2.0)}
    lines = {line.split()[0]: line for line in printed(comparison).splitlines() if line.strip()}
    assert "WRONG OUTPUT 2.0e-03" in lines["wrong"]
    assert "2.00" not in lines["wrong"]
    assert "WRONG" not in lines["near"]


@pytest.fixture
def halves(shop):
    """Ours and a peer, in float32 and in bfloat16, and another that has float32 alone."""
    return [
        shop.engine(OURS, 0.020),
        shop.engine(OURS, 0.010, lambda output: output * 1.02, "bf16"),
        shop.engine("peer", 0.030),
        shop.engine("peer", 0.015, lambda output: output * 1.03, "bf16"),
        shop.engine("other", 0.040),
    ]


def test_numerics_have_rows_of_their_own_and_ratios_are_to_ours_in_bfloat16(shop, subject, halves):
    comparison = shop.compare(subject, halves, numerics="bf16")
    assert comparison.ratios == pytest.approx(
        {OURS: 2.0, "peer": 3.0, "peer bf16": 1.5, "other": 4.0}
    )
    lines = printed(comparison).splitlines()
    assert max(map(len, lines)) <= 100
    assert "time / ours bf16" in lines[1]
    assert [" ".join(line.split()) for line in lines[2:7]] == [
        f"{OURS} bf16 10.00 10.00..10.00 2.0e-02",
        "peer bf16 15.00 15.00..15.00 1.50 3.0e-02",
        f"{OURS} 20.00 20.00..20.00 2.00 {comparison.engines[OURS].relative_rms:.1e}",
        f"peer 30.00 30.00..30.00 3.00 {comparison.engines['peer'].relative_rms:.1e}",
        f"other 40.00 40.00..40.00 4.00 {comparison.engines['other'].relative_rms:.1e}",
    ]


def test_the_json_names_numerics_that_are_not_float32(shop, subject, halves):
    content = shop.compare(subject, halves, numerics="bf16").to_json()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["numerics"] == "bf16"
    named = {name: result.get("numerics") for name, result in content["engines"].items()}
    assert named == {
        OURS: None,
        f"{OURS} bf16": "bf16",
        "peer": None,
        "peer bf16": "bf16",
        "other": None,
    }


@pytest.mark.parametrize(
    ("numerics", "error", "is_right"),
    [("fp32", 9e-4, True), ("fp32", 1.1e-3, False), ("bf16", 0.09, True), ("bf16", 0.11, False)],
)
def test_each_of_the_numerics_has_its_limit(shop, subject, numerics, error, is_right):
    rough = shop.engine("rough", 0.02, lambda output: output * (1 + error), numerics)
    comparison = shop.compare(subject, [shop.engine(OURS, 0.01), rough])
    assert comparison.engines[rough.label].relative_rms == pytest.approx(error, rel=1e-2)
    assert list(comparison.ratios) == [rough.label] * is_right
    assert ("WRONG OUTPUT" in printed(comparison)) is not is_right


def test_without_ours_in_bfloat16_float32_is_not_its_stand_in(shop, subject, halves):
    halves[1] = shop.failing(OURS, CompileError("cannot compile `pool1`"), "bf16")
    comparison = shop.compare(subject, halves, numerics="bf16")
    assert comparison.absent == {f"{OURS} bf16": "cannot compile `pool1`"}
    assert comparison.ratios == {}


def test_if_ours_is_wrong_there_are_no_ratios(shop, subject):
    comparison = shop.compare(
        subject,
        [shop.engine(OURS, 0.01, change=torch.zeros_like), shop.engine("peer", 0.02)],
    )
    assert comparison.ratios == {}
    assert comparison.engines[OURS].relative_rms == 1.0


def test_the_table_is_sorted_by_time_and_narrow(shop, subject):
    comparison = shop.compare(
        subject, [shop.engine(OURS, 0.010), shop.engine("slow", 0.015), shop.engine("[b]", 0.005)]
    )
    text = printed(comparison)
    assert text.startswith("tiny, batch 1, 1 thread ")
    assert max(map(len, text.splitlines())) <= 100
    assert [line.split()[:2] for line in text.splitlines()[2:5]] == [
        ["[b]", "5.00"],
        [OURS, "10.00"],
        ["slow", "15.00"],
    ]


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Conv2d(4, 1, 1), r"^odd: the network failed on images \(1, 3, 5, 5\): Runtime"),
        (nn.MaxPool2d(2, return_indices=True), "^odd: the network gives a tuple; one tensor was"),
        (nn.Threshold(9.0, float("nan")), "^odd: the network gives numbers that are not finite"),
    ],
    ids=["fails", "tuple", "nan"],
)
def test_a_network_that_cannot_be_measured_is_refused(shop, network, message):
    with pytest.raises(ModelError, match=message):
        shop.compare(Subject("odd", network, (3, 5, 5)), [shop.engine(OURS, 1.0)])


def test_threads_of_torch_are_given_back(shop, subject):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        shop.compare(subject, [shop.engine(OURS, 0.01)])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_relative_rms_follows_the_error_and_not_the_scale():
    expected = torch.randn(100, dtype=torch.float64)
    for scale in (1e-3, 1.0, 1e3):
        for error in (1e-2, 1e-5):
            output = scale * expected * (1 + error)
            assert relative_rms(output, scale * expected) == pytest.approx(error)
    assert relative_rms(torch.zeros(3), torch.zeros(3)) == 0.0
    assert relative_rms(torch.ones(4), torch.zeros(4)) == 2.0
    with pytest.raises(ShapeError, match=r"^its output is \(2,\); \(3,\) was wanted$"):
        relative_rms(torch.ones(2), torch.ones(3))


def test_the_reference_is_float64_and_leaves_the_network_alone():
    network = nn.Conv2d(3, 2, 1)
    output = float64_output(network, torch.randn(1, 3, 2, 2))
    assert output.dtype == torch.float64
    assert network.weight.dtype == torch.float32
