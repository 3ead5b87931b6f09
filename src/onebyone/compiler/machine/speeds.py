"""How fast a machine is, as data: all that the cost model knows of one, and how well."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Self

KB, MB = 1 << 10, 1 << 20


@dataclass(frozen=True, slots=True)
class Reading:
    """How fast is read what a core goes through again and again: so many bytes."""

    size_bytes: int
    bytes_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """What a machine does in a second.

    Args:
        steps_per_second: Vector multiply-adds of one core, in registers, in the target's vectors.
        readings: How fast one core reads, the smallest size first.
        cores: Cores that were measured together.
        all_steps_per_second: As `steps_per_second`, all cores together.
        all_readings: As `readings`, where each core goes through so much of its own; the sum.
        handed_bytes_per_second: How fast one core reads what another has just written.
        wait_seconds: What it takes until all cores have seen that all have arrived.
        bf16_macs_per_second: Multiply-adds of bfloat16 of one core, as the target does them; 0 if
            it does none.
        all_bf16_macs_per_second: The same, all cores together.
    """

    steps_per_second: float
    readings: tuple[Reading, ...]
    cores: int
    all_steps_per_second: float
    all_readings: tuple[Reading, ...]
    handed_bytes_per_second: float
    wait_seconds: float
    bf16_macs_per_second: float
    all_bf16_macs_per_second: float

    def bytes_per_second(self, size_bytes: float) -> float:
        """Return how fast one core reads what it goes through again and again.

        Between two sizes that were measured, rates follow a straight line over the logarithms.
        """
        return rate_between(self.readings, size_bytes)

    @property
    def of_one_core(self) -> "Speeds":
        """What one core does alone: the same however many are at hand."""
        return replace(
            self,
            cores=1,
            all_steps_per_second=self.steps_per_second,
            all_readings=self.readings,
            all_bf16_macs_per_second=self.bf16_macs_per_second,
            handed_bytes_per_second=self.readings[0].bytes_per_second,
            wait_seconds=NOMINAL.wait_seconds,
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)

    @classmethod
    def of_json(cls, facts: Mapping[str, Any]) -> Self:
        """Return what `to_json` made.

        Raises:
            KeyError, TypeError, ValueError: If it is something else.
        """
        known: dict[str, Any] = dict(facts)
        for name in ("readings", "all_readings"):
            known[name] = tuple(Reading(**reading) for reading in facts[name])
        speeds = cls(**known)
        if (
            not (speeds.readings and speeds.all_readings)
            or not all(_is_positive(one) for one in speeds._numbers())
            or min(speeds.bf16_macs_per_second, speeds.all_bf16_macs_per_second) < 0
        ):
            raise ValueError("a machine does something in a second")
        return speeds

    def _numbers(self) -> Iterator[float]:
        yield from (self.cores, self.wait_seconds, self.handed_bytes_per_second)
        yield from (self.steps_per_second, self.all_steps_per_second)
        for one in (*self.readings, *self.all_readings):
            yield from (one.size_bytes, one.bytes_per_second)


def rate_between(readings: Sequence[Reading], size_bytes: float) -> float:
    """Return the rate at a size; beyond the first and the last reading it is theirs."""
    if size_bytes <= readings[0].size_bytes:
        return readings[0].bytes_per_second
    for one, following in pairwise(readings):
        if size_bytes <= following.size_bytes:
            share = math.log(size_bytes / one.size_bytes, following.size_bytes / one.size_bytes)
            return (
                one.bytes_per_second * (following.bytes_per_second / one.bytes_per_second) ** share
            )
    return readings[-1].bytes_per_second


def _is_positive(number: Any) -> bool:
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return is_number and math.isfinite(float(number)) and float(number) > 0


_READINGS = (
    Reading(512 * KB, 120e9),
    Reading(2 * MB, 80e9),
    Reading(8 * MB, 60e9),
    Reading(64 * MB, 25e9),
)

NOMINAL = Speeds(
    steps_per_second=4e9,
    readings=_READINGS,
    cores=1,
    all_steps_per_second=4e9,
    all_readings=_READINGS,
    handed_bytes_per_second=20e9,
    wait_seconds=1e-6,
    bf16_macs_per_second=1e12,
    all_bf16_macs_per_second=1e12,
)
"""What is assumed of a machine that nobody has measured: round numbers of a common server."""


LARGEST_SPREAD = 0.1
"""Of the middle round over the fastest; beyond it somebody else uses the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was measured, and how well.

    Args:
        speeds: What the machine does.
        spread: How much longer the middle round of multiply-adds took than the fastest; 0.1 is
            10 %.
        measured_at: Seconds since 1970.
    """

    speeds: Speeds
    spread: float
    measured_at: float

    @property
    def is_steady(self) -> bool:
        """Whether the machine did nothing else, as far as one can see."""
        return self.spread <= LARGEST_SPREAD

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        facts = {"spread": self.spread, "measured_at": self.measured_at}
        return {"speeds": self.speeds.to_json(), **facts}

    @classmethod
    def of_json(cls, facts: Mapping[str, Any]) -> Self:
        """Return what `to_json` made.

        Raises:
            KeyError, TypeError, ValueError: If it is something else.
        """
        return cls(
            speeds=Speeds.of_json(facts["speeds"]),
            spread=float(facts["spread"]),
            measured_at=float(facts["measured_at"]),
        )
