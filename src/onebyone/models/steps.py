"""What was done to a network since it was built, as JSON objects, and doing it again.

A checkpoint may come from anywhere. Its steps name layers and numbers, never code, and are checked
before anything is done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from torch import nn

from onebyone.errors import OneByOneError, UnknownNameError, WeightsError, located
from onebyone.models.card import ModelCard
from onebyone.nn.edit_network import apply_edit
from onebyone.nn.edits import Edit, Factorise, FoldNorm, Narrow
from onebyone.typed import MisfitError, read_as

KINDS: Mapping[str, type[Edit]] = {"fold": FoldNorm, "factorise": Factorise, "narrow": Narrow}
"""Edits by what they are called in a file."""

EDITS = "edits"
"""What a step of edits is called."""


def edits_step(edits: Sequence[Edit]) -> dict[str, Any]:
    """Return edits as a step of a network's card."""
    names = {kind: name for name, kind in KINDS.items()}
    listed = [{"kind": names[type(edit)], **asdict(edit)} for edit in edits]
    for one in listed:
        if "ranks" in one:
            one["ranks"] = list(one["ranks"])
    return {"kind": EDITS, "edits": listed}


def with_edits(card: ModelCard, edits: Sequence[Edit]) -> ModelCard:
    """Return the card of a network that edits were applied to, for `save` to write."""
    return replace(card, steps=(*card.steps, edits_step(edits))) if edits else card


def repeat_steps(network: nn.Module, steps: Sequence[Mapping[str, Any]]) -> None:
    """Do to a network what was done to another of its kind, in place; new layers are random.

    Args:
        network: In evaluation; it may be on the meta device.
        steps: Of a network's card.

    Raises:
        UnknownNameError: If this version does not know a step.
        WeightsError: If a step is damaged, or does not fit the network.
    """
    for step in steps:
        if step.get("kind") != EDITS:
            raise _too_new(f"a step of kind {step.get('kind')!r}")
        for edit in _read_edits(step.get("edits")):
            try:
                apply_edit(network, edit)
            except OneByOneError as error:
                raise WeightsError(
                    f"the network was changed in ways that do not fit this one ({error}); name the "
                    "network that the file was made from, or write the file again"
                ) from error


def _read_edits(listed: object) -> list[Edit]:
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise _damaged("a list was wanted")
    found: list[Edit] = []
    for number, one in enumerate(listed):
        with located(f"edit {number}"):
            found.append(_read_edit(one))
    return found


def _read_edit(values: object) -> Edit:
    if not isinstance(values, Mapping):
        raise _damaged("an object was wanted")
    fields = dict(values)
    kind = fields.pop("kind", None)
    if not isinstance(kind, str):
        raise _damaged(f"of kind {kind!r}, and there are {', '.join(KINDS)}")
    if kind not in KINDS:
        raise _too_new(f"an edit of kind {kind!r}")
    if unknown := set(fields) - set(KINDS[kind].__slots__):
        raise _damaged(f"it has {min(map(str, unknown))!r}, which nothing is known of")
    try:
        return read_as(KINDS[kind], fields)
    except MisfitError as error:
        raise _damaged(str(error)) from error


def _too_new(what: str) -> UnknownNameError:
    return UnknownNameError(
        f"{what} was done to this network, which this version of onebyone does not know; install a "
        "newer one: pip install --upgrade onebyone"
    )


def _damaged(reason: str) -> WeightsError:
    return WeightsError(f"the changes of the network are damaged ({reason}); write the file again")
