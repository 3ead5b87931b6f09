"""Times of layers: a table, a trace, and numbers that fit together."""

import json

import pytest
import torch

from onebyone.compiler import compile_model
from onebyone.compiler.account import Layer
from onebyone.compiler.profile import LayerTime, Profile, read_timings
from onebyone.errors import ShapeError
from onebyone.models import create_model


@pytest.fixture(scope="module")
def profile():
    x = torch.randn(1, 3, 64, 64)
    return compile_model(create_model("mobilenet_v2"), x, threads=2).profile(x, rounds=3)


def make_layer(name="conv", macs=1000):
    return Layer(
        name=name, path=f"net.{name}", kind="convolution", macs=macs, note="", group=0, chunks=2
    )


def test_the_table_fits_100_columns_and_has_a_line_for_each_operation(profile):
    lines = str(profile).splitlines()
    assert max(map(len, lines)) <= 100
    assert len(lines) == len(profile.layers) + 2
    assert lines[0].split()[:3] == ["layer", "core", "us"]
    assert any("depthwise" in line for line in lines)
    assert lines[-1].endswith("ms of core time, on 2 threads")


def test_shares_sum_to_one(profile):
    assert sum(layer.share for layer in profile.layers) == pytest.approx(1)
    assert all(layer.seconds >= 0 for layer in profile.layers)
    assert profile.core_seconds == pytest.approx(sum(layer.seconds for layer in profile.layers))


def test_every_operation_took_time_and_order_is_kept(profile):
    for time in profile.last_run:
        assert time.spans, time.layer.name
        for thread, start, end, busy in time.spans:
            assert 0 <= thread < 2
            assert 0 < busy <= (end - start) * 1.001
    starts = {}
    for time in profile.last_run:
        starts.setdefault(time.layer.group, []).extend(span[1] for span in time.spans)
    ends = {}
    for time in profile.last_run:
        ends.setdefault(time.layer.group, []).extend(span[2] for span in time.spans)
    for group in range(1, len(starts)):
        assert max(ends[group - 1]) <= min(starts[group]), (
            "a group begins when all before it is done"
        )


def test_the_trace_is_json_that_viewers_read(profile, tmp_path):
    path = tmp_path / "trace.json"
    profile.to_chrome_trace(path)
    events = json.loads(path.read_text())["traceEvents"]
    assert len(events) == sum(len(time.spans) for time in profile.last_run)
    assert {event["ph"] for event in events} == {"X"}
    assert min(event["ts"] for event in events) == 0
    assert all(event["dur"] > 0 and event["tid"] in (0, 1) for event in events)
    assert list(tmp_path.iterdir()) == [path]


def test_medians_and_rates():
    layer = make_layer(macs=5_000_000)
    runs = [[LayerTime(layer, ((0, 1.0, 2.0, seconds),))] for seconds in (0.5, 0.01, 0.02)]
    profile = Profile.of(runs, threads=1)
    assert profile.layers[0].seconds == 0.02
    assert profile.layers[0].gflops_per_second == pytest.approx(0.5)
    assert profile.layers[0].share == 1


def test_threads_without_a_part_have_no_span():
    timings = torch.tensor([[[1000, 3000, 1500], [0, 0, 0]]])
    (time,) = read_timings([make_layer()], timings)
    assert time.spans == ((0, pytest.approx(1e-6), pytest.approx(3e-6), pytest.approx(1.5e-6)),)
    assert time.seconds == pytest.approx(1.5e-6)


def test_long_names_are_cut_at_their_beginning():
    layer = make_layer(name="x" * 60 + "end")
    line = str(Profile.of([[LayerTime(layer, ((0, 0.0, 1.0, 1.0),))]], threads=1)).splitlines()[1]
    assert line.startswith("…x")
    assert "end" in line


def test_rounds_are_checked():
    x = torch.zeros(1, 3, 4, 4)
    compiled = compile_model(torch.nn.Conv2d(3, 4, 1).eval(), x, threads=1)
    with pytest.raises(ShapeError, match=r"`rounds` \(=0\) must be at least 1"):
        compiled.profile(x, rounds=0)
