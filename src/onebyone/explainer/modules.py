"""Sub-totals by module, repeated blocks told once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleCost:
    """What one module costs, all within it included.

    Attributes:
        path: Its name in the network; "" is the network itself.
        kind: Name of its class.
        params: Learnable numbers, each counted once, where it is first met.
        macs: Multiply-adds of the layers within it.
        pointwise_macs: Of these, the 1x1 convolutions'.
        repeats: How many modules one after another are this one's like, itself included: same
            class, same layers, same shapes. `path` is then the first one's, and the numbers are one
            module's.
        last_path: Path of the last of them; `path` where there is one.
        children: Modules within it, in the order in which they run.
    """

    path: str
    kind: str
    params: int
    macs: int
    pointwise_macs: int
    repeats: int
    last_path: str
    children: tuple["ModuleCost", ...]
