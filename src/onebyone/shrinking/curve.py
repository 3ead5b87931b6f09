"""What budgets cost in quality: several small networks, each measured, as JSON and a picture."""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# Altair's methods are made when it is imported, and type checkers cannot see through all of them.

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onebyone.errors import ShrinkError
from onebyone.files import replacing

SCALE = 2
"""Pixels of the PNG for one of the SVG, so that it is sharp on fine screens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One network of a curve.

    Attributes:
        budget: What was asked for, such as "latency=0.5"; "" for the original.
        macs: Multiply-adds for one image.
        seconds: Of a call, median, beside the original's.
        original_seconds: Of the original, in the same measurement.
        top1: Share of images of which it names the class that the original names.
        divergence: From the original's answers, in nats.
        accuracy: Share of right answers, where there are labels.
        loss: How much the loss was expected to rise, in nats an image.
    """

    budget: str
    macs: int
    seconds: float
    original_seconds: float
    top1: float
    divergence: float
    accuracy: float | None = None
    loss: float = 0.0

    @property
    def quality(self) -> float:
        """What is drawn: accuracy, or else agreement with the original."""
        return self.top1 if self.accuracy is None else self.accuracy


def read_point(file: Path) -> Point | None:
    """Return a point that was measured before; None if there is none.

    Raises:
        ShrinkError: If the file is something else.
    """
    if not file.exists():
        return None
    try:
        return Point(**json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise ShrinkError(
            f"{file} is no point of a curve; name another folder, or remove it"
        ) from error


def write_json(file: Path, values: Any) -> None:
    """Write a file of JSON, whole or not at all.

    Raises:
        ShrinkError: If it cannot be written.
    """
    try:
        with replacing(file) as temporary:
            temporary.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise ShrinkError(f"cannot write {file} ({error.strerror})") from error


def write_point(file: Path, point: Point) -> None:
    """Keep a point, so that an interrupted curve goes on.

    Raises:
        ShrinkError: If it cannot be written.
    """
    write_json(file, asdict(point))


def draw_curve(folder: Path, points: Sequence[Point], *, title: str) -> None:
    """Draw points as `curve.svg` and `curve.png`: quality against measured milliseconds.

    Args:
        folder: Where.
        points: The original first.
        title: What stands above.
    """
    import altair as alt
    import vl_convert

    what = "accuracy" if points[0].accuracy is not None else "agreement with the original"
    values = [
        {
            "ms": 1e3 * point.seconds,
            "quality": 100 * point.quality,
            "label": point.budget or "original",
        }
        for point in points
    ]
    x = alt.X("ms:Q", title="milliseconds a call, measured", scale=alt.Scale(zero=True))
    y = alt.Y("quality:Q", title=f"{what}, %", scale=alt.Scale(zero=False))
    base = alt.Chart(alt.Data(values=values)).encode(x=x, y=y)
    chart = (
        base.mark_line(color="#1564b2", opacity=0.5)
        + base.mark_point(color="#1564b2", filled=True, size=60)
        + base.mark_text(align="left", dx=8, dy=8, fontSize=11).encode(text="label:N")
    ).properties(width=520, height=320, title=title)
    found = chart.to_dict()
    found["config"] = {"background": "white", "font": "sans-serif", "view": {"stroke": None}}
    pictures = {
        "curve.svg": vl_convert.vegalite_to_svg(found).encode(),
        "curve.png": vl_convert.vegalite_to_png(found, scale=SCALE),
    }
    for name, content in pictures.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)
