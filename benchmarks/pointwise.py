"""Single 1x1 layers on four engines, beside what the machine can multiply.

    .venv/bin/python benchmarks/pointwise.py [--quick] [--rounds N] [--threads N] [--json]

All distinct 1x1 convolutions of three networks, batch 1, each engine in turn, as
docs/performance.md says. The columns are GFLOP/s, two operations for each multiply-add:

    conv2d   torch's convolution, channels-last
    linear   torch's matrix product, of the same NHWC numbers
    ort      ONNX Runtime, a network of one convolution: the better of its two layouts, because
             the one that it has in a whole network costs two reorderings here
    ours     the same, compiled by OneByOne, of NHWC numbers; with the copy of its input, and the
             reordering of its output to NCHW
    kernel   of which the convolution alone, by the compiled network's own profile: the time that
             its threads worked, over their number; not to be compared with what a caller waits
    registers  as many multiply-adds in registers on one thread (its share of them), as often as the
             kernel and right after it: many processors lower their clock under such loads

Calls have a price of their own, 2 to 30 microseconds, which weighs on the smallest layers. The
last lines weigh the layers by how often they occur in each network. The peak is that of a loop of
independent multiply-adds in registers, one on each thread, the best of several before and after.
"""

import argparse
import functools
import json
import math
import statistics
import sys
import time
from collections import Counter
from functools import partial

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from onebyone.bench import Burst, describe_machine, measure_interleaved, spread
from onebyone.bench.accuracy import float64_output, relative_rms
from onebyone.bench.engine import Runner
from onebyone.bench.numerics import FP32, LARGEST_ERRORS
from onebyone.bench.onnx_export import OnnxExport
from onebyone.bench.peers import onnxruntime
from onebyone.compiler import CompiledModel, compile_model, host_target, usable_cores
from onebyone.compiler.machine.loops import ACCUMULATORS, Loops, load_loops
from onebyone.compiler.machine.measure import measure_speeds
from onebyone.compiler.memory.arena import LINE_FLOATS
from onebyone.graph import Convolution, capture
from onebyone.models import create_model, find_model

NETWORKS = ("resnet50", "inception_resnet_v2", "efficientnet_lite0")
QUICK_LAYERS = 3
BURST = Burst(discarded=3, timed=9)  # more than for networks: these calls are short

Shape = tuple[int, int, int, int, int]
"""in_channels, out_channels, height and width of the input, stride."""

Seconds = dict[str, float]
"""Median seconds of each engine."""


def find_shapes(name: str) -> Counter[Shape]:
    """Count the 1x1 layers of a zoo network by shape; nothing is computed."""
    size = find_model(name).input_size
    with torch.device("meta"):
        graph = capture(create_model(name), (torch.empty(1, 3, size, size),)).graph
    counts: Counter[Shape] = Counter()
    for node in graph:
        if isinstance(node, Convolution) and node.is_pointwise and not node.is_linear:
            _, in_channels, height, width = graph[node.inputs[0]].shape
            counts[in_channels, node.shape[1], height, width, node.stride[0]] += 1
    return counts


def count_flops(shape: Shape) -> int:
    """Return two for each multiply-add of a layer."""
    in_channels, out_channels, height, width, stride = shape
    return 2 * in_channels * out_channels * math.ceil(height / stride) * math.ceil(width / stride)


def make_runners(conv: nn.Conv2d, example: Tensor, threads: int) -> dict[str, Runner]:
    """Make one layer ready on each engine but ours, which is compiled by `time_layer`.

    Raises:
        SystemExit: If an engine computes something else.
    """
    nhwc = example.contiguous(memory_format=torch.channels_last)
    stride = conv.stride[0]
    matrix, bias = conv.weight.flatten(1), conv.bias
    weight = conv.weight.to(memory_format=torch.channels_last)
    content = OnnxExport()(conv, example)

    def linear(_: Tensor) -> Tensor:
        pixels = nhwc.permute(0, 2, 3, 1)[:, ::stride, ::stride]
        return nn.functional.linear(pixels, matrix, bias).permute(0, 3, 1, 2)

    return {
        "conv2d": lambda _: nn.functional.conv2d(nhwc, weight, bias, stride),
        "linear": linear,
        "ort nchw": onnxruntime.load(content, threads, level="ORT_ENABLE_EXTENDED"),
        "ort nchwc": onnxruntime.load(content, threads, level="ORT_ENABLE_ALL"),
    }


