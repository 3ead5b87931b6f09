"""A report as what other programs read."""

# pyright: reportImportCycles=false
# `Report` imports this when it is asked for it.

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from onebyone.errors import MissingPackageError
from onebyone.explainer.words import CONVENTION

if TYPE_CHECKING:
    from pandas import DataFrame

    from onebyone.explainer.modules import ModuleCost
    from onebyone.explainer.report import Report


def to_json(report: "Report") -> dict[str, Any]:
    """Return a report as what JSON can say; `Report.to_json`."""
    cost = report.cost
    return {
        "model": report.model,
        "input_shapes": [list(shape) for shape in report.input_shapes],
        "weights": report.weights,
        "convention": CONVENTION,
        "totals": {
            "params": cost.params,
            "macs": cost.macs,
            "weight_bytes": cost.weight_bytes,
            "peak_activation_bytes": cost.peak_bytes,
            "intensity_macs_per_byte": cost.intensity,
            "activation_units": report.nonlinearity.units,
        },
        "layers": _layers(report),
        "modules": _module(report.modules),
        "pointwise": [asdict(one) for one in report.pointwise],
        "triples": [asdict(triple) for triple in report.triples],
        "counterfactuals": [
            {
                "name": one.name,
                "meaning": one.meaning,
                "replaced": one.replaced,
                "macs": one.macs,
                "params": one.params,
                "predicted_seconds": _predicted(report, one.layers),
            }
            for one in report.counterfactuals
        ],
        "information": [
            {**asdict(layer), "is_scarce": layer.is_scarce}
            for layer in (report.information.layers if report.information else ())
        ],
        "images": report.information
        and {"count": report.information.images, "source": report.information.source},
        "nonlinearity": asdict(report.nonlinearity),
        "speed": report.speed and asdict(report.speed),
        "not_counted": list(cost.not_counted),
        "notes": list(report.notes),
    }


def to_dataframe(report: "Report") -> "DataFrame":
    """Return a row for each layer; `Report.to_dataframe`."""
    try:
        import pandas
    except ImportError as error:
        raise MissingPackageError(
            "a DataFrame comes from pandas, which is not installed; pip install pandas"
        ) from error
    roles = {one.name: one for one in report.pointwise}
    kept = {one.name: one for one in (report.information.layers if report.information else ())}
    times = {one.name: one for one in (report.speed.layers if report.speed else ())}
    rows: list[dict[str, Any]] = []
    for layer in _layers(report):
        name = layer["name"]
        role, share, time = roles.get(name), kept.get(name), times.get(name)
        rows.append(
            {
                **layer,
                "role": role and role.role.value,
                "pattern": role and role.pattern and role.pattern.value,
                "activation": role and role.activation,
                "kept": share and share.kept,
                "torch_seconds": time and time.torch_seconds,
                "engine_seconds": time and time.engine_seconds,
            }
        )
    return pandas.DataFrame(rows)


def _layers(report: "Report") -> list[dict[str, Any]]:
    return [
        {
            **asdict(layer),
            "weight_bytes": layer.weight_bytes,
            "bytes_read": layer.bytes_read,
            "bytes_written": layer.bytes_written,
            "intensity_macs_per_byte": layer.intensity,
        }
        for layer in report.cost.layers
    ]


def _module(module: "ModuleCost") -> dict[str, Any]:
    return {**asdict(module), "children": [_module(child) for child in module.children]}


def _predicted(report: "Report", layers: Any) -> float | None:
    if report.speed is None:
        return None
    from onebyone.explainer.ceilings import predict_seconds

    return predict_seconds(layers, report.speed.ceilings)
