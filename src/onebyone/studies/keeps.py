"""What a reduction keeps of its input, and what the network needs of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice, product

from torch import Tensor, nn

from onebyone.studies.reductions import (
    Sketch,
    random_mixtures,
    read_moments,
    renew_norms,
    replace_reductions,
    strongest_inputs,
    strongest_outputs,
    strongest_weights,
)
from onebyone.studies.study import Arm, Comparison, Panel, Quantity, Rows, Scale, Series, Study
from onebyone.studies.width import SHARES, skeleton
from onebyone.training.data.data import Data
from onebyone.training.engine import make_engine
from onebyone.training.evaluate import Score, evaluate
from onebyone.training.recipe import RECIPES

LOOKED_AT, BATCH = 2_048, 128
"""Training images that inputs and batch norms are measured on, unchanged, and in what batches."""

EVALUATED = 256
"""Images in a batch of the test."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A way to choose what a reduction is left to read.

    Attributes:
        sketch: Chooses.
        label: What it chooses.
    """

    sketch: Sketch
    label: str


CHOICES: Mapping[str, Choice] = {
    "weights": Choice(strongest_weights, "SVD of the weights"),
    "inputs": Choice(strongest_inputs, "PCA of the input"),
    "outputs": Choice(strongest_outputs, "PCA of the output"),
    "random": Choice(random_mixtures, "random mixtures"),
}

PARTS: Mapping[str, float] = {"half": 1 / 2, "fourth": 1 / 4}
"""Rank that is left to a reduction, as a part of its width."""

RENEWED = "renewed"
"""Ends the name of a condition whose batch norms were measured again."""


def measure_replaced(network: nn.Module, data: Data, _: Score) -> Rows:
    """Return scores of a trained network with its reductions replaced in all ways.

    Each is there twice: with the batch norms' deviations as they were, and with all batch norms
    measured again. The network itself is there with its norms measured again, too.
    """
    batches = _training_images(data)
    moments = read_moments(network, batches)
    rows: dict[str, dict[str, float]] = {
        "": {"kept": 1.0},
        RENEWED: _score(renew_norms(network, batches), data) | {"kept": 1.0},
    }
    for choice, part in product(CHOICES, PARTS):
        replaced, kept = replace_reductions(
            network, moments, CHOICES[choice].sketch, part=PARTS[part]
        )
        name = f"{choice}-{part}"
        rows[name] = _score(replaced, data) | {"kept": kept}
        rows[f"{name}-{RENEWED}"] = _score(renew_norms(replaced, batches), data) | {"kept": kept}
    return rows


def _training_images(data: Data) -> list[Tensor]:
    batches = data.train.batches(BATCH, epoch=0)
    return [batch.images for batch in islice(batches, LOOKED_AT // BATCH)]


def _score(network: nn.Module, data: Data) -> dict[str, float]:
    score = evaluate(network, data.test, make_engine(), batch_size=EVALUATED)
    return {"accuracy": score.accuracy, "loss": score.loss}


_WORDS = {"half": "half", "fourth": "a quarter"}

_LABELS = {RENEWED: "norms renewed"} | {
    f"{choice}-{part}{end}": f"{CHOICES[choice].label}, {_WORDS[part]} of the rank{said}"
    for choice, part, (end, said) in product(
        CHOICES, PARTS, (("", ""), (f"-{RENEWED}", ", norms renewed"))
    )
}

ARMS = ("eighth", "quarter")


def _about(arm: str) -> str:
    return f"Reductions to 1/{SHARES[arm]} of the stream"


def _weights_or_inputs(arm: str, part: str, end: str) -> Comparison:
    norms = "renewed" if end else "left as they are"
    return Comparison(
        this=f"{arm}/weights-{part}{end}",
        that=f"{arm}/inputs-{part}{end}",
        quantity="accuracy",
        question=(
            f"{_about(arm)}, {_WORDS[part]} of the rank, norms {norms}: is what the weights weigh "
            "most of more use than what varies most in the input?"
        ),
        more=(
            "Yes. What is needed is not what holds most of the input: a reduction is no "
            "compression of its input, as the article has it, but a choice made for the task."
        ),
        less=(
            "No, what varies most in the input is of more use. Here the article's picture of "
            "compression is a fair one: to keep most of the input is to keep what is needed."
        ),
        alike=(
            "It cannot be told, and so nothing is said for or against the picture of compression."
        ),
    )


def _against_random(arm: str, choice: str, part: str) -> Comparison:
    return Comparison(
        this=f"{arm}/{choice}-{part}-{RENEWED}",
        that=f"{arm}/random-{part}-{RENEWED}",
        quantity="accuracy",
        question=(
            f"{_about(arm)}, {_WORDS[part]} of the rank, norms renewed: is the "
            f"{CHOICES[choice].label} better than random mixtures?"
        ),
        more="Yes: it matters which numbers are kept, and not only how many.",
        less="No, it is worse than what knows of nothing.",
        alike="It cannot be told.",
    )


def _keeps_more(arm: str, part: str) -> Comparison:
    return Comparison(
        this=f"{arm}/weights-{part}",
        that=f"{arm}/inputs-{part}",
        quantity="kept",
        question=(
            f"{_about(arm)}, {_WORDS[part]} of the rank: does what the weights weigh most hold "
            "less of the input than its principal components?"
        ),
        more="No, more: which cannot be, and would be a fault of the measurement.",
        less="Yes, as it must: of all choices, the principal components hold most.",
        alike="It cannot be told: the weights look at little else than what varies most.",
    )


def _spare(arm: str, part: str) -> Comparison:
    return Comparison(
        this=f"{arm}/outputs-{part}-{RENEWED}",
        that=f"{arm}/{RENEWED}",
        quantity="accuracy",
        question=(
            f"{_about(arm)}: does {_WORDS[part]} of the rank do, chosen by what varies most in the "
            "output?"
        ),
        more="More than that: the network is better for it.",
        less="No: accuracy is lost, so the reduction uses more of its width than that.",
        alike="No loss can be told; that none is there is not shown.",
    )


def _asked(arm: str) -> tuple[Comparison, ...]:
    return (
        _weights_or_inputs(arm, "half", f"-{RENEWED}"),
        _weights_or_inputs(arm, "fourth", f"-{RENEWED}"),
        _weights_or_inputs(arm, "fourth", ""),
        _keeps_more(arm, "fourth"),
        _against_random(arm, "weights", "fourth"),
        _against_random(arm, "inputs", "fourth"),
        _spare(arm, "half"),
        _spare(arm, "fourth"),
    )


def _panel(arm: str, end: str) -> Panel:
    norms = "renewed" if end else "left as they are"
    return Panel(
        title=f"1/{SHARES[arm]} of the stream, norms {norms}",
        x="kept",
        y="accuracy",
        series=tuple(
            Series(
                label=choice.label,
                conditions=tuple(f"{arm}/{name}-{part}{end}" for part in ("fourth", "half")),
            )
            for name, choice in CHOICES.items()
        ),
    )


STUDY = Study(
    name="keeps",
    title="What a reduction keeps, and what the network needs of it",
    question=(
        "The reductions of trained networks are made to read their input through fewer numbers: "
        "those that their weights weigh most, those that hold most of the input, those that hold "
        "most of the output, or random ones. Which ones does the network need? If a reduction "
        "compressed its input, it would be those that hold most of it.\n\n"
        "What is replaced: a reduction's W x becomes W (P (x - m) + m). Here m is the mean of its "
        "input, A is k mixtures of the channels, and P = S A' (A S A')⁻¹ A, with S the covariance "
        "of the input, is the best linear estimate of x - m from A (x - m). So each choice of A is "
        "used as well as it can be, and none suffers for its scale. k is a half or a quarter of "
        "the channels that the reduction gives. A is: the first right singular vectors of W (SVD "
        "of the weights); the first eigenvectors of S (PCA of the input); those of W S W', times W "
        "(PCA of the output, which of all choices changes W x least); normal random numbers. All "
        "reductions of a network are replaced at once; nothing is trained afterwards. The batch "
        "norms behind keep their deviations, or else those of the whole network are measured again "
        f"(renewed) on {LOOKED_AT:,} training images."
    ),
    article=(
        "A 1x1 that reduces the dimension is like the compression of images: the more is "
        "compressed, the more is lost; and the nature of the matrix stays what it was."
    ),
    literature=(
        "That the directions of greatest variance need not be those that a task needs is old "
        "(Jolliffe, A Note on the Use of Principal Components in Regression, 1982). Networks are "
        "made smaller by the components of the output, not of the input (Zhang et al., "
        "[arXiv 1505.06798](https://arxiv.org/abs/1505.06798)). In EfficientNet-Lite0, `onebyone "
        "explain` finds that reductions within a residual block keep less of their input than "
        "random mixtures would."
    ),
    arms=tuple(
        Arm(
            name=name,
            label=f"1/{SHARES[name]} of the stream",
            build=skeleton(SHARES[name]).build,
        )
        for name in ARMS
    ),
    comparisons=tuple(asked for arm in ARMS for asked in _asked(arm)),
    full=Scale(
        data="fashion-mnist",
        images=18_000,
        recipe=replace(RECIPES["small-images"], epochs=5),
        seeds=5,
    ),
    quick=Scale(
        data="digits",
        images=None,
        recipe=replace(RECIPES["digits"], epochs=3, batch_size=64),
        seeds=2,
        rounds=2,
    ),
    panels=tuple(_panel(arm, end) for arm in ARMS for end in ("", f"-{RENEWED}")),
    limits=(
        "Small networks on small grey images, as they come from the training: after some more of "
        "it, they might have learnt to do with what they are left. The best estimate is the best "
        "linear one, over all pixels alike. All reductions are replaced by what each read before "
        "any was."
    ),
    measure=measure_replaced,
    labels=_LABELS,
    quantities={"kept": Quantity(label="input's variance kept, %", scale=100.0, digits=1)},
)
