"""A band of rows: three convolutions run together, and values between them are a few rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from onebyone.compiler.choose.bands import kept_rows, reached_rows
from onebyone.compiler.kernels.band import BandWork
from onebyone.graph import Convolution

from .drawing import DEPTHWISE, POINTWISE, RULE, SHADE, Drawing, Point
from .subject import Subject


@dataclass(frozen=True, slots=True)
class BandFacts:
    """Rows of an inverted bottleneck that runs by rows.

    Args:
        path: Of its block.
        channels: Of what it reads, of what it expands to, of what it gives.
        sizes: Rows and columns of what it reads, and of what it gives.
        rows_at_once: Rows of results in a band.
        stride: Rows of what is expanded, from one row of results to the next.
        reach: Rows that one row of results reads.
        top: Rows of zeros above the image.
        window: Rows that are kept.
        window_bytes: Memory of the window.
        row_bytes: Memory of the row behind the depthwise convolution.
        whole_bytes: Memory that all rows of what is expanded would take.
        bands: Bands of an image, each a chunk.
    """

    path: str
    channels: tuple[int, int, int]
    sizes: tuple[tuple[int, int], tuple[int, int]]
    rows_at_once: int
    stride: int
    reach: int
    top: int
    window: int
    window_bytes: int
    row_bytes: int
    whole_bytes: int
    bands: int

    def results(self, band: int) -> range:
        """Rows of results of a band."""
        first = band * self.rows_at_once
        return range(first, min(first + self.rows_at_once, self.sizes[1][0]))

    def reads(self, band: int) -> range:
        """Rows of what is expanded that a band reads; some may lie outside of the image."""
        rows = self.results(band)
        first = rows.start * self.stride - self.top
        return range(first, (rows.stop - 1) * self.stride - self.top + self.reach)

    def kept(self, band: int) -> range:
        """Rows of these that the band before has computed."""
        reads = self.reads(band)
        return range(
            reads.start, max(reads.start, self.reads(band - 1).stop) if band else reads.start
        )


def band_of(subject: Subject, path: str) -> BandFacts:
    """Read how a block runs by rows.

    Raises:
        LookupError: If it does not, with a convolution before the depthwise one.
    """
    for operation in subject.plan.operations:
        names = [stage.name for stage in operation.stages]
        if operation.path.startswith(f"{path}.") and len(names) == 3:
            break
    else:
        raise LookupError(f"{path!r} is no block of three convolutions that run by rows")
    head, depthwise, tail = (subject.rewritten[name] for name in names)
    assert isinstance(depthwise, Convolution)
    assert isinstance(operation.work, BandWork)
    work, source = operation.work, subject.rewritten[head.inputs[0]]
    window = kept_rows(depthwise, work.rows_at_once)
    return BandFacts(
        path=path,
        channels=(source.shape[1], head.shape[1], tail.shape[1]),
        sizes=((head.shape[2], head.shape[3]), (tail.shape[2], tail.shape[3])),
        rows_at_once=work.rows_at_once,
        stride=work.window_stride,
        reach=reached_rows(depthwise),
        top=work.window_top,
        window=window,
        window_bytes=4 * window * work.window_row,
        row_bytes=4 * work.row_row,
        whole_bytes=4 * head.shape[1] * head.shape[2] * head.shape[3],
        bands=work.bands,
    )


TOP, SCALE, ROW = 112, 5.4, 30
INPUT, WINDOW, LINE, OUTPUT = 20, 240, 526, 740
NARROW, WIDE, SHORT = 110, 176, 120


def draw_band(facts: BandFacts, band: int) -> str:
    """Draw one band: what it reads, its window, its row, its results.

    The colour of a row is that of the convolution that computes it.
    """
    (in_rows, _), (out_rows, _) = facts.sizes
    height = TOP + max(in_rows, out_rows) * SCALE
    drawing = Drawing(height + 90, f"A band of rows of {facts.path}")
    results = facts.results(band)
    title = (
        f"{facts.path} by rows: band {band} of 0 – {facts.bands - 1}, "
        f"rows {results.start} – {results.stop - 1} of the results"
    )
    drawing.text(20, 32, title, size=16, bold=True)
    _plane(drawing, INPUT, in_rows, "input, in memory", facts.channels[0])
    _plane(drawing, OUTPUT, out_rows, "results, in memory", facts.channels[2])
    _mark(drawing, OUTPUT, results, POINTWISE)
    inside = [row for row in facts.reads(band) if 0 <= row < in_rows]
    fresh = [row for row in inside if row not in facts.kept(band)]
    _mark(drawing, INPUT, inside, RULE)
    _mark(drawing, INPUT, fresh, POINTWISE)
    _window(drawing, facts, band)
    _line(drawing, facts, results.start)
    _arrows(drawing, facts, fresh, results)
    for number, words in enumerate(_said(facts)):
        drawing.text(20, height + 30 + 20 * number, words)
    return drawing.svg()


def _said(facts: BandFacts) -> tuple[str, ...]:
    return (
        f"All {facts.sizes[0][0]} rows of {facts.channels[1]} channels would be "
        f"{facts.whole_bytes / 1e6:.1f} MB. They never exist: {facts.window} rows, "
        f"{facts.window_bytes / 1e3:.0f} KB, stay in the core's own cache.",
        f"A thread that goes on with the next band moves the last {facts.reach - facts.stride} "
        "rows to the window's start.",
        "One that begins anew computes all rows of its window.",
    )


def _plane(drawing: Drawing, x: float, rows: int, title: str, channels: int) -> None:
    _head(drawing, x, title, f"{rows} rows, {channels} channels")
    for row in range(rows):
        drawing.box(x, TOP + row * SCALE, NARROW, SCALE - 1, fill=SHADE, edge=RULE, thickness=0.5)


def _head(drawing: Drawing, x: float, title: str, what: str) -> None:
    drawing.text(x, TOP - 34, title, bold=True)
    drawing.note(x, TOP - 15, what)


def _mark(drawing: Drawing, x: float, rows: Iterable[int], fill: str) -> None:
    for row in rows:
        drawing.box(x, TOP + row * SCALE, NARROW, SCALE - 1, fill=fill)


def _window(drawing: Drawing, facts: BandFacts, band: int) -> None:
    """Draw the window's rows, and which of them the first row of results reads."""
    _head(
        drawing,
        WINDOW,
        "window, the thread's own",
        f"{facts.window} rows, {facts.channels[1]} channels",
    )
    for place, row in enumerate(facts.reads(band)):
        y, is_kept = TOP + place * ROW, row in facts.kept(band)
        is_inside = 0 <= row < facts.sizes[0][0]
        fill = POINTWISE if is_inside else RULE
        drawing.box(WINDOW, y, WIDE, ROW - 3, fill=fill, opacity=0.18 if is_kept else 0.45)
        words = "zeros" if not is_inside else f"row {row}{', already there' if is_kept else ''}"
        drawing.text(WINDOW + 10, y + 18, words, size=12.5)
    x, end = WINDOW + WIDE + 5, TOP + facts.reach * ROW - 5
    drawing.line((x, TOP + 2), (x + 6, TOP + 2), (x + 6, end), (x, end))


