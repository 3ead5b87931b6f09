"""A network as a library without Python: a folder for programs in C."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from onebyone.compiler.library.export import plan_export
from onebyone.compiler.library.facts import NOTHING_KNOWN, About
from onebyone.compiler.library.names import name_for
from onebyone.compiler.library.write import write_library
from onebyone.exporting.subject import example_images, read_network
from onebyone.exporting.written import Exported
from onebyone.models.card import ModelCard

if TYPE_CHECKING:
    from onebyone.compiler.library.plan import LibraryPlan


def plan_native(
    model: nn.Module | str | Path,
    out: str | Path,
    *,
    weights: str | Path | None = None,
    example: Tensor | None = None,
    batch: int | tuple[int, ...] | Literal["any"] = 1,
    name: str | None = None,
    targets: Sequence[str] = (),
    embed: bool = False,
    numerics: str = "fp32",
) -> "LibraryPlan":
    """Plan the library of a network, or of what a user calls one.

    Args:
        model: A network, or what `onebyone.load_model` takes.
        out: The folder that it is for.
        weights: As for `load_model`; by default the model's own.
        example: One image that a given network reads; by default what its card says.
        batch: Images that are computed at once: one number, or several, as (1, 8, 32); "any" is 1
            to 8. Calls of several times the smallest number are made in parts of these.
        name: What its functions begin with; by default what the folder is called.
        targets: Names of processors, of one architecture; by default the best that this one is.
        embed: Whether the weights lie inside the library.
        numerics: What results promise.

    Raises:
        OneByOneError: One of its kinds; see `onebyone.export`.
    """
    network, card = read_network(model, weights)
    count = batch if isinstance(batch, int) else 1
    return plan_export(
        network,
        example_images(network, card, example, count),
        batch=None if isinstance(batch, int) else batch,
        name=name_for(Path(out).absolute().name) if name is None else name,
        targets=targets,
        about=_about(card),
        embed=embed,
        numerics=numerics,
    )


def write_native(plan: "LibraryPlan", out: str | Path, *, cc: str | None = None) -> Exported:
    """Write a library that was planned; see `write_library`."""
    library = write_library(plan, out, cc=cc)
    count = 0 if plan.any_batch and plan.batch == 1 else plan.batch
    return Exported(
        out=library.out,
        format="native",
        size_bytes=library.code_bytes + library.weights_bytes,
        shape=(count, *plan.inputs[0].shape[1:]),
        deviation=library.deviation,
    )


def _about(card: ModelCard | None) -> About:
    if card is None:
        return NOTHING_KNOWN
    photo = card.preprocess
    return About(mean=photo.mean, deviation=photo.std, classes=card.classes)
