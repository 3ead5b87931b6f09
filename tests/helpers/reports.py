"""Reports to draw: of a real network's graph, with made-up measurements beside its real costs."""

import torch
from torch import nn

from onebyone.explainer.cost import CostReport, LayerKind, count_graph
from onebyone.explainer.counterfactuals.counterfactual import find_counterfactuals
from onebyone.explainer.information import Information, Kept
from onebyone.explainer.modules import group_by_module
from onebyone.explainer.nonlinearity import ActivationLayer, Nonlinearity
from onebyone.explainer.report import Report
from onebyone.explainer.specimen import Specimen
from onebyone.explainer.speed import Ceilings, LayerTime, Speed
from onebyone.explainer.structure.roles import Pointwise, Role, find_roles, find_triples
from onebyone.graph import capture

CEILINGS = Ceilings(macs_per_second=6e10, bytes_per_second=1.2e10)


def sample_report(network: nn.Module, size: int, *, model: str = "sample") -> Report:
    """A report with something in each part; costs are real, what would be measured is not."""
    graph = capture(network, (torch.empty(1, 3, size, size, device="meta"),)).graph
    cost = count_graph(graph, params=sum(p.numel() for p in network.parameters()))
    pointwise = find_roles(graph)
    return Report(
        model=model,
        input_shapes=((1, 3, size, size),),
        weights="random",
        cost=cost,
        modules=group_by_module(network, cost),
        pointwise=pointwise,
        triples=find_triples(graph),
        counterfactuals=find_counterfactuals(graph, cost),
        information=Information(
            layers=tuple(
                _kept(one, number)
                for number, one in enumerate(pointwise)
                if one.role in (Role.REDUCE, Role.PROJECT)
            ),
            images=48,
            source="8 crops of each of 6 sample photos",
        ),
        nonlinearity=_nonlinearity(cost),
        speed=_speed(cost),
        specimens=tuple(_specimen(one, size) for one in pointwise[:: max(1, len(pointwise) // 3)]),
        notes=(),
    )


def bare_report(network: nn.Module, shape: tuple[int, ...]) -> Report:
    """The same of a network of which nothing was measured."""
    graph = capture(network, (torch.empty(shape, device="meta"),)).graph
    cost = count_graph(graph, params=sum(p.numel() for p in network.parameters()))
    return Report(
        model="bare",
        input_shapes=(shape,),
        weights="unknown",
        cost=cost,
        modules=group_by_module(network, cost),
        pointwise=(),
        triples=(),
        counterfactuals=(),
        information=None,
        nonlinearity=Nonlinearity(
            layers=(), segments=0, steps=0, growth=None, changes=None, changes_without=None
        ),
        speed=None,
        specimens=(),
        notes=("the network's forward looks at numbers in its input",),
    )


def _kept(one: Pointwise, number: int) -> Kept:
    best = 0.95 - 0.3 * (number % 4) / 4
    return Kept(
        name=one.name,
        path=one.path,
        in_channels=one.in_channels,
        out_channels=one.out_channels,
        samples=12544 >> min(number // 6, 4),
        rank_in=one.in_channels / 3,
        rank_out=one.out_channels / 2,
        kept=best - 0.22,
        best=best,
        random=best - 0.18 + 0.08 * (number % 3 - 1),
        width_99=max(1, one.out_channels * (5 + number % 4) // 9),
        width_95=max(1, one.out_channels // 3),
    )


def _nonlinearity(cost: CostReport) -> Nonlinearity:
    layers = [
        ActivationLayer(
            name=f"{one.name}.relu",
            path=one.path,
            function="relu",
            units=one.output_shape[1] * one.output_shape[-1] ** 2,
            behind_pointwise=one.kind is LayerKind.POINTWISE,
            changes=one.output_shape[1] * one.output_shape[-1] ** 1.5,
        )
        for one in cost.layers
    ]
    return Nonlinearity(
        layers=tuple(layers),
        segments=21,
        steps=256,
        growth=0.02,
        changes=2.1e6,
        changes_without=1.2e6,
    )


def _speed(cost: CostReport) -> Speed:
    times = []
    for number, one in enumerate(cost.layers):
        least = CEILINGS.seconds(
            one.macs, 4 * (one.params + 8 * one.output_shape[1] * one.output_shape[-1] ** 2)
        )
        times.append(
            LayerTime(
                name=one.name,
                torch_seconds=least * (2 + number % 5),
                engine_seconds=least * (1.2 + number % 3 / 3),
            )
        )
    return Speed(
        layers=tuple(times),
        torch_seconds=sum(one.torch_seconds for one in times) * 1.2,
        engine_seconds=sum(one.engine_seconds or 0 for one in times) * 1.05,
        ceilings=CEILINGS,
        threads=2,
        machine="a made-up processor",
    )


def _specimen(one: Pointwise, size: int) -> Specimen:
    generator = torch.Generator().manual_seed(one.in_channels)
    rows = torch.arange(14.0)
    wave = torch.sin(rows[:, None] / 3 + rows / 5)
    image = (
        128 + 100 * torch.sin(torch.arange(size)[:, None] / 9 + torch.arange(size) / 15)
    ).expand(3, -1, -1)
    return Specimen(
        name=one.name,
        path=one.path,
        image=image.to(torch.uint8),
        input=torch.relu(torch.randn(one.in_channels, 14, 14, generator=generator) + wave),
        weight=torch.randn(one.out_channels, one.in_channels, generator=generator)
        / one.in_channels**0.5,
        bias=torch.randn(one.out_channels, generator=generator) / 10,
        stride=one.stride,
    )