def _line(drawing: Drawing, facts: BandFacts, row: int) -> None:
    size = f"{facts.channels[1]} channels, {facts.row_bytes / 1e3:.0f} KB"
    _head(drawing, LINE, "one row, likewise", size)
    y = TOP + facts.reach * ROW / 2
    drawing.box(LINE, y - 14, SHORT, ROW - 3, fill=DEPTHWISE, opacity=0.7)
    drawing.text(LINE + 10, y + 4, f"row {row}", size=12.5)


def _arrows(drawing: Drawing, facts: BandFacts, fresh: Sequence[int], results: range) -> None:
    """Draw who reads what."""
    source = TOP + SCALE * (fresh[0] + fresh[-1] + 1) / 2
    low, middle = TOP + (facts.window - len(fresh) / 2) * ROW, TOP + facts.reach * ROW / 2
    goal = TOP + SCALE * (results.start + 0.5)
    _arrow(drawing, (INPUT + NARROW, source), (WINDOW, low), "1x1, expand", POINTWISE)
    start = WINDOW + WIDE + 8
    _arrow(drawing, (start, middle), (LINE, middle), "depthwise", DEPTHWISE)
    _arrow(drawing, (LINE + SHORT, middle), (OUTPUT, goal), "1x1, project", POINTWISE)


def _arrow(drawing: Drawing, start: Point, end: Point, words: str, colour: str) -> None:
    (x1, y1), (x2, y2) = start, end
    drawing.line((x1 + 6, y1), (x2 - 6, y2), arrow=True, thickness=1.5)
    x, y = (x1 + x2) / 2, max(y1, y2) + 26
    drawing.text(x, y, words, size=12.5, anchor="middle", bold=True)
    drawing.box(x - 30, y + 6, 60, 4, fill=colour)
