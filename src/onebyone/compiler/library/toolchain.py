"""The system's C compiler and archiver, and what they say when something is wrong."""

import platform
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onebyone.errors import CompileError, first_line

FLAGS = ("-std=c99", "-O2", "-fPIC", "-Wall", "-Wextra", "-pthread")
SECONDS = 300


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A C compiler, with its first arguments, and an archiver."""

    compiler: tuple[str, ...]
    archiver: str

    def compile(self, folder: Path, source: str, result: str) -> None:
        """Compile a C file of a folder to an object file."""
        self._run(folder, *self.compiler, *FLAGS, "-c", source, "-o", result)

    def link(self, folder: Path, objects: Sequence[str], result: str, script: str) -> None:
        """Link objects to a shared library that shows only what a version script names."""
        options = [f"-Wl,-soname,{result}", f"-Wl,--version-script={script}", "-Wl,-z,now"]
        options += ["-Wl,-z,noexecstack", "-Wl,--no-undefined", "-Wl,-s"]
        self._run(folder, *self.compiler, "-shared", "-pthread", *options, "-o", result, *objects)

    def archive(self, folder: Path, objects: Sequence[str], result: str) -> None:
        """Put objects into a static library."""
        self._run(folder, self.archiver, "rcsD", result, *objects)

    def _run(self, folder: Path, *command: str) -> None:
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=SECONDS
            )
        except OSError as error:
            raise CompileError(f"{command[0]} does not run ({error.strerror})") from error
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "error" in line]
            said = (lines or done.stderr.splitlines() or ["nothing"])[0]
            raise CompileError(
                f"{command[0]} ended with status {done.returncode} and said: "
                f"{first_line(ValueError(said))}"
            )


def find_toolchain(architecture: str, cc: str | None = None) -> Toolchain:
    """Return the compiler for an architecture: the one that is named, or the system's.

    Args:
        architecture: As Linux calls it, such as "aarch64".
        cc: A compiler's command, as the variable CC of the environment has it.

    Raises:
        CompileError: If there is none; says what to install.
    """
    is_cross = architecture != platform.machine()
    prefix = f"{architecture}-linux-gnu-" if is_cross else ""
    names = [f"{prefix}gcc"] if is_cross else ["cc", "gcc", "clang"]
    wanted = tuple(shlex.split(cc)) if cc else ()
    if not wanted:
        wanted = tuple(name for name in names if shutil.which(name))[:1]
    if not wanted or not shutil.which(wanted[0]):
        raise CompileError(
            f"a C compiler for {architecture} was wanted, and there is no program "
            f"{wanted[0] if wanted else names[0]!r}; install one (apt-get install "
            f"gcc{f'-{architecture}-linux-gnu' if is_cross else ''} libc6-dev) or name it: CC=..."
        )
    beside = wanted[0].removesuffix("gcc") + "ar" if wanted[0].endswith("-gcc") else ""
    archiver = next((one for one in (beside, f"{prefix}ar", "ar") if one and shutil.which(one)), "")
    if not archiver:
        raise CompileError(f"no program {prefix}ar; it comes with the package binutils")
    return Toolchain(wanted, archiver)
