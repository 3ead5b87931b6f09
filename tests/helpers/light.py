"""Python as it is where only some packages are installed: for subprocesses.

`python -m tests.helpers.light NAMES SCRIPT [ARGUMENT...]` runs a script that finds, of what is
installed, nothing but the distributions NAMES (between commas), and what those need themselves.
"""

import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata, util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]

CORE = ("torch", "numpy", "llvmlite", "safetensors")
"""What `pip install onebyone` may need."""


def needed_by(names: Iterable[str]) -> set[str]:
    """The distributions of these names, and all that they need without extras."""
    found: set[str] = set()
    waiting = [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        needs = map(Requirement, metadata.requires(name) or ())
        waiting += [
            canonicalize_name(need.name)
            for need in needs
            if need.marker is None or need.marker.evaluate({"extra": ""})
        ]
    return found


def requirements_of(extra: str) -> list[str]:
    """The names of what an extra asks for; of ours, what those ask for."""
    names: list[str] = []
    for requirement in map(Requirement, PROJECT["optional-dependencies"][extra]):
        if requirement.name == "onebyone":
            names += [name for inner in requirement.extras for name in requirements_of(inner)]
        else:
            names.append(requirement.name)
    return names


def modules_of(names: Iterable[str]) -> set[str]:
    """What these distributions are imported as."""
    names = set(names)
    return {
        module
        for module, distributions in metadata.packages_distributions().items()
        if names & {canonicalize_name(one) for one in distributions}
    }


def hide_all_but(names: Iterable[str]) -> None:
    """Let Python find no installed module but those of these distributions, and of onebyone."""
    shown = modules_of(needed_by(names)) | {"onebyone"}
    hidden = set(metadata.packages_distributions()) - shown - set(sys.stdlib_module_names)
    sys.meta_path[:] = [_Without(finder, hidden) for finder in sys.meta_path]
    for module in list(sys.modules):
        if module.partition(".")[0] in hidden:
            del sys.modules[module]


class _Without:
    """A finder of modules that does not find some."""

    def __init__(self, finder, hidden: set[str]) -> None:
        self._finder, self._hidden = finder, hidden

    def __getattr__(self, name: str):
        return getattr(self._finder, name)

    def find_spec(self, name, path=None, target=None) -> ModuleSpec | None:
        if name.partition(".")[0] in self._hidden:
            return None
        return self._finder.find_spec(name, path, target)


def hide(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Let our own code find that these packages are not installed."""
    monkeypatch.setattr(
        "onebyone.packages.find_spec",
        lambda name: None if name in packages else util.find_spec(name),
    )


def run_light(
    script: str, *arguments: object, names: Iterable[str] = CORE
) -> subprocess.CompletedProcess[str]:
    """Run a script in a Python that has only the distributions of these names."""
    here = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.helpers.light", ",".join(names), script]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=here
    )


if __name__ == "__main__":
    _, listed, code, *given = sys.argv
    hide_all_but(listed.split(","))
    sys.argv = ["onebyone", *given]
    exec(compile(code, "<light>", "exec"), {"__name__": "light"})