@torch.inference_mode()
def time_layer(shape: Shape, *, threads: int, rounds: int) -> Seconds:
    """Time a layer on every engine.

    Raises:
        SystemExit: If an engine computes something else.
    """
    in_channels, out_channels, height, width, stride = shape
    conv = nn.Conv2d(in_channels, out_channels, 1, stride=stride).eval().requires_grad_(False)
    example = torch.randn(1, in_channels, height, width)
    nhwc = example.contiguous(memory_format=torch.channels_last)
    compiled = compile_model(conv, nhwc, threads=threads)
    runners = make_runners(conv, example, threads) | {"ours": lambda _: compiled(nhwc)}
    expected = float64_output(conv, example)
    for name, run in runners.items():
        error = relative_rms(run(example), expected)
        if error > LARGEST_ERRORS[FP32]:
            raise SystemExit(f"{name} is wrong by {error:.1e} at {shape}")
    calls = {name: partial(run, example) for name, run in runners.items()}
    timed = measure_interleaved(calls, rounds=rounds, burst=BURST)
    seconds = {name: spread(times).median_seconds for name, times in timed.items()}
    return {
        "conv2d": seconds["conv2d"],
        "linear": seconds["linear"],
        "ort": min(seconds["ort nchw"], seconds["ort nchwc"]),
        "ours": seconds["ours"],
        "kernel": kernel_seconds(compiled, nhwc, rounds),
        "registers": register_seconds(count_flops(shape) / 2 / threads, rounds),
    }


def kernel_seconds(compiled: CompiledModel, nhwc: Tensor, rounds: int) -> float:
    """Return the time of the multiply-adds alone, as if the threads had shared them evenly."""
    profile = compiled.profile(nhwc, rounds=BURST.timed * rounds)
    return sum(row.seconds for row in profile.layers if row.layer.macs) / compiled.threads


def register_seconds(macs: float, rounds: int) -> float:
    """Return the time of multiply-adds in registers, on one thread."""
    target, place = host_target(), torch.ones(LINE_FLOATS * 2)
    multiply, count = _loops().multiply, round(macs / (ACCUMULATORS * target.lanes))
    seconds: list[float] = []
    for _ in range(BURST.timed * rounds):
        begin = time.perf_counter()
        multiply(place.data_ptr(), count, 1)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


@functools.cache
def _loops() -> Loops:
    return load_loops(host_target())


def measure_peak(threads: int) -> float:
    """Return the FLOP/s of independent multiply-adds in registers, on all threads at once."""
    target = host_target()
    speeds = measure_speeds(target, threads).speeds
    return 2 * target.lanes * speeds.all_steps_per_second


def weigh(counts: Counter[Shape], seconds: dict[Shape, Seconds]) -> tuple[float, Seconds]:
    """Return the FLOPs of a network's layers, and the seconds of all of them on each engine."""
    known = {shape: n for shape, n in counts.items() if shape in seconds}
    flops = sum(n * count_flops(shape) for shape, n in known.items())
    engines = next(iter(seconds.values()))
    return flops, {e: sum(n * seconds[shape][e] for shape, n in known.items()) for e in engines}


def choose(counts: Counter[Shape]) -> list[Shape]:
    """Return the few shapes of a network that cost the most, for a quick look."""
    return sorted(counts, key=lambda shape: -counts[shape] * count_flops(shape))[:QUICK_LAYERS]


