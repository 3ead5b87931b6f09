"""In which formats numbers lie in memory."""

from dataclasses import dataclass

FLOAT_BYTES = 4
"""Memory is counted in floats of so many bytes."""


@dataclass(frozen=True, slots=True)
class Format:
    """Name a format of numbers, and say how many bytes one takes."""

    name: str
    number_bytes: int

    @property
    def per_float(self) -> int:
        """Numbers in the room of a float."""
        return FLOAT_BYTES // self.number_bytes


FP32 = Format("fp32", 4)

BF16 = Format("bf16", 2)
"""The upper half of a float32: as large a range, and 8 digits of 24."""

FP16 = Format("fp16", 2)
"""IEEE's half: 11 digits of 24, and no number beyond 65504."""

WIDE_BF16 = Format("wide-bf16", 4)
"""Numbers of bfloat16 in the room of float32: what is read more than once need not be spread."""
