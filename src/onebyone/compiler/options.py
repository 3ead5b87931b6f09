"""What a user may ask of the compiler, as data that has been checked."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from onebyone.compiler.memory.formats import BF16, FP16, FP32, Format
from onebyone.compiler.threads import MOST_THREADS, usable_cores
from onebyone.errors import ShapeError, UnknownNameError, check_choice, did_you_mean

NUMERICS = ("fp32", "fp32-direct", "fp16-weights", "bf16")
"""What results promise.

They are within 1e-5 of float64 (root of the mean square, relative) or, where the network itself
amplifies rounding beyond that, within 5 times the error of PyTorch's own float32.

"fp32" may compute convolutions by Winograd's algorithm, "fp32-direct" does not.

"fp16-weights" is "fp32-direct", to the bit, with weights of dense convolutions and linear layers
that were rounded to halves (float16, 11 digits of 24) beforehand; they take half of the memory. A
layer that has weights beyond the range of halves, 65504, keeps float32.

"bf16" promises less, for speed where the processor multiplies bfloat16: values between layers and
weights of dense convolutions are rounded to it, 8 digits of float32's 24. Sums are float32.
"""

TUNINGS = ("estimate", "measure", "patient")
"""How tiles, loops and parts of layers are chosen; no choice changes a bit of the results.

"estimate" takes what the cost model expects to be the fastest. "measure" times the few likely ways
of each layer in the network, once, and keeps what it finds; "patient" times more of them.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileOptions:
    """Hold what every door of the compiler takes, from there to the plan.

    Args:
        threads: Threads to run on; as many as there are cores for this process if None.
        numerics: What results promise, one of `NUMERICS`.
        tune: How layers' ways are chosen, one of `TUNINGS`.
        strict: Whether an operator without native code is an error, and not left to PyTorch.

    Raises:
        ShapeError: If `threads` or `strict` is not what it may be.
        UnknownNameError: If `numerics` or `tune` is none of the known words.

    Example:
        >>> CompileOptions(threads=2)
        CompileOptions(threads=2, numerics='fp32', tune='estimate', strict=False)
    """

    threads: int | None = None
    numerics: str = "fp32"
    tune: str = "estimate"
    strict: bool = False

    def __post_init__(self) -> None:
        """Check each value, whoever gave it."""
        is_whole = isinstance(self.threads, int) and not isinstance(self.threads, bool)
        if self.threads is not None and not (is_whole and 1 <= self.threads <= MOST_THREADS):
            raise ShapeError(
                f"`threads` (={self.threads!r}) must be 1 to {MOST_THREADS}, a whole number, "
                "or None for all cores at hand"
            )
        check_choice("numerics", self.numerics, NUMERICS)
        check_choice("tune", self.tune, TUNINGS)
        if type(self.strict) is not bool:
            raise ShapeError(f"`strict` (={self.strict!r}) must be True or False")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return what the options are called."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def named(cls, given: Mapping[str, Any]) -> Self:
        """Return the options of a dictionary, as `torch.compile` takes them.

        Raises:
            UnknownNameError: If there is no option of a name; says which there are.
            ShapeError: If a value is not what it may be.
        """
        known = cls.names()
        for name in given:
            if name not in known:
                raise UnknownNameError(
                    f"no option {name!r}{did_you_mean(str(name), known) or ';'} "
                    f"there are {', '.join(known)}"
                )
        return cls(**given)

    @property
    def thread_count(self) -> int:
        """Threads to run on: those asked for, or a thread for each core of this process."""
        return self.threads or usable_cores()

    @property
    def allows_winograd(self) -> bool:
        """Whether convolutions may be computed by Winograd's algorithm."""
        return self.numerics == "fp32"

    @property
    def weights(self) -> Format:
        """In which format weights of dense convolutions lie, if it has room for them."""
        return {"bf16": BF16, "fp16-weights": FP16}.get(self.numerics, FP32)

    @property
    def values(self) -> Format:
        """In which format values lie between layers."""
        return BF16 if self.numerics == "bf16" else FP32


DEFAULT_OPTIONS = CompileOptions()
"""What a user gets who asks for nothing."""
