"""How reports write numbers, shapes and names."""

from collections.abc import Sequence

from onebyone.explainer.cost import LayerCost, LayerKind
from onebyone.explainer.structure.patterns import Pattern
from onebyone.explainer.structure.roles import Role

CONVENTION = (
    "Multiply-adds (MACs) are those of convolutions, linear layers and other matrix products that "
    "depend on the input, as torch.utils.flop_counter counts them (1 MAC = 2 FLOPs); biases, "
    "norms, activations, pools and sums count as nothing. Numbers are float32, 4 bytes each."
)

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))

ROLES = {
    Role.REDUCE: ("reduction", "reductions"),
    Role.EXPAND: ("expansion", "expansions"),
    Role.MIX: ("mix of equal width", "mixes of equal width"),
    Role.SHORTCUT: ("shortcut projection", "shortcut projections"),
    Role.MERGE: ("merge of branches", "merges of branches"),
    Role.PROJECT: ("linear projection", "linear projections"),
    Role.GATE: ("gate", "gates"),
    Role.HEAD: ("head", "heads"),
}
"""Roles in a sentence: one, and several."""


PATTERNS = {
    Pattern.FILTER_EXPANSION: "restore the width of a residual stream, linearly",
    Pattern.BOTTLENECK: "are in bottlenecks (large, small, large)",
    Pattern.INVERTED_BOTTLENECK: "are in inverted bottlenecks (small, large, small)",
    Pattern.INCEPTION: "are in the branches of inception blocks",
    Pattern.SEPARABLE: "mix what a depthwise convolution gives",
    Pattern.MLPCONV: "are in mlpconv blocks",
    Pattern.HEAD_FEATURES: "make the features of the head",
}
"""What 1x1s of a pattern do, behind their number."""


def amount(number: float, digits: int = 3) -> str:
    """Write a number with a unit and so many digits.

    Example:
        >>> amount(25_557_032), amount(4_089_184_256), amount(640), amount(0)
        ('25.6 M', '4.09 G', '640', '0')
    """
    for size, unit in _UNITS:
        if abs(number) >= size * (1 - 0.5 * 10**-digits):
            return f"{_rounded(number / size, digits)} {unit}"
    return f"{number:.{digits}g}"


def byte_amount(number: float) -> str:
    """Write a number of bytes.

    Example:
        >>> byte_amount(12_845_056)
        '12.8 MB'
    """
    written = amount(number)
    return written + "B" if written[-1].isalpha() else f"{written} B"


def seconds_amount(seconds: float) -> str:
    """Write a time.

    Example:
        >>> seconds_amount(0.01234), seconds_amount(2.5e-5), seconds_amount(3)
        ('12.3 ms', '25.0 us', '3.00 s')
    """
    for size, unit in ((1, "s"), (1e-3, "ms")):
        if seconds >= size:
            return f"{_rounded(seconds / size, 3)} {unit}"
    return f"{_rounded(seconds * 1e6, 3)} us"


def times(factor: float) -> str:
    """Write a factor.

    Example:
        >>> times(6.334), times(0.0931), times(13.57)
        ('6.3 x', '0.09 x', '13.6 x')
    """
    return f"{factor:.1f} x" if factor >= 1 else f"{factor:.2f} x"


def shape_text(shape: Sequence[int]) -> str:
    """Write a shape.

    Example:
        >>> shape_text((1, 3, 224, 224))
        '1x3x224x224'
    """
    return "x".join(map(str, shape))


def layer_words(layer: LayerCost) -> str:
    """Write what a layer is, such as "7x7 /2", "depthwise 3x3" or "linear"."""
    if layer.kernel_size is None:
        return layer.kind.value
    kind = f"{layer.kind.value} " if layer.kind is LayerKind.DEPTHWISE else ""
    groups = f" in {layer.groups} groups" if layer.groups > 1 and not kind else ""
    stride = f" /{max(layer.stride)}" if max(layer.stride) > 1 else ""
    return f"{kind}{shape_text(layer.kernel_size)}{stride}{groups}"


def counted(count: int, one: str, many: str) -> str:
    """Write how many there are of something.

    Example:
        >>> counted(1, "gate", "gates"), counted(16, "gate", "gates")
        ('1 gate', '16 gates')
    """
    return f"{count:,} {one if count == 1 else many}"


def listed(parts: Sequence[str]) -> str:
    """Join parts of a sentence.

    Example:
        >>> listed(["a"]), listed(["a", "b", "c"])
        ('a', 'a, b and c')
    """
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def _rounded(number: float, digits: int) -> str:
    whole = len(str(int(abs(number))))
    return f"{number:.{max(digits - whole, 0)}f}"