def print_tables(
    seconds: dict[Shape, Seconds], networks: dict[str, Counter[Shape]], peak: float
) -> None:
    """Print the layers, then the networks, in GFLOP/s."""
    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    engines = list(next(iter(seconds.values())))
    table = Table(title="GFLOP/s of single 1x1 layers", title_justify="left", box=None)
    for heading in ("in", "out", "pixels", "stride", *engines):
        table.add_column(heading, justify="right")
    for shape, times in seconds.items():
        in_channels, out_channels, height, width, stride = shape
        rates = (f"{count_flops(shape) / times[engine] / 1e9:.0f}" for engine in engines)
        table.add_row(f"{in_channels}", f"{out_channels}", f"{height}x{width}", f"{stride}", *rates)
    console.print(table)
    table = Table(
        title="\nThe layers above, as often as they occur: ms, GFLOP/s",
        title_justify="left",
        box=None,
    )
    table.add_column("network")
    for engine in engines:
        table.add_column(engine, justify="right")
    for name, counts in networks.items():
        flops, times = weigh(counts, seconds)
        cells = (f"{1e3 * t:.2f}  {flops / t / 1e9:.0f}" for t in times.values())
        table.add_row(name, *cells)
    console.print(table)
    console.print(f"\nmeasured peak of multiply-adds: {peak / 1e9:.0f} GFLOP/s")
    shares = [times["registers"] / times["kernel"] for times in seconds.values()]
    mean = statistics.geometric_mean(shares)
    console.print(f"kernels' rate over that of registers: {mean:.0%} (geometric mean)")


def to_json(
    seconds: dict[Shape, Seconds], networks: dict[str, Counter[Shape]], peak: float
) -> dict[str, object]:
    """Return all that was measured as one JSON object."""
    keys = ("in_channels", "out_channels", "height", "width", "stride")
    return {
        "machine": describe_machine().to_json(),
        "peak_flops_per_second": peak,
        "layers": [
            dict(zip(keys, shape, strict=True))
            | {
                "flops": count_flops(shape),
                "counts": {name: counts[shape] for name, counts in networks.items()},
                "median_seconds": times,
            }
            for shape, times in seconds.items()
        ],
        "networks": {
            name: dict(zip(("flops", "seconds"), weigh(counts, seconds), strict=True))
            for name, counts in networks.items()
        },
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description="Time single 1x1 layers on several engines.")
    parser.add_argument("--quick", action="store_true", help="a few layers, a few rounds")
    parser.add_argument("--rounds", type=int, help="turns of each engine (15; quick: 5)")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    rounds = (5 if arguments.quick else 15) if arguments.rounds is None else arguments.rounds
    if rounds < 1 or arguments.threads < 1:
        parser.error("--rounds and --threads must be at least 1")

    torch.set_num_threads(arguments.threads)
    machine = describe_machine()
    networks = {name: find_shapes(name) for name in NETWORKS}
    shapes = sorted(
        {s for c in networks.values() for s in (choose(c) if arguments.quick else c)},
        key=lambda shape: (-shape[2], shape),
    )
    peak = measure_peak(arguments.threads)
    seconds: dict[Shape, Seconds] = {}
    for number, shape in enumerate(shapes, start=1):
        if sys.stderr.isatty():
            print(f"\rlayer {number} of {len(shapes)}", end="", file=sys.stderr)  # noqa: T201
        seconds[shape] = time_layer(shape, threads=arguments.threads, rounds=rounds)
    peak = max(peak, measure_peak(arguments.threads))
    if arguments.json:
        print(json.dumps(to_json(seconds, networks, peak), indent=2))  # noqa: T201
    else:
        print(f"{machine}; {arguments.threads} threads, {rounds} rounds\n")  # noqa: T201
        print_tables(seconds, networks, peak)


if __name__ == "__main__":
    main()
