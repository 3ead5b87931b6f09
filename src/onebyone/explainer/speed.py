"""How long a network takes on this machine, layer by layer, and what the machine could do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """What this machine can do at most, on all threads that were measured with.

    Attributes:
        macs_per_second: Multiply-adds of large float32 products.
        bytes_per_second: Read from memory, and written to it.
    """

    macs_per_second: float
    bytes_per_second: float

    def seconds(self, macs: int, moved_bytes: int) -> float:
        """Return how long work takes at least: the slower of computing and of moving."""
        return max(macs / self.macs_per_second, moved_bytes / self.bytes_per_second)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTime:
    """How long one layer takes.

    Attributes:
        name: Of its node in the graph, as in `LayerCost`.
        torch_seconds: In PyTorch, by itself: without the norm and activation behind it.
        engine_seconds: In compiled code, with all that is fused into it; where several layers run
            as one, each has its share by multiply-adds. None where the network, or this layer, is
            not compiled.
    """

    name: str
    torch_seconds: float
    engine_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How long a network takes.

    Attributes:
        layers: Those that have multiply-adds, in the order in which they run.
        torch_seconds: The whole network in PyTorch, median.
        engine_seconds: The whole network compiled, median; None where it is not compiled.
        ceilings: What the machine could do.
        threads: Threads that were used.
        machine: What it was measured on, in words.
        why_not_compiled: Why there is no time of compiled code; "" where there is.
    """

    layers: tuple[LayerTime, ...]
    torch_seconds: float
    engine_seconds: float | None
    ceilings: Ceilings
    threads: int
    machine: str
    why_not_compiled: str = ""
