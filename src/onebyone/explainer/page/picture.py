"""A network's silhouette: layers in order, as wide as their work and as high as their channels."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from itertools import groupby

from onebyone.explainer.page.blocks import Block
from onebyone.explainer.page.rows import Row
from onebyone.explainer.page.words import percent, shape
from onebyone.explainer.words import amount, seconds_amount

WIDTH = 1040
"""Of a picture, in its own units; a deep network's is wider, and scrolls."""

_LAYER_WIDTH = 6  # on average, at least: below that neighbours cannot be told apart
_THINNEST = 2.5  # a depthwise layer has next to no work, and must be seen
_GAP = 3.0
_LEFT, _TOP, _HEIGHT = 44, 12, 210
_AXIS = _TOP + _HEIGHT / 2
_CHARACTER = 6.3  # width of one in a label


@dataclass(frozen=True, slots=True)
class Picture:
    """One way to draw a network.

    Attributes:
        key: Short name of what the widths say.
        label: The same for people.
        svg: The drawing.
    """

    key: str
    label: str
    svg: str


Measure = Callable[[Row], float]


def draw_pictures(blocks: list[Block], *, has_time: bool, has_engine: bool) -> list[Picture]:
    """Draw a network by multiply-adds, by its times where they were measured, and evenly."""
    if not blocks:
        return []
    measures: list[tuple[str, str, Measure]] = [("macs", "multiply-adds", lambda r: r.layer.macs)]
    if has_time:
        measures.append(("torch", "time in PyTorch", _torch_seconds))
    if has_engine:
        measures.append(("engine", "time compiled", _engine_seconds))
    measures.append(("even", "each layer alike", lambda _: 1.0))
    return [Picture(key, label, _draw(blocks, key, label, of)) for key, label, of in measures]


def _torch_seconds(row: Row) -> float:
    return row.time.torch_seconds if row.time else 0.0


def _engine_seconds(row: Row) -> float:
    return (row.time.engine_seconds or 0.0) if row.time else 0.0


@dataclass(frozen=True, slots=True)
class _Placed:
    """A layer and where it stands."""

    row: Row
    left: float
    width: float


def _draw(blocks: list[Block], key: str, label: str, measure: Measure) -> str:
    placed = _place(blocks, measure)
    widest = max(max(_channels(row)) for block in blocks for row in block.rows)
    right = placed[-1][-1].left + placed[-1][-1].width

    def half(channels: int) -> float:
        """Half the height of a number of channels: the root, so that narrow ones are seen."""
        return _HEIGHT / 2 * (channels / widest) ** 0.5

    body = list(_scale(widest, half, right))
    for number, layers in enumerate(placed):
        body += _block(layers, half, is_odd=bool(number % 2))
    body += _labels(blocks, placed)
    width, height = right + 8, _TOP + _HEIGHT + 50
    return (
        f'<svg viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}" '
        f'class="picture" role="img" aria-labelledby="picture-{key}-title picture-{key}-desc" '
        f'tabindex="0"><title id="picture-{key}-title">The network as a silhouette</title>'
        f'<desc id="picture-{key}-desc">Layers in the order in which they run. Width: '
        f"{escape(label)}. Height: channels, left those read and right those given. The arrow keys "
        f"go from layer to layer.</desc>{''.join(body)}</svg>"
    )


def _place(blocks: list[Block], measure: Measure) -> list[list[_Placed]]:
    """Put the layers side by side, as wide as they measure, with a gap between blocks."""
    sizes = [measure(row) for block in blocks for row in block.rows]
    room = max(WIDTH - _LEFT, _LAYER_WIDTH * len(sizes)) - _GAP * len(blocks)
    widths = iter(_widths(sizes, room))
    left, placed = float(_LEFT), []
    for block in blocks:
        layers = []
        for row in block.rows:
            layers.append(_Placed(row, left, next(widths)))
            left += layers[-1].width
        placed.append(layers)
        left += _GAP
    return placed


def _widths(sizes: list[float], room: float) -> list[float]:
    """Share out a width in proportion, but for what would be too thin to be seen."""
    scale, thin = 0.0, 0
    while True:
        wide = [size for size in sizes if size * scale >= _THINNEST] if thin else sizes
        scale = (room - _THINNEST * (len(sizes) - len(wide))) / (sum(wide) or 1.0)
        now = sum(size * scale < _THINNEST for size in sizes)
        if now == thin:
            return [max(_THINNEST, size * scale) for size in sizes]
        thin = now


