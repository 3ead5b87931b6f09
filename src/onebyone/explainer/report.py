"""What is known of a network's 1x1 convolutions, as one value."""

# pyright: reportImportCycles=false
# What shows a report is imported when it is asked for.

from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onebyone.explainer.cost import CostReport
from onebyone.explainer.counterfactuals.counterfactual import Counterfactual
from onebyone.explainer.information import Information
from onebyone.explainer.modules import ModuleCost
from onebyone.explainer.nonlinearity import Nonlinearity
from onebyone.explainer.specimen import Specimen
from onebyone.explainer.speed import Speed
from onebyone.explainer.structure.roles import Pointwise, Triple
from onebyone.packages import require

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the 1x1 convolutions of a network do, cost, keep and add; `print` it for tables.

    Attributes:
        model: What the network is called.
        input_shapes: Of the tensors that it was explained for.
        weights: What its weights are, such as "imagenet"; "random" where it was not trained;
            "unknown" where nobody said.
        cost: What each layer costs.
        modules: The same by module.
        pointwise: What each 1x1 is for, in the order in which they run.
        triples: k x k, expand and the next block's reduce, across sums.
        counterfactuals: What it would cost without its 1x1s, in several ways.
        information: What its reductions keep; None where no images were given.
        nonlinearity: How often it bends; units alone where no images were given.
        speed: How long it takes; None where that was not measured.
        specimens: Some 1x1s at work; empty where no images were given.
        notes: What could not be read, or only in part, and why.
    """

    model: str
    input_shapes: tuple[tuple[int, ...], ...]
    weights: str
    cost: CostReport
    modules: ModuleCost
    pointwise: tuple[Pointwise, ...]
    triples: tuple[Triple, ...]
    counterfactuals: tuple[Counterfactual, ...]
    information: Information | None
    nonlinearity: Nonlinearity
    speed: Speed | None
    specimens: tuple[Specimen, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """Show as tables of at most 100 columns, without colours.

        Raises:
            MissingPackageError: If Rich, which draws them, is not installed.
        """
        require("a report as text", "rich")
        from rich.console import Console

        from onebyone.explainer.text import WIDTH, show_report

        console = Console(width=WIDTH, file=StringIO(), color_system=None, highlight=False)
        with console.capture() as captured:
            console.print(show_report(self))
        return "\n".join(line.rstrip() for line in captured.get().splitlines())

    def to_json(self) -> dict[str, Any]:
        """Return all of it but the specimens, as what JSON can say."""
        from onebyone.explainer.export import to_json

        return to_json(self)

    def to_dataframe(self) -> "DataFrame":
        """Return a row for each layer: cost, and where they are known role, time and what is kept.

        Raises:
            MissingPackageError: If pandas is not installed.
        """
        from onebyone.explainer.export import to_dataframe

        return to_dataframe(self)

    def to_html(self, path: str | Path) -> None:
        """Write it as one page that needs no network; a file that is there is replaced as a whole.

        Raises:
            MissingPackageError: If the extra `html` is not installed.
            OneByOneError: If the file cannot be written.
        """
        from onebyone.explainer.page import write_page

        write_page(self, Path(path))
