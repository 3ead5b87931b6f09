"""Packages that import what they offer when it is first asked for (PEP 562).

A program that only prints its help, or finds a misspelt name, need not wait for torch.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def offer(
    package: str, names: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` of a package, which imports what a name stands for, and `__dir__`.

    No function may have the name of a module beside it: whoever imports that module would put it in
    the function's place. `tests/test_layout.py` looks for such names.

    Args:
        package: Full name of the package.
        names: What it offers, between spaces, by the full name of the module that has it; the
            package itself has its own modules. "compile_model=compile" is offered as "compile".

    Example:
        >>> find, _ = offer("shapes", {"math": "pi sqrt=root"})
        >>> find("root")(81.0)
        9.0
    """
    places: dict[str, tuple[str, str]] = {}
    for module, offered in names.items():
        for name in offered.split():
            attribute, _, alias = name.partition("=")
            places[alias or attribute] = module, attribute

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, attribute = places[name]
        if module == package:
            return import_module(f"{package}.{attribute}")
        return getattr(import_module(module), attribute)

    def show() -> list[str]:
        return sys.modules[package].__all__

    return find, show
