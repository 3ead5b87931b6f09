"""What the page sums up: work by role, the alternatives, sub-totals by module."""

from collections.abc import Iterator
from dataclasses import dataclass

from onebyone.explainer.ceilings import Ceilings, predict_seconds
from onebyone.explainer.counterfactuals.counterfactual import Counterfactual
from onebyone.explainer.modules import ModuleCost
from onebyone.explainer.page.rows import COLOURS, Row
from onebyone.explainer.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the layers of one role, or of one kind, do together.

    Attributes:
        label: The role or the kind.
        colour: Name of its colour in the style sheet.
        layers: How many there are.
        macs: Their multiply-adds.
        macs_share: The same, as a part of the network's.
        torch_share: Their part of the layers' time in PyTorch; None where that was not measured.
        engine_share: The same compiled; None where any layer is not compiled.
    """

    label: str
    colour: str
    layers: int
    macs: int
    macs_share: float
    torch_share: float | None
    engine_share: float | None


def work_by_role(rows: list[Row]) -> list[Work]:
    """Sum up the layers by role, the most multiply-adds first."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.label, []).append(row)
    torch_total, engine_total = _torch_seconds(rows), _engine_seconds(rows)
    work = [
        Work(
            label=label,
            colour=COLOURS[label],
            layers=len(group),
            macs=sum(row.layer.macs for row in group),
            macs_share=sum(row.share for row in group),
            torch_share=_part(_torch_seconds(group), torch_total),
            engine_share=_part(_engine_seconds(group), engine_total),
        )
        for label, group in groups.items()
    ]
    return sorted(work, key=lambda one: -one.macs)


def _part(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _torch_seconds(rows: list[Row]) -> float | None:
    times = [row.time.torch_seconds for row in rows if row.time]
    return sum(times) if len(times) == len(rows) else None


def _engine_seconds(rows: list[Row]) -> float | None:
    times = [row.time.engine_seconds for row in rows if row.time]
    known = [time for time in times if time is not None]
    return sum(known) if len(known) == len(rows) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """The network itself, or what it would be without its 1x1s in one particular way.

    Attributes:
        name: Short.
        meaning: What has been replaced by what, in a sentence.
        macs: Multiply-adds.
        params: Learnable numbers.
        macs_factor: How many times the network's own multiply-adds.
        params_factor: How many times its own parameters.
        seconds: How long the machine needs at least; None where its ceilings are not known.
        seconds_factor: How many times as long as the network itself at least; None likewise.
        is_itself: Whether it is the network as it is.
    """

    name: str
    meaning: str
    macs: int
    params: int
    macs_factor: float
    params_factor: float
    seconds: float | None
    seconds_factor: float | None
    is_itself: bool = False


def alternatives_of(report: Report) -> list[Alternative]:
    """Return the network itself, and behind it what it would be without its 1x1s."""
    ceilings = report.speed.ceilings if report.speed else None
    own = predict_seconds(report.cost.layers, ceilings) if ceilings else None
    itself = Alternative(
        name="as it is",
        meaning="The network itself.",
        macs=report.cost.macs,
        params=report.cost.params,
        macs_factor=1.0,
        params_factor=1.0,
        seconds=own,
        seconds_factor=own and 1.0,
        is_itself=True,
    )
    others = [_alternative(report, one, ceilings, own) for one in report.counterfactuals]
    return [itself, *others] if others else []


def _alternative(
    report: Report, one: Counterfactual, ceilings: Ceilings | None, own: float | None
) -> Alternative:
    seconds = predict_seconds(one.layers, ceilings) if ceilings else None
    return Alternative(
        name=one.name,
        meaning=one.meaning,
        macs=one.macs,
        params=one.params,
        macs_factor=one.macs / report.cost.macs if report.cost.macs else 0.0,
        params_factor=one.params / report.cost.params if report.cost.params else 0.0,
        seconds=seconds,
        seconds_factor=seconds / own if seconds is not None and own else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleLine:
    """One line of the table by module; like modules share one, and its numbers are theirs together.

    Attributes:
        depth: How many modules it lies in; 0 is the network.
        name: Its path, or the first and the last path of several.
        kind: Name of its class.
        repeats: How many modules the line stands for next to each other.
        macs: Multiply-adds, of all that the line stands for.
        pointwise_macs: Of these, the 1x1s'.
        params: Learnable numbers, of all that the line stands for.
        has_more: Whether lines of modules within it follow.
    """

    depth: int
    name: str
    kind: str
    repeats: int
    macs: int
    pointwise_macs: int
    params: int
    has_more: bool


def module_lines(module: ModuleCost, *, depth: int = 0, times: int = 1) -> Iterator[ModuleLine]:
    """Go through the lines of the table by module.

    The lines right below a line add up to it: what a module does itself has a line of its own.

    Args:
        module: Where to begin.
        depth: How many modules it lies in.
        times: How many modules like the ones that it lies in there are.
    """
    times *= module.repeats
    children = [child for child in module.children if child.macs or child.params]
    yield ModuleLine(
        depth=depth,
        name=module.path if module.repeats == 1 else f"{module.path} … {_last(module)}",
        kind=module.kind,
        repeats=module.repeats,
        macs=module.macs * times,
        pointwise_macs=module.pointwise_macs * times,
        params=module.params * times,
        has_more=bool(children),
    )
    for child in children:
        yield from module_lines(child, depth=depth + 1, times=times)
    if children:
        yield from _in_itself(module, children, depth + 1, times)


def _last(module: ModuleCost) -> str:
    return module.last_path.rpartition(".")[2]


def _in_itself(
    module: ModuleCost, children: list[ModuleCost], depth: int, times: int
) -> Iterator[ModuleLine]:
    macs = module.macs - sum(child.macs * child.repeats for child in children)
    pointwise = module.pointwise_macs - sum(
        child.pointwise_macs * child.repeats for child in children
    )
    params = module.params - sum(child.params * child.repeats for child in children)
    if macs or params:
        yield ModuleLine(
            depth=depth,
            name=module.path,
            kind="in itself",
            repeats=1,
            macs=macs * times,
            pointwise_macs=pointwise * times,
            params=params * times,
            has_more=False,
        )
