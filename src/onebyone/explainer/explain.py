"""The whole road from a network to a report: follow, count, read roles, measure."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from onebyone.bench.measure import Watch, unwatched
from onebyone.compiler import usable_cores
from onebyone.errors import OneByOneError, first_line
from onebyone.explainer.cost import CostReport, count_graph
from onebyone.explainer.counterfactuals.counterfactual import find_counterfactuals
from onebyone.explainer.follow import Followed, follow
from onebyone.explainer.information import measure_information
from onebyone.explainer.memory import NOTHING_HELD
from onebyone.explainer.modules import group_by_module
from onebyone.explainer.nonlinearity import count_activations, measure_nonlinearity
from onebyone.explainer.report import Report
from onebyone.explainer.samples import (
    Images,
    fit_preprocess,
    folder_images,
    prepared_images,
    sample_images,
)
from onebyone.explainer.specimen import take_specimens
from onebyone.explainer.speed import measure_speed
from onebyone.explainer.structure.roles import find_roles, find_triples
from onebyone.graph import Graph
from onebyone.graph.example import check_network, example_arguments
from onebyone.models import ModelCard, Preprocess

SAMPLES = "samples"
"""What stands for the photos that the extra `demo` brings, in the place of a folder."""

Changes = dict[str, Any]
"""What a measurement adds to a report, by the names of its attributes."""


def explain_network(
    model: Callable[..., Any],
    example: Any,
    kwargs: Mapping[str, Any] | None = None,
    *,
    images: Tensor | str | Path | None = None,
    preprocess: Preprocess | None = None,
    measure_time: bool = False,
    threads: int | None = None,
    name: str | None = None,
    weights: str = "unknown",
    watch: Watch = unwatched,
) -> Report:
    """Explain what the 1x1 convolutions of a network do, cost, keep and add.

    The network stays as it is. It is explained as in evaluation, and without its hooks.

    Args:
        model: Any network, or a function of tensors.
        example: The tensor that it is called with, or a tuple of arguments. Its shape decides what
            layers cost; its numbers count where the network looks at them.
        kwargs: Further arguments by name.
        images: What to measure information and linear pieces on: prepared images `(N, C, H, W)`, a
            folder with photos, or "samples" for the photos that the extra `demo` brings. Nothing of
            the kind is measured without.
        preprocess: How photos become inputs; by default as the network's card says, or as is usual
            for ImageNet, at the example's size.
        measure_time: Measure how long layers take, in PyTorch and compiled.
        threads: Threads to measure with; all cores at hand if None.
        name: What to call the network; its class by default.
        weights: What the weights are, such as "imagenet" or "random".
        watch: Shows a person how far it has come.

    Raises:
        ModelError: If `model` is no network, or does not run on the example.
        ShapeError: If the example cannot be, or no photos become such inputs.
        PhotoError: If there are no photos in the folder.
        MissingPackageError: If "samples" are not installed.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1))
        >>> report = explain_network(model, torch.zeros(1, 8, 5, 5))
        >>> [(one.role.value, one.activation) for one in report.pointwise], report.cost.macs
        ([('reduce', 'relu'), ('head', None)], 1600)
    """
    model = check_network(model)
    args, named = example_arguments(example, kwargs, devices=("cpu", "meta"))
    tensors = [leaf for leaf in tree_leaves((args, named)) if isinstance(leaf, Tensor)]
    photos = None if images is None else _images(images, preprocess or _usual(model), tensors)
    followed = follow(model, args, named)
    params = sum(p.numel() for p in model.parameters()) if isinstance(model, nn.Module) else 0
    cost = count_graph(followed.graph, params=params)
    if not followed.is_whole:
        cost = replace(cost, peak=NOTHING_HELD)  # of islands, all would be held at once
    report = _read(followed, cost, name or _name(model))
    report = replace(
        report, weights=weights, input_shapes=tuple(tuple(tensor.shape) for tensor in tensors)
    )
    if measure_time:
        report = _measured(report, "time", lambda: _time(followed, args, named, threads, watch))
    if photos is not None and followed.is_whole:
        report = _looked_at(report, _for_one_image(followed, photos), photos, watch)
    return report


def _read(followed: Followed, cost: CostReport, name: str) -> Report:
    """Read off the graph what can be known without running the network."""
    graph = followed.graph
    return Report(
        model=name,
        input_shapes=(),
        weights="unknown",
        cost=cost,
        modules=group_by_module(_module(followed.network), cost),
        pointwise=find_roles(graph, dropouts=followed.dropouts),
        triples=find_triples(graph),
        counterfactuals=find_counterfactuals(graph, cost) if followed.is_whole else (),
        information=None,
        nonlinearity=count_activations(graph),
        speed=None,
        specimens=(),
        notes=followed.notes,
    )


def _time(
    followed: Followed,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    threads: int | None,
    watch: Watch,
) -> Changes:
    speed = measure_speed(
        followed.network,
        followed.graph,
        args,
        kwargs,
        threads=threads or usable_cores(),
        watch=watch,
    )
    return {"speed": speed}


def _looked_at(report: Report, graph: Graph, images: Images, watch: Watch) -> Report:
    """Add what can be seen on images."""
    measures: dict[str, Callable[[], Changes]] = {
        "information": lambda: {"information": measure_information(graph, images, watch=watch)},
        "bends": lambda: {"nonlinearity": measure_nonlinearity(graph, images, watch=watch)},
        "1x1s at work": lambda: {"specimens": take_specimens(graph, images)},
    }
    skipped = tuple(f"left out: {photo}" for photo in images.skipped)
    report = replace(report, notes=(*report.notes, *skipped))
    for what, measure in measures.items():
        report = _measured(report, what, measure)
    return report


def _measured(report: Report, what: str, measure: Callable[[], Changes]) -> Report:
    """Add what is measured to a report, or a note on why it cannot be."""
    try:
        return replace(report, **measure())
    except (OneByOneError, RuntimeError) as error:  # PyTorch raises the latter
        note = f"{what} could not be measured: {first_line(error)}"
        return replace(report, notes=(*report.notes, note))


def _images(images: Tensor | str | Path, preprocess: Preprocess, tensors: list[Tensor]) -> Images:
    """Return the images that a user means.

    Raises:
        OneByOneError: If they cannot be had.
    """
    if isinstance(images, Tensor):
        return prepared_images(images)
    preprocess = fit_preprocess(preprocess, tuple(tensors[0].shape))
    return sample_images(preprocess) if images == SAMPLES else folder_images(images, preprocess)


def _for_one_image(followed: Followed, images: Images) -> Graph:
    """Return the graph for one image at a time, which an example of several is not."""
    inputs = followed.graph.inputs
    if len(inputs) != 1 or not inputs[0].shape or inputs[0].shape[0] == 1:
        return followed.graph
    return follow(followed.network, (images[0],)).graph


def _usual(model: Callable[..., Any]) -> Preprocess:
    """Return how photos become inputs of a network, if nobody says."""
    card = getattr(model, "card", None)
    return card.preprocess if isinstance(card, ModelCard) else Preprocess()


def _module(network: Callable[..., Any]) -> nn.Module:
    """Return a network as a module; a function has no parts."""
    return network if isinstance(network, nn.Module) else nn.Module()


def _name(model: Callable[..., Any]) -> str:
    return str(getattr(model, "__name__", type(model).__name__))
