"""Which input rows (or columns) each output row of a pooling layer reads, as PyTorch counts."""

from onebyone.graph.graph import Window


def max_windows(
    size: int, kernel: int, stride: int, padding: int, *, ceil_mode: bool
) -> tuple[Window, ...]:
    """Return the windows of max pooling over `size` rows.

    Example:
        >>> [(w.start, w.stop) for w in max_windows(5, 3, 2, 1, ceil_mode=False)]
        [(0, 2), (1, 4), (3, 5)]
    """
    count = output_size(size, kernel, stride, padding, ceil_mode=ceil_mode)
    return tuple(_cut(i * stride - padding, kernel, size) for i in range(count))


def average_windows(
    size: int, kernel: int, stride: int, padding: int, *, ceil_mode: bool, count_padding: bool
) -> tuple[Window, ...]:
    """Return the windows of average pooling; rows beyond the padding never count."""
    windows: list[Window] = []
    for i in range(output_size(size, kernel, stride, padding, ceil_mode=ceil_mode)):
        start = i * stride - padding
        inside = _cut(start, kernel, size)
        count = min(start + kernel, size + padding) - start if count_padding else inside.count
        windows.append(Window(inside.start, inside.stop, count))
    return tuple(windows)


def adaptive_windows(size: int, outputs: int) -> tuple[Window, ...]:
    """Return the windows that share `size` rows among `outputs`; uneven ones overlap.

    Example:
        >>> [(w.start, w.stop) for w in adaptive_windows(5, 3)]
        [(0, 2), (1, 4), (3, 5)]
    """
    starts = [i * size // outputs for i in range(outputs)]
    stops = [-(-(i + 1) * size // outputs) for i in range(outputs)]
    return tuple(Window(a, b, b - a) for a, b in zip(starts, stops, strict=True))


def global_window(size: int) -> tuple[Window, ...]:
    """Return the one window of all rows."""
    return (Window(0, size, size),)


def unit_windows(size: int) -> tuple[Window, ...]:
    """Return a window for each row, which leaves rows as they are."""
    return tuple(Window(i, i + 1, 1) for i in range(size))


def output_size(size: int, kernel: int, stride: int, padding: int, *, ceil_mode: bool) -> int:
    """Return how many windows there are."""
    room = size + 2 * padding - kernel
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    # Rounding up may give a window that starts in the padding behind the image: it is dropped.
    return count - 1 if ceil_mode and (count - 1) * stride >= size + padding else count


def _cut(start: int, kernel: int, size: int) -> Window:
    first, last = max(start, 0), min(start + kernel, size)
    return Window(first, last, last - first)
