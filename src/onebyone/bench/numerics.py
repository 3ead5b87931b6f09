"""What engines compute with, and how near to float64 that has to come."""

from typing import Any

FP32, BF16 = "fp32", "bf16"

LARGEST_ERRORS = {FP32: 1e-3, BF16: 0.1}
"""Relative RMS beyond which an output is wrong, for each of the numerics that there are.

float32 engines differ by 1e-7 to 1e-5, with Winograd's convolutions at the upper end.

A bfloat16 has 8 digits, so rounding moves it by 2^-8 at most, and by 1.6e-3 in the root of the mean
square. A layer rounds its weights and what it stores, and engines that do not fuse round up to
four times between two convolutions: 4e-3 a layer. These errors are independent and add up in
squares: 0.04 after 100 layers, 0.06 after 250. The rest is for networks that amplify them.
"""


def label(engine: str, numerics: str) -> str:
    """Return what an engine is called in a comparison: float32 goes without saying.

    Example:
        >>> label("openvino", "bf16")
        'openvino bf16'
        >>> label("openvino", "fp32")
        'openvino'
    """
    return engine if numerics == FP32 else f"{engine} {numerics}"


def without_fp32(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields of a dataclass as JSON has them: float32 goes without saying."""
    return {name: value for name, value in fields if (name, value) != ("numerics", FP32)}
