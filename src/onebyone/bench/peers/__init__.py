"""The engines that can be compared with: one file each, which is found here by its name.

A peer's module has `PACKAGE`, the package on PyPI that it comes in, or "" if that is torch, and
`engines(export)`, which returns an `Engine` for each of the numerics that it can compute with,
float32 first; those that read ONNX share one export. If it needs other packages, they are its
`NEEDS`.
"""

from pkgutil import iter_modules


def find_names() -> tuple[str, ...]:
    """Return the names of those that there are."""
    return tuple(sorted(module.name for module in iter_modules(__path__)))


PEERS = find_names()

DEFAULT_PEERS = ("eager", "inductor", "onnxruntime", "openvino")
"""Those that we are compared with if no others are asked for; the extra `bench` brings them.

Each of the others has an extra that is called as it is.
"""
