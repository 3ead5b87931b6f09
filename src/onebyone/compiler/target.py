"""The machines that code is generated for, as data."""

import functools
import platform
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Literal

from onebyone.compiler.machine.speeds import NOMINAL, Speeds
from onebyone.compiler.processor import may_use_tiles, this_processor
from onebyone.errors import CompileError, UnknownNameError, did_you_mean

Bf16 = Literal["", "pairs", "tiles"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the planner and the code generator need to know of a processor.

    Args:
        name: What a person calls it.
        triple: LLVM's name of architecture and system.
        cpu: LLVM's name of the model that is scheduled for.
        features: LLVM's switches, `+avx2` or `-prefer-256-bit`.
        lanes: float32 numbers of one vector register.
        narrowest_lanes: Those of the narrowest vector that takes less time than a wider one, at
            least on some of the processors.
        registers: Vector registers.
        spare_registers: Those that a tile leaves to LLVM's scheduler, which spills without.
        tile_pixels: Pixels of a tile whose addresses fit the general registers.
        bf16: How it multiplies bfloat16: pairs of numbers in vectors, in tiles of a matrix, or "".
        has_halves: Whether it makes float32 of a vector of halves in one instruction.
        has_fma: Whether multiply and add are one instruction (and one rounding).
        pause: Intrinsic (and its arguments) that tells the processor that a thread only waits.
        futex: Number of the system call that threads sleep and are woken with.
        gettid: Number of the system call that tells a thread its own number.
        level2_bytes: Private cache of a core, which decides the order of loops.
        speeds: How fast a machine with it is.
        needs: Features, as Linux names them, that a processor must have to run the code.
    """

    name: str
    triple: str
    cpu: str
    features: tuple[str, ...]
    lanes: int
    narrowest_lanes: int
    registers: int
    spare_registers: int = 0
    tile_pixels: int = 12
    bf16: Bf16 = ""
    has_halves: bool = True
    has_fma: bool = True
    pause: tuple[str, tuple[int, ...]] = ("llvm.x86.sse2.pause", ())
    futex: int = 202
    gettid: int = 186
    level2_bytes: int = 1 << 20
    speeds: Speeds = NOMINAL
    needs: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """What code made for this target depends on: all that it says."""
        return " ".join(_constant(getattr(self, field.name)) for field in fields(self))

    def lanes_for(self, count: int) -> int:
        """Return the lanes of the narrowest vector worth having that holds `count` numbers."""
        return max(self.narrowest_lanes, 1 << (count - 1).bit_length())


def _constant(fact: object) -> str:
    """Show a fact, the same way in every process: a set's order is that of hashes, which differ."""
    return repr(sorted(map(repr, fact)) if isinstance(fact, frozenset) else fact)


X86 = "x86_64-unknown-linux-gnu"
HASWELL = frozenset({"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe"})
SKYLAKE = HASWELL | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


def _bf16(
    name: str, way: Bf16, features: tuple[str, ...] = (), needs: Collection[str] = ()
) -> Target:
    return Target(
        name=name,
        triple=X86,
        cpu="cooperlake",
        features=("-prefer-256-bit", *features),
        lanes=16,
        narrowest_lanes=8,
        registers=32,
        spare_registers=2,
        bf16=way,
        needs=SKYLAKE | {"avx512_bf16"} | set(needs),
    )


TARGETS = {
    target.name: target
    for target in (
        # LLVM would rather not use the widest registers on some models; we always gain from them.
        Target(
            name="avx512",
            triple=X86,
            cpu="skylake-avx512",
            features=("-prefer-256-bit",),
            lanes=16,
            narrowest_lanes=8,  # AMD's Zen 4 takes 512 bits in two halves
            registers=32,
            spare_registers=2,
            needs=SKYLAKE,
        ),
        _bf16("avx512-bf16", "pairs"),
        _bf16("amx", "tiles", features=("+amx-tile", "+amx-bf16"), needs={"amx_tile", "amx_bf16"}),
        Target(
            name="avx2",
            triple=X86,
            cpu="haswell",
            features=(),
            lanes=8,
            narrowest_lanes=8,
            registers=16,
            needs=HASWELL,
        ),
        Target(
            name="baseline",
            triple=X86,
            cpu="x86-64",
            features=(),
            lanes=4,
            narrowest_lanes=4,
            registers=16,
            has_halves=False,
            has_fma=False,
        ),
        Target(
            name="neon",
            triple="aarch64-unknown-linux-gnu",
            cpu="generic",
            features=("+neon",),
            lanes=4,
            narrowest_lanes=4,
            registers=32,
            tile_pixels=24,
            pause=("llvm.aarch64.hint", (1,)),
            futex=98,
            gettid=178,
        ),
    )
}
"""What can be compiled for, wherever we run; `host_target` picks one of them."""


def is_able(target: Target, numerics: str) -> bool:
    """Whether there is code for a target that promises such results."""
    return {"bf16": bool(target.bf16), "fp16-weights": target.has_halves}.get(numerics, True)


ABILITIES = {
    "bf16": ("multiplies bfloat16", "amx_bf16 or avx512_bf16"),
    "fp16-weights": ("converts halves", "f16c, with avx2 and fma"),
}
"""What some numerics need that not every processor does, and its features as Linux names them."""


def find_target(name: str) -> Target:
    """Return the target of that name.

    Raises:
        UnknownNameError: If there is none.
    """
    if name not in TARGETS:
        raise UnknownNameError(
            f"no target {name!r}{did_you_mean(name, TARGETS)}; there are {', '.join(TARGETS)}"
        )
    return TARGETS[name]


def runs_here(numerics: str) -> bool:
    """Whether there is a target that this processor can run, and that keeps what is promised."""
    return any(can_run(target) and is_able(target, numerics) for target in TARGETS.values())


@functools.cache
def host_target(numerics: str = "fp32") -> Target:
    """Return the best target that this processor can run: the widest; for "bf16", the fastest.

    Args:
        numerics: What results are to promise.

    Raises:
        CompileError: If there is none.
    """
    runnable = [target for target in TARGETS.values() if can_run(target)]
    if not runnable:
        raise CompileError(
            f"there is no code for this processor ({platform.machine()}, {platform.system()}); "
            "the compiler knows Linux on x86_64 and aarch64"
        )
    able = [target for target in runnable if is_able(target, numerics)]
    if not able:
        does, features = ABILITIES[numerics]
        raise CompileError(
            f"`numerics` (={numerics!r}) needs a processor that {does} ({features}), and "
            f"{this_processor().name or 'this one'} does not; 'fp32' runs here"
        )
    if numerics == "bf16":
        return max(able, key=lambda target: target.bf16 == "tiles")
    return max((one for one in able if not one.bf16), key=lambda target: target.lanes)


def can_run(target: Target) -> bool:
    """Whether code for a target runs on this processor."""
    architecture, _, system, _ = target.triple.split("-")
    fits = (architecture, system) == (platform.machine(), platform.system().lower())
    is_able = fits and target.needs <= this_processor().features
    return is_able and (target.bf16 != "tiles" or may_use_tiles())
