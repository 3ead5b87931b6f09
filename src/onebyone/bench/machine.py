"""What the machine is that a measurement was made on."""

import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from onebyone.bench.engines import peer_packages
from onebyone.compiler import usable_cores
from onebyone.compiler.processor import CPUINFO, read_processor

# What decides how fast float32 products are; the kernel spells them so.
_INSTRUCTION_SETS = (
    "sse4_2", "avx", "fma", "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile",
    "asimd", "sve",
)  # fmt: skip
_PACKAGES = ("onebyone", "torch", "llvmlite", "onnx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine, and the engines on it.

    Attributes:
        cpu: Model name of the processor.
        cores: Cores that this process may use.
        isa: Instruction sets that it has, of those that matter here.
        system: Operating system and architecture.
        python: Version of Python.
        packages: Version of each engine; None if it is not installed.
    """

    cpu: str
    cores: int
    isa: tuple[str, ...]
    system: str
    python: str
    packages: dict[str, str | None]

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)

    def __str__(self) -> str:
        """Return it as one line."""
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        engines = (f"{name} {version}" for name, version in self.packages.items() if version)
        return f"{self.cpu}, {cores}, {' '.join(self.isa)}; {', '.join(engines)}"


def describe_machine(cpuinfo: Path = CPUINFO) -> Machine:
    """Describe the machine that this runs on; `cpuinfo` is where Linux describes its processor."""
    processor = read_processor(cpuinfo)
    return Machine(
        cpu=processor.name or platform.processor() or platform.machine(),
        cores=usable_cores(),
        isa=tuple(name for name in _INSTRUCTION_SETS if name in processor.features),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: _version(name) for name in (*_PACKAGES, *peer_packages())},
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
