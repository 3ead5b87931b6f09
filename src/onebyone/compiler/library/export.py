"""Doors to libraries: of a compiled network, and of one that is compiled for this."""

# pyright: reportImportCycles=false
# `CompiledModel.export` imports this when it is called.

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from onebyone.compiler.batched import BatchedModel, check_batch, why_apart
from onebyone.compiler.library.facts import NOTHING_KNOWN, About
from onebyone.compiler.library.names import name_for
from onebyone.compiler.library.plan import LibraryPlan, plan_library
from onebyone.compiler.library.write import Exact, Library, write_library
from onebyone.compiler.machine.calibrate import calibrated_target
from onebyone.compiler.model import CompiledModel
from onebyone.compiler.options import CompileOptions
from onebyone.compiler.target import Target, can_run, find_target
from onebyone.errors import CompileError
from onebyone.graph import Captured, Node, capture


def plan_export(
    model: Any,
    example: Tensor,
    *,
    name: str,
    batch: object = None,
    targets: Sequence[str] = (),
    about: About = NOTHING_KNOWN,
    embed: bool = False,
    numerics: str = "fp32",
) -> LibraryPlan:
    """Plan the library of a network; `write_library` writes it.

    Args:
        model: A network in evaluation mode.
        example: What it reads.
        name: What the functions of the library begin with.
        batch: Numbers of images that there is to be code for, as `compile_network` takes them.
        targets: Names of processors; by default the best that this one is.
        about: How images become its input, and names of its classes.
        embed: Whether the weights lie inside the library.
        numerics: What results promise.

    Raises:
        OneByOneError: As `plan_library`, and as `compile_network` for the network.
    """
    several = _captured(model, example, batch)
    return plan_library(
        several[max(several)],
        _targets(targets, numerics),
        name=name,
        options=CompileOptions(numerics=numerics),
        batches=() if batch is None else tuple(several),
        about=about,
        embed=embed,
    )


def _captured(model: Any, example: Tensor, batch: object) -> dict[int, Captured]:
    """Capture a network with each number of images.

    Raises:
        CompileError: If it cannot be shown to compute each image by itself.
    """
    if batch is None:
        return {1: capture(model, (example,))}
    several = {
        images: capture(model, (example.new_zeros(images, *example.shape[1:]),))
        for images in check_batch(batch)
    }
    if reason := why_apart(several):
        raise CompileError(
            f"a library cannot be for several numbers of images ({reason}); export one for each "
            "number"
        )
    return several


def _targets(names: Sequence[str], numerics: str) -> list[Target]:
    """Return targets by name; this machine's best is chosen for as `compile` does."""
    wanted = [find_target(name) for name in dict.fromkeys(names)]
    if wanted and not any(map(can_run, wanted)):
        return wanted
    here = calibrated_target(numerics)
    return [here if one.name == here.name else one for one in wanted] or [here]


def export_compiled(
    compiled: CompiledModel | BatchedModel,
    out: str | Path,
    *,
    name: str | None = None,
    targets: Sequence[str] = (),
    about: About | None = None,
    embed: bool = False,
    cc: str | None = None,
) -> Library:
    """Write the library of a compiled network; see `CompiledModel.export`."""
    models = compiled.models if isinstance(compiled, BatchedModel) else {1: compiled}
    whole = models[max(models)]
    if any(type(node) is Node for node in whole.captured.graph):
        raise CompileError(
            "a network that was loaded from a file has no layers to make code of; export the one "
            "that it was compiled from, or a network by name"
        )
    here = whole.target
    wanted = [find_target(one) for one in dict.fromkeys(targets)] or [here]
    plan = plan_library(
        whole.captured,
        [here if one.name == here.name else one for one in wanted],
        name=name_for(Path(out).absolute().name) if name is None else name,
        options=whole.options,
        chosen={here.name: whole.chosen},
        batches=tuple(models) if isinstance(compiled, BatchedModel) else (),
        about=about or NOTHING_KNOWN,
        embed=embed,
    )
    by_images = dict(zip(plan.batches, models.values(), strict=True))
    exact = Exact(here.name, lambda images, inputs: _results(by_images[images], plan, inputs))
    return write_library(plan, out, cc=cc, exact=exact)


def _results(compiled: CompiledModel, plan: LibraryPlan, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Call a compiled network with the inputs of a library, and give its outputs."""
    graph = compiled.captured.graph
    given = {one.name: tensor for one, tensor in zip(plan.inputs, inputs, strict=True)}
    tensors = [given.get(node.name, torch.zeros(node.shape)) for node in graph.inputs]
    results = compiled.run(tensors)
    by_name = {ref.name: one for ref, one in zip(graph.outputs, results, strict=True)}
    return [by_name[one.name] for one in plan.outputs]
