"""`onebyone machine`: how fast this machine is, and what that allows 1x1 convolutions."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from onebyone.cli.console import bar, print_json, stdout, tell

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onebyone.compiler.machine.speeds import Calibration, Speeds
    from onebyone.compiler.target import Target

PIXELS = {"1 (linear)": 1, "2 x 2": 4, "4 x 4": 16, "7 x 7": 49, "14 x 14": 196}
"""Outputs of a layer for one image; each weight is read once and multiplied so often."""

BAR_WIDTH = 24


def machine(
    again: Annotated[
        bool, typer.Option("--again", help="Measure now, whatever was measured before.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say how fast this machine is: what the compiler's choices rest on.

    It is measured once, in a second at most, and kept for this processor and number of cores.
    """
    from onebyone.bench import describe_machine
    from onebyone.compiler.machine.calibrate import calibrate, find_calibration
    from onebyone.compiler.target import host_target, runs_here

    def measured(target: "Target") -> "Calibration":
        found = None if again else find_calibration(target)
        if found is None:
            tell(f"measuring, as {target.name}")
            found = calibrate(target, again=again)
        return found

    target = host_target()
    found = measured(target)
    bf16 = host_target("bf16") if runs_here("bf16") else None
    bf16_speeds = measured(bf16).speeds if bf16 else None
    described = describe_machine()
    if as_json:
        content = {"machine": described.to_json(), "target": target.name, "lanes": target.lanes}
        content |= found.to_json() | {"is_steady": found.is_steady}
        if bf16 and bf16_speeds:
            content["bf16"] = {"target": bf16.name, "speeds": bf16_speeds.to_json()}
        print_json(content)
        return
    console = stdout()
    console.print(f"{described}\n", markup=False)
    rates = _rates(found, target, bf16, bf16_speeds)
    for title, table in (rates, _readings(found), _roofline(found, target)):
        console.print(title, markup=False)
        console.print(table)
        console.print()
    console.print(_remark(found), markup=False, soft_wrap=True)


def _rates(
    found: "Calibration", target: "Target", bf16: "Target | None", bf16_speeds: "Speeds | None"
) -> "tuple[str, RenderableType]":
    speeds = found.speeds
    table = _table("")
    for cores in _heads(speeds.cores):
        table.add_column(cores, justify="right")
    rates = (speeds.steps_per_second, speeds.all_steps_per_second)
    table.add_row("float32, GMAC/s", *(f"{rate * target.lanes / 1e9:.1f}" for rate in rates))
    if bf16 and bf16_speeds:
        rates = (bf16_speeds.bf16_macs_per_second, bf16_speeds.all_bf16_macs_per_second)
        row = (f"{rate / 1e9:.1f}" for rate in rates)
        table.add_row(f"bfloat16 ({bf16.name}), GMAC/s", *row)
    table.add_row("all meet, us", "", f"{speeds.wait_seconds * 1e6:.2f}")
    return f"Multiply-adds; float32 in vectors of {target.lanes}", table


def _readings(found: "Calibration") -> "tuple[str, RenderableType]":
    speeds = found.speeds
    table = _table("each core's")
    for cores in _heads(speeds.cores):
        table.add_column(cores, justify="right")
    together = {one.size_bytes: one.bytes_per_second for one in speeds.all_readings}
    for one in speeds.readings:
        every = together.get(one.size_bytes)
        rates = f"{one.bytes_per_second / 1e9:.1f}", f"{every / 1e9:.1f}" if every else ""
        table.add_row(_size(one.size_bytes), *rates)
    if speeds.cores > 1:
        table.add_row("just written by another", f"{speeds.handed_bytes_per_second / 1e9:.1f}", "")
    return "Reading what a core goes through again and again, GB/s", table


def _roofline(found: "Calibration", target: "Target") -> "tuple[str, RenderableType]":
    """Show what one core can do at most with weights that lie near, and far away."""
    speeds = found.speeds
    peak = speeds.steps_per_second * target.lanes
    near, far = speeds.readings[0], speeds.readings[-1]
    table = _table("pixels")
    for one in (near, far):
        table.add_column(f"from {_size(one.size_bytes)}", justify="right")
    table.add_column(f"from {_size(far.size_bytes)}, of the peak")
    for name, pixels in PIXELS.items():
        rates = [min(peak, pixels / 4 * one.bytes_per_second) for one in (near, far)]
        share = rates[-1] / peak
        shown = f"{bar(share, BAR_WIDTH)} {share:.0%}"
        table.add_row(name, *(f"{rate / 1e9:.1f}" for rate in rates), shown)
    return "Roofline of a 1x1 convolution that reads its weights once, one core, GMAC/s", table


def _remark(found: "Calibration") -> str:
    if found.is_steady:
        return (
            f"The middle of all rounds was {found.spread:.0%} slower than the fastest, which "
            "counts."
        )
    return (
        f"The machine was busy: the middle of all rounds was {found.spread:.0%} slower than the "
        "fastest. It is measured again in an hour, or now with --again."
    )


def _table(first: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first, min_width=12)
    return table


def _heads(cores: int) -> tuple[str, str]:
    return "one core", f"all {cores}" if cores > 1 else "all"


def _size(size_bytes: int) -> str:
    kilobytes = size_bytes >> 10
    return f"{kilobytes} KB" if kilobytes < 1024 else f"{kilobytes >> 10} MB"
