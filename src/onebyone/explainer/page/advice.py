"""What to look at next: what a report's own numbers suggest, the most first."""

from dataclasses import dataclass

from onebyone.explainer.page.rows import Row
from onebyone.explainer.page.words import digits, percent
from onebyone.explainer.report import Report
from onebyone.explainer.words import amount, seconds_amount

_MOST = 6
_MUCH_NARROWER = 0.75  # of a reduction's width: less is within what the images leave open
_FAR_BELOW = 0.5  # of the ceiling


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to look at.

    Attributes:
        text: What, and why, in a sentence or two.
        gain: What it could be worth at most, for people.
        share: The same as a part of the network's time or multiply-adds, to rank it by.
    """

    text: str
    gain: str
    share: float


def advise(report: Report, rows: list[Row]) -> list[Advice]:
    """Return what the numbers suggest, the most worth first; nothing where they suggest nothing."""
    found = [*_compile(report), *_narrow(report, rows), *_slow(report, rows)]
    return sorted(found, key=lambda one: -one.share)[:_MOST]


def _compile(report: Report) -> list[Advice]:
    speed = report.speed
    if speed is None or speed.engine_seconds is None or speed.engine_seconds >= speed.torch_seconds:
        return []
    saved = speed.torch_seconds - speed.engine_seconds
    text = (
        f"Compile it: onebyone.compile(model, example) ran it in "
        f"{seconds_amount(speed.engine_seconds)} here, and PyTorch in "
        f"{seconds_amount(speed.torch_seconds)}."
    )
    return [Advice(text, seconds_amount(saved), saved / speed.torch_seconds)]


def _narrow(report: Report, rows: list[Row]) -> list[Advice]:
    """Find reductions that could be much narrower; those with few samples say nothing."""
    by_name = {row.layer.name: row for row in rows}
    found: list[Advice] = []
    for kept in report.information.layers if report.information else ():
        row = by_name.get(kept.name)
        part = kept.width_99 / kept.out_channels
        if row is None or kept.is_scarce or part > _MUCH_NARROWER:
            continue
        saved = round(row.layer.macs * (1 - part))
        text = (
            f"Try {row.place} narrower: {kept.width_99} channels in place of {kept.out_channels} "
            "could carry 99% of what it keeps. Whether accuracy stays has to be measured."
        )
        share = row.share * (1 - part)
        found.append(Advice(text, f"{amount(saved)} multiply-adds", share))
    return found


def _slow(report: Report, rows: list[Row]) -> list[Advice]:
    """Find 1x1s that take much longer than the machine's ceilings say."""
    if report.speed is None:
        return []
    whole = report.speed.engine_seconds or report.speed.torch_seconds
    found: list[Advice] = []
    for row in rows:
        seconds, least = row.best_seconds, row.ceiling_seconds
        if row.pointwise is None or not seconds or least is None or least > _FAR_BELOW * seconds:
            continue
        text = (
            f"Look at {row.place}, a 1x1 that reaches {percent(least / seconds)} of what the "
            f"machine can do for its {digits(row.layer.intensity)} multiply-adds a byte."
        )
        found.append(Advice(text, seconds_amount(seconds - least), (seconds - least) / whole))
    return sorted(found, key=lambda one: -one.share)[:3]
