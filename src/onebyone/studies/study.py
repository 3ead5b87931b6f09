"""What a study is, as data: what is asked, what is trained, and what each outcome would say.

A study trains some networks ("arms"), each with the same seeds, and compares them seed by seed. All
that it may say is written beforehand, for every outcome, so that the text follows the numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from torch import nn

from onebyone.training.data.data import Data
from onebyone.training.evaluate import Score
from onebyone.training.recipe import Recipe

Rows = Mapping[str, Mapping[str, float]]
"""What one trial found: numbers by quantity, by condition.

The condition "" is the trained arm itself. Any other one, such as "half", is something done to the
trained network, and is called "arm/half" outside of the trial.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A network of a study.

    Attributes:
        name: A word, such as "relu".
        label: What a reader sees.
        build: Makes it for the data's channels, classes and pixels. Its random start comes from
            torch's generator, which the trial has seeded.
        learning_rate: The greatest rate, where it is not that of the study's recipe.
    """

    name: str
    label: str
    build: Callable[[Data], nn.Module]
    learning_rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """Something that is measured, and how its numbers are written.

    Attributes:
        label: What a reader sees, with the unit, such as "test accuracy, %".
        scale: What numbers are multiplied by where they are written.
        digits: Digits behind the point, of means; differences have one more.
    """

    label: str
    scale: float = 1.0
    digits: int = 2


USUAL_QUANTITIES: Mapping[str, Quantity] = MappingProxyType(
    {
        "accuracy": Quantity(label="test accuracy, %", scale=100.0, digits=2),
        "loss": Quantity(label="test loss, nats", digits=4),
        "macs": Quantity(label="multiply-adds, M", scale=1e-6, digits=2),
        "params": Quantity(label="parameters, k", scale=1e-3, digits=1),
        "eager_ms_1": Quantity(label="ms in PyTorch, batch 1", digits=2),
        "eager_ms_128": Quantity(label="ms in PyTorch, batch 128", digits=1),
        "compiled_ms_1": Quantity(label="ms compiled, batch 1", digits=3),
        "compiled_ms_128": Quantity(label="ms compiled, batch 128", digits=1),
    }
)
"""What every study knows. `macs` and `params` are counted once for each arm, and milliseconds are
measured once for each arm, apart from the trials; `accuracy` and `loss` come of every trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A question to two conditions, and what may be said when the numbers are there.

    The texts are whole sentences. `more` and `less` are said at a mean difference of two standard
    errors or more; below that, `alike`, which must claim nothing but that.

    Attributes:
        this: A condition: an arm's name, or "arm/condition".
        that: The one it is compared with, seed by seed.
        quantity: What is compared, such as "accuracy", "loss", or one that the study's rows have.
        question: What is asked.
        more: What it says if `this` has more of the quantity.
        less: What it says if `this` has less.
        alike: What it says if neither can be told.
    """

    this: str
    that: str
    quantity: str
    question: str
    more: str
    less: str
    alike: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large a study is.

    Attributes:
        data: What `read_data` reads, such as "fashion-mnist".
        images: Images to train on, as many of each class, chosen by the seed and so the same for
            all arms; None for all there are.
        recipe: How every arm is trained.
        seeds: Trials of each arm, with seeds 0, 1, 2, ...
        rounds: Turns that each arm has when times are measured; 0 to measure none.
    """

    data: str
    images: int | None
    recipe: Recipe
    seeds: int
    rounds: int = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Conditions that are drawn in one colour, and joined where there is an x axis.

    Attributes:
        label: What the legend says.
        conditions: Their names, in order.
    """

    label: str
    conditions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One part of a study's picture: means over the seeds, with 95 % intervals.

    Attributes:
        title: What it shows.
        y: The quantity that is drawn.
        x: The quantity along the x axis, of the condition or else of its arm; None to draw a line
            for each condition, one under the other.
        is_log: Whether the x axis is logarithmic.
        base: A condition that the others are compared with, seed by seed: differences are drawn
            and no longer the quantity itself. None for none.
        series: What is drawn in which colour; by default all arms, in one.
    """

    title: str
    y: str
    x: str | None = None
    is_log: bool = False
    base: str | None = None
    series: tuple[Series, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Numbers that are no trials' means, such as a companion's.

    Attributes:
        title: What they are.
        columns: Heading of each column.
        rows: A cell a column; numbers are written as `str` does, so round them.
        note: What a reader must know of them; may be empty.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """An experiment.

    Texts are Markdown, without headings.

    Attributes:
        name: What a user calls it, such as "linear-bottleneck".
        title: One line, the same as in the catalogue.
        question: What is asked, in a sentence or two.
        article: What the source article says of it.
        literature: What is known, with sources.
        arms: What is trained; the order is that of the tables.
        comparisons: What is asked of the results.
        full: For people.
        quick: For tests: on digits, in about a minute on one core.
        panels: The picture, left to right.
        limits: What the study cannot say.
        measure: Looks at a trained network, beyond its score; returns `Rows`, in which accuracy and
            loss of "" need not be. None for nothing.
        labels: What a reader sees for conditions other than arms, by their names in `Rows`, such as
            "half"; the arm's label is put before it.
        quantities: What this study measures that others don't; see `USUAL_QUANTITIES`.
        companion: Makes a table without any training, always the same.
    """

    name: str
    title: str
    question: str
    article: str
    literature: str
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    full: Scale
    quick: Scale
    panels: tuple[Panel, ...]
    limits: str
    measure: Callable[[nn.Module, Data, Score], Rows] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    quantities: Mapping[str, Quantity] = field(default_factory=dict)
    companion: Callable[[], Table] | None = None

    def arm(self, name: str) -> Arm:
        """Return the arm of that name; there must be one."""
        return next(arm for arm in self.arms if arm.name == name)

    def quantity(self, name: str) -> Quantity:
        """Return how a quantity is written."""
        return self.quantities.get(name) or USUAL_QUANTITIES[name]

    def label(self, condition: str) -> str:
        """Return what a reader sees for a condition."""
        arm, _, inner = condition.partition("/")
        return f"{self.arm(arm).label}, {self.labels[inner]}" if inner else self.arm(arm).label
