"""One row a layer: all that a report knows of it, brought together."""

from dataclasses import dataclass
from typing import Any

from onebyone.explainer.ceilings import predict_seconds
from onebyone.explainer.cost import LayerCost, LayerKind
from onebyone.explainer.report import Report
from onebyone.explainer.speed import LayerTime
from onebyone.explainer.structure.roles import Pointwise, Role

COLOURS: dict[str, str] = {
    **{role: role.name.lower() for role in Role},
    **{kind: kind.name.lower() for kind in LayerKind},
}
"""What a layer is for, or what kind it is, and the name of its colour in the style sheet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One layer that has multiply-adds.

    Attributes:
        number: Its place in the order of running, from 1.
        layer: What it costs.
        share: Its part of the network's multiply-adds.
        pointwise: What it is for; None if it is no 1x1.
        time: How long it takes; None where that was not measured.
        ceiling_seconds: How long the machine needs for its work at least; None likewise.
    """

    number: int
    layer: LayerCost
    share: float
    pointwise: Pointwise | None
    time: LayerTime | None
    ceiling_seconds: float | None

    @property
    def label(self) -> str:
        """What it is for, if it is a 1x1; else what kind of layer it is."""
        return self.pointwise.role.value if self.pointwise else self.layer.kind.value

    @property
    def colour(self) -> str:
        """Name of its colour in the style sheet."""
        return COLOURS[self.label]

    @property
    def place(self) -> str:
        """What a person should be told of where it is."""
        return self.layer.path or self.layer.name

    @property
    def kernel(self) -> str:
        """Its kernel, such as "3×3 /2" with a stride of 2; "" if it has none."""
        size, stride = self.layer.kernel_size, self.layer.stride
        if size is None or self.layer.kind is LayerKind.LINEAR:
            return ""
        step = "" if stride == (1, 1) else f" /{'×'.join(map(str, dict.fromkeys(stride)))}"
        return "×".join(map(str, size)) + step

    @property
    def best_seconds(self) -> float | None:
        """The shorter of its times in PyTorch and in compiled code."""
        if self.time is None:
            return None
        return min(s for s in (self.time.torch_seconds, self.time.engine_seconds) if s is not None)

    @property
    def follows(self) -> str:
        """What comes behind a 1x1, such as "batch norm, relu"; "nothing" if it is bare."""
        if self.pointwise is None:
            return ""
        one = self.pointwise
        parts = [one.norm, one.activation, "dropout" if one.dropout else None]
        return ", ".join(part for part in parts if part) or "nothing"

    def record(self) -> dict[str, Any]:
        """Return it as JSON says it."""
        time, one = self.time, self.pointwise
        return {
            "number": self.number,
            "name": self.layer.name,
            "path": self.layer.path,
            "kind": self.layer.kind.value,
            "role": one.role.value if one else None,
            "pattern": one.pattern.value if one and one.pattern else None,
            "input_shape": list(self.layer.input_shape),
            "output_shape": list(self.layer.output_shape),
            "kernel_size": list(self.layer.kernel_size) if self.layer.kernel_size else None,
            "stride": list(self.layer.stride),
            "groups": self.layer.groups,
            "macs": self.layer.macs,
            "params": self.layer.params,
            "moved_bytes": self.layer.moved_bytes,
            "macs_per_byte": round(self.layer.intensity, 4),
            "torch_seconds": time.torch_seconds if time else None,
            "engine_seconds": time.engine_seconds if time else None,
            "ceiling_seconds": self.ceiling_seconds,
            "follows": self.follows if one else None,
            "why": one.why if one else None,
        }


def rows_of(report: Report) -> list[Row]:
    """Return a row for each layer, in the order in which they run."""
    pointwise = {one.name: one for one in report.pointwise}
    times = {one.name: one for one in report.speed.layers} if report.speed else {}
    ceilings = report.speed.ceilings if report.speed else None
    return [
        Row(
            number=number,
            layer=layer,
            share=layer.macs / report.cost.macs if report.cost.macs else 0.0,
            pointwise=pointwise.get(layer.name),
            time=times.get(layer.name),
            ceiling_seconds=predict_seconds((layer,), ceilings) if ceilings else None,
        )
        for number, layer in enumerate(report.cost.layers, start=1)
    ]
