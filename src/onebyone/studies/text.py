"""A study's text, as Markdown: written from its data and its verdicts, and from nothing else."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from onebyone.studies.outcome import Condition, StudyResult, Verdict
from onebyone.studies.paired import Estimate
from onebyone.studies.study import Quantity, Table
from onebyone.training.data.data import Data

_PLURAL_FROM = 2


def describe(result: StudyResult, data: Data) -> str:
    """Return the text: what is asked, how it was done, what was found, and what follows."""
    study = result.study
    parts = chain(
        [f"# {study.title}", study.question],
        [_QUICK] if result.is_quick else [],
        [f"**The article.** {study.article}", f"**What is known.** {study.literature}"],
        _how(result, data),
        _results(result),
        _answers(result),
        ["## Limits", f"{study.limits} {_limits(result)}"],
        _origin(result),
    )
    return "\n\n".join(parts) + "\n"


_QUICK = (
    "*This is the small form of the study, on digits, which only shows that all of it works: "
    "nothing is to be learnt from its numbers.*"
)


def _how(result: StudyResult, data: Data) -> Iterator[str]:
    scale = result.scale
    yield "## How it was done"
    yield _table(
        ["network", "multiply-adds", "parameters"],
        [
            [one.label, f"{one.constants['macs']:,.0f}", f"{one.constants['params']:,.0f}"]
            for one in _arms(result)
        ],
    )
    images = len(data.train) if scale.images is None else scale.images
    yield (
        f"Each network is trained {scale.seeds} times, with seeds 0 to {scale.seeds - 1}, on "
        f"{images:,} images of {scale.data}, and tested on {len(data.test):,} others. The seed "
        "says which images those are (as many of each class), in what order they come, how they "
        "are changed at random, and how the weights start; it says the same to all networks, so "
        "they are compared seed by seed."
    )
    yield _recipe(result, images)


def _recipe(result: StudyResult, images: int) -> str:
    recipe = result.scale.recipe
    changes = [
        words
        for words, is_so in (
            ("flips", recipe.augment.flip),
            (f"crops moved by up to {_several(recipe.augment.pad, 'pixel')}", recipe.augment.pad),
            ("random crops", recipe.augment.crop_scale),
            ("mixup", recipe.augment.mixup),
        )
        if is_so
    ]
    steps = recipe.epochs * -(-images // recipe.batch_size)
    rates = [
        f"; {arm.label}: {arm.learning_rate:g}"
        for arm in result.study.arms
        if arm.learning_rate is not None
    ]
    return (
        f"{_several(recipe.epochs, 'epoch')} in batches of {recipe.batch_size}, which is {steps:,} "
        f"steps: {recipe.optimizer.upper()}, {recipe.schedule} schedule, learning rate up to "
        f"{recipe.peak_rate:g}{''.join(rates)}, weight decay {recipe.weight_decay:g}, label "
        f"smoothing {recipe.label_smoothing:g}, {' and '.join(changes) or 'images as they are'}."
    )


def _results(result: StudyResult) -> Iterator[str]:
    yield "## Results"
    yield f"![{result.study.title}: means and 95 % intervals](plot.svg)"
    yield (
        "Points are means over the seeds, lines their 95 % intervals. In tables, ± is one standard "
        "error."
    )
    arms = list(_arms(result))
    others = [one for one in result.conditions.values() if not one.is_arm]
    for conditions in (arms, others):
        if conditions:
            yield _condition_table(result, conditions)
    if result.speed:
        yield (
            f"Times are those of one call on one thread, measured in turn, with batch norms folded "
            f"into the convolutions: {result.speed.machine}."
        )
    yield "Compared seed by seed:"
    yield _table(
        ["compared", "quantity", "mean difference", "95 % interval", "two standard errors or more"],
        [_verdict_row(result, one) for one in result.verdicts],
    )
    if result.study.companion:
        yield from _companion(result.study.companion())


def _arms(result: StudyResult) -> Iterator[Condition]:
    return (one for one in result.conditions.values() if one.is_arm)


def _condition_table(result: StudyResult, conditions: Sequence[Condition]) -> str:
    names = dict.fromkeys(
        name for one in conditions for name in one.estimates if name not in ("macs", "params")
    )
    quantities = {name: result.study.quantity(name) for name in names}
    return _table(
        ["", *(one.label for one in quantities.values())],
        [
            [
                condition.label,
                *(
                    _written(found, quantity) if (found := condition.estimates.get(name)) else ""
                    for name, quantity in quantities.items()
                ),
            ]
            for condition in conditions
        ],
    )


def _written(found: Estimate, quantity: Quantity) -> str:
    mean = f"{quantity.scale * found.mean:.{quantity.digits}f}"
    if found.count == 1:
        return mean
    return f"{mean} ± {quantity.scale * found.error:.{quantity.digits}f}"


def _verdict_row(result: StudyResult, verdict: Verdict) -> list[str]:
    asked, found = verdict.comparison, verdict.difference
    quantity = result.study.quantity(asked.quantity)
    return [
        f"{result.study.label(asked.this)} minus {result.study.label(asked.that)}",
        quantity.label,
        _difference(found, quantity),
        f"{_signed(found.low, quantity)} to {_signed(found.high, quantity)}",
        "yes" if found.is_claimed else "no",
    ]


def _difference(found: Estimate, quantity: Quantity) -> str:
    error = quantity.scale * found.error
    return f"{_signed(found.mean, quantity)} ± {error:.{quantity.digits + 1}f}"


def _signed(number: float, quantity: Quantity) -> str:
    return f"{quantity.scale * number:+.{quantity.digits + 1}f}"


def _answers(result: StudyResult) -> Iterator[str]:
    yield "## What follows"
    lines: list[str] = []
    for verdict in result.verdicts:
        quantity = result.study.quantity(verdict.comparison.quantity)
        numbers = f"{_difference(verdict.difference, quantity)} ({quantity.label})"
        lines.append(f"- **{verdict.comparison.question}** {verdict.text} *{numbers}*")
    yield "\n".join(lines)


def _companion(table: Table) -> Iterator[str]:
    yield f"**{table.title}**"
    yield _table(table.columns, [[*map(str, row)] for row in table.rows])
    if table.note:
        yield table.note


def _limits(result: StudyResult) -> str:
    asked = len(result.verdicts)
    return (
        "The errors are those of choosing other seeds, and so other training images, with the "
        "same test images: other data may say something else. With "
        f"{_several(asked, 'comparison')} and {result.scale.seeds} seeds, a difference of two "
        f"standard errors turns up by chance about once in {_chance(result.scale.seeds)} "
        "comparisons where there is none."
    )


def _chance(seeds: int) -> str:
    """Return in how many comparisons one exceeds two standard errors by chance."""
    from scipy.special import stdtr

    from onebyone.studies.paired import CLAIMED_ERRORS

    return f"{1 / (2 * float(stdtr(seeds - 1, -CLAIMED_ERRORS))):.0f}"


def _origin(result: StudyResult) -> Iterator[str]:
    versions = result.trials[0].versions
    total = sum(trial.seconds for trial in result.trials)
    command = f"onebyone study {result.study.name}"
    command += " --quick" if result.is_quick else ""
    usual = result.study.quick if result.is_quick else result.study.full
    command += f" --seeds {result.scale.seeds}" if result.scale.seeds != usual.seeds else ""
    yield "## Where this comes from"
    yield f"```\n{command}\n```"
    yield (
        f"All numbers are in `results.json`, those of each trial in `results.csv` and `trials/`. "
        f"The trials took {total / 60:.0f} minutes of one core, with onebyone "
        f"{versions['onebyone']}, PyTorch {versions['torch']} ({versions['instructions']}), Python "
        f"{versions['python']}. Each trial computes on one thread: the same command gives the same "
        "numbers on the same kind of processor with the same versions, but for the times."
    )


def _table(heading: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    heading = list(heading)
    lines = [heading, ["---"] + ["---:"] * (len(heading) - 1), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _several(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' if count >= _PLURAL_FROM else ''}"
