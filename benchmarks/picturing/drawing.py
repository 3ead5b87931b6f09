"""Drawings as SVG: boxes, lines and words on white paper, readable on light and dark pages."""

from dataclasses import dataclass, field
from html import escape

INK, SOFT, RULE, SHADE, PAPER = "#1d1c1a", "#5b5750", "#d5d0c6", "#f6f3ed", "#ffffff"
POINTWISE, DEPTHWISE, DENSE, ROWS = "#1f6fbf", "#e08a1e", "#4a2f80", "#7d5ba6"
NORM, BEND, SUM, HELP, OTHER = "#b9b2a4", "#3f9b63", "#c0397f", "#ffffff", "#7d8894"
FIRST, SECOND = "#0b6470", "#c96a2b"
"""Colours of two threads."""

SANS = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, 'SF Mono', 'DejaVu Sans Mono', Menlo, Consolas, monospace"

WIDTH = 900
"""Of all pictures, about as wide as a page of text."""

Point = tuple[float, float]


@dataclass(slots=True)
class Drawing:
    """Collect shapes.

    Args:
        height: In pixels; all drawings are `WIDTH` wide.
        title: What is shown, for those who cannot see it.
    """

    height: float
    title: str
    _parts: list[str] = field(default_factory=list)

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str = "none",
        edge: str = "none",
        opacity: float = 1.0,
        radius: float = 0.0,
        thickness: float = 1.0,
    ) -> None:
        """Draw a rectangle."""
        self._parts.append(
            f'<rect x="{x:.4g}" y="{y:.4g}" width="{width:.4g}" height="{height:.4g}" '
            f'fill="{fill}"{_unless("stroke", edge, "none")}{_unless("rx", radius, 0)}'
            f"{_unless('opacity', opacity, 1)}{_unless('stroke-width', thickness, 1)}/>"
        )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 13,
        colour: str = INK,
        anchor: str = "start",
        bold: bool = False,
        mono: bool = False,
    ) -> None:
        """Write a line of words; `y` is the line that letters stand on."""
        style = _unless("class", "m" if mono else "", "") + _unless(
            "font-weight", 400 + 200 * bold, 400
        )
        self._parts.append(
            f'<text x="{x:.5g}" y="{y:.5g}"{_unless("font-size", size, 13)}'
            f"{_unless('fill', colour, INK)}{_unless('text-anchor', anchor, 'start')}{style}>"
            f"{escape(words, quote=False)}</text>"
        )

    def note(self, x: float, y: float, words: str) -> None:
        """Write what is said beside, smaller and softer."""
        self.text(x, y, words, size=12, colour=SOFT)

    def upright(self, x: float, y: float, words: str, *, size: float = 12) -> None:
        """Write words from bottom to top, their middle at `y`."""
        self._parts.append(
            f'<text transform="translate({x:.5g},{y:.5g}) rotate(-90)" font-size="{size}" '
            f'fill="{SOFT}" text-anchor="middle">{escape(words, quote=False)}</text>'
        )

    def line(
        self,
        *points: Point,
        colour: str = SOFT,
        thickness: float = 1.0,
        arrow: bool = False,
        dashes: str = "",
    ) -> None:
        """Draw a line from point to point, with a head at its end if it is an `arrow`."""
        path = " ".join(f"{x:.5g},{y:.5g}" for x, y in points)
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}"'
            f"{_unless('stroke-width', thickness, 1)}{_unless('stroke-dasharray', dashes, '')}"
            f"{_unless('marker-end', 'url(#head)' if arrow else '', '')}/>"
        )

    def ribbon(
        self, left: tuple[float, float, float], right: tuple[float, float, float], *, fill: str
    ) -> None:
        """Draw a band from one vertical edge to another; each is `(x, top, bottom)`."""
        (x1, top1, bottom1), (x2, top2, bottom2) = left, right
        middle = (x1 + x2) / 2
        self._parts.append(
            f'<path d="M{x1:.5g},{top1:.5g} C{middle:.5g},{top1:.5g} {middle:.5g},{top2:.5g} '
            f"{x2:.5g},{top2:.5g} V{bottom2:.5g} C{middle:.5g},{bottom2:.5g} "
            f'{middle:.5g},{bottom1:.5g} {x1:.5g},{bottom1:.5g} Z" fill="{fill}" opacity="0.22"/>'
        )

    def ribbon_down(
        self, above: tuple[float, float, float], below: tuple[float, float, float], *, fill: str
    ) -> None:
        """Draw a band from one horizontal edge to another; each is `(y, left, right)`."""
        (y1, left1, right1), (y2, left2, right2) = above, below
        self._parts.append(
            f'<path d="M{left1:.5g},{y1:.5g} L{left2:.5g},{y2:.5g} H{right2:.5g} '
            f'L{right1:.5g},{y1:.5g} Z" fill="{fill}" opacity="0.1"/>'
        )

    def svg(self) -> str:
        """Return the drawing as a file's text."""
        title = escape(self.title)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height:g}" '
            f'width="{WIDTH}" height="{self.height:g}" role="img" font-family="{SANS}" '
            f'font-size="13" fill="{INK}"><title>{title}</title>'
            f"<style>.m{{font-family:{MONO};white-space:pre}}</style>"
            '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0,1 L9,5 L0,9 Z" fill="{SOFT}"/></marker>'
            f'</defs><rect width="{WIDTH}" height="{self.height:g}" rx="8" fill="{PAPER}"/>\n'
            + "\n".join(self._parts)
            + "\n</svg>\n"
        )


def _unless(name: str, value: object, usual: object) -> str:
    """Return an attribute, or nothing if its value is the usual one."""
    return "" if value == usual else f' {name}="{value}"'