def _channels(row: Row) -> tuple[int, int]:
    """Return the channels that a layer reads and gives; vectors of features count as channels."""
    before, after = row.layer.input_shape, row.layer.output_shape
    return (before[1] if len(before) > 1 else 1), (after[1] if len(after) > 1 else 1)


def _scale(widest: int, half: Callable[[int], float], right: float) -> Iterator[str]:
    """Draw lines at a few numbers of channels, mirrored as the silhouette is."""
    marks = [widest]
    while marks[-1] >= 32 and len(marks) < 3:
        marks.append(marks[-1] // 4)
    for channels in marks:
        top, bottom = _AXIS - half(channels), _AXIS + half(channels)
        for y in (top, bottom):
            yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{right:.1f}"/>'
        yield f'<text class="scale" x="{_LEFT - 6}" y="{top + 4:.1f}">{channels}</text>'


def _block(layers: list[_Placed], half: Callable[[int], float], *, is_odd: bool) -> Iterator[str]:
    left, right = layers[0].left, layers[-1].left + layers[-1].width
    yield (
        f'<g><rect class="band{" odd" if is_odd else ""}" x="{left:.1f}" y="{_TOP}" '
        f'width="{right - left:.1f}" height="{_HEIGHT}"/>'
    )
    for one in layers:
        before, after = (half(channels) for channels in _channels(one.row))
        yield (
            f'<path class="layer {one.row.colour}" data-layer="{one.row.number - 1}" d="'
            f"M{one.left:.1f} {_AXIS - before:.1f}L{one.left + one.width:.1f} {_AXIS - after:.1f}"
            f'V{_AXIS + after:.1f}L{one.left:.1f} {_AXIS + before:.1f}Z"/>'
        )
    yield "</g>"


def _labels(blocks: list[Block], placed: list[list[_Placed]]) -> Iterator[str]:
    """Draw a bracket under each run of like blocks, and one under what has a name in common."""
    spans = [
        (one, where[0].left, where[-1].left + where[-1].width)
        for one, where in zip(blocks, placed, strict=True)
    ]
    y = _TOP + _HEIGHT + 10
    for _, run in groupby(spans, key=lambda span: span[0].run):
        members = list(run)
        count, kind = len(members), members[0][0].kind
        words = [f"{kind} ×{count}", f"×{count}"] if count > 1 else [kind]
        yield _bracket(members[0][1], members[-1][2], y, words)
    for name, stage in groupby(spans, key=lambda span: _stage(span[0])):
        members = list(stage)
        yield _bracket(members[0][1], members[-1][2], y + 20, [name])


def _stage(block: Block) -> str:
    return block.path.rpartition(".")[0] or block.path


def _bracket(left: float, right: float, y: float, words: list[str]) -> str:
    """Draw a line and, below it, the first of the words that is short enough."""
    line = f'<path class="bracket" d="M{left:.1f} {y}H{right:.1f}"/>'
    word = next((one for one in words if one and len(one) * _CHARACTER < right - left), "")
    middle = (left + right) / 2
    text = f'<text class="mark" x="{middle:.1f}" y="{y + 13}">{escape(word)}</text>' if word else ""
    return line + text


def describe(row: Row) -> str:
    """Say all of a layer that is worth a line."""
    one, time = row.pointwise, row.time
    parts = [
        f"{row.label} 1x1" if one else f"{row.label} layer {row.kernel}".rstrip(),
        f"in {shape(row.layer.input_shape)}, out {shape(row.layer.output_shape)}",
        f"{amount(row.layer.macs)} multiply-adds ({percent(row.share)})",
        f"{amount(row.layer.params)} parameters",
    ]
    if one and one.pattern:
        parts[0] += f", in a pattern called {one.pattern.value}"
    if one:
        parts.append(f"followed by {row.follows}")
    if time:
        parts.append(f"PyTorch {seconds_amount(time.torch_seconds)}")
        if time.engine_seconds is not None:
            parts.append(f"compiled {seconds_amount(time.engine_seconds)}")
    return " · ".join(parts)
