"""What is drawn in which colour: kinds of layers and of operations, in the words of the field."""

from .drawing import BEND, DENSE, DEPTHWISE, HELP, NORM, OTHER, POINTWISE, SUM

COLOURS = {
    "1x1 convolution": POINTWISE,
    "depthwise": DEPTHWISE,
    "other convolution or linear": DENSE,
    "batch norm": NORM,
    "activation": BEND,
    "add": SUM,
    "input or pool": OTHER,
    "zeros around an image": HELP,
}
"""Kinds in the order of a legend."""


def kind_drawn(kind: str) -> str:
    """Return which of `COLOURS` a kind of node or operation is drawn as."""
    match kind.split():
        case ["1x1", "convolution"]:
            return "1x1 convolution"
        case [*_, "depthwise"]:
            return "depthwise"
        case [*_, "convolution"] | ["linear", "layer"]:
            return "other convolution or linear"
        case ["batch", "norm"] | ["add"]:
            return kind
        case ["border"]:
            return "zeros around an image"
        case ["input"] | [*_, "pool"]:
            return "input or pool"
        case _:
            return "activation"
