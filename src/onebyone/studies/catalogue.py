"""The studies by name, known before any of them, or torch, is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

from onebyone.errors import UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from onebyone.studies.study import Study


@dataclass(frozen=True, slots=True)
class Entry:
    """A study that there is.

    Attributes:
        module: Module of this package that has it, as `STUDY`.
        title: One line that says what it is of.
    """

    module: str
    title: str


STUDIES: Mapping[str, Entry] = MappingProxyType(
    {
        "bottleneck": Entry("bottleneck", "Bottlenecks against plain blocks of the same cost"),
        "width": Entry("width", "How narrow a bottleneck may be"),
        "nonlinearity": Entry(
            "nonlinearity", "Where a network in network has its non-linearity from"
        ),
        "linear-bottleneck": Entry(
            "linear_bottleneck", "Whether an inverted bottleneck's narrow end should be linear"
        ),
        "residual-scale": Entry(
            "residual_scale", "How an Inception-ResNet branch should end, and how much of it to add"
        ),
        "keeps": Entry("keeps", "What a reduction keeps, and what the network needs of it"),
    }
)
"""All studies by name."""


def check_study(name: str) -> None:
    """Check that there is a study of that name.

    Raises:
        UnknownNameError: If there is none; names the nearest, or all.
    """
    if name not in STUDIES:
        known = ", ".join(STUDIES)
        raise UnknownNameError(
            f"no study {name!r}{did_you_mean(name, STUDIES) or ';'} there are {known}"
        )


def find_study(name: str) -> "Study":
    """Return the study of that name.

    Raises:
        UnknownNameError: If there is none; names the nearest, or all.
    """
    check_study(name)
    return import_module(f"onebyone.studies.{STUDIES[name].module}").STUDY
