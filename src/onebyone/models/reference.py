"""What a user calls a model, read before anything of it is loaded (and before torch is)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onebyone.errors import ModelError, UnknownNameError, WeightsError, did_you_mean
from onebyone.files import check_file

ZOO_NAMES = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
    "resnet164",
    "inception_resnet_v2",
    "googlenet",
    "googlenet_5x5",
    "nin_imagenet",
    "nin_cifar10",
    "mobilenet_v2",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "efficientnet_lite3",
    "efficientnet_lite4",
)
"""The names in `registry.ZOO`, in its order; building that takes torch, and reading these does not.
"""

PACKAGES = ("timm", "torchvision")
"""Packages whose networks go by "package:name"."""

SUFFIX = ".safetensors"
"""What the name of a checkpoint ends in."""

WEIGHT_SUFFIXES = (SUFFIX, ".pth", ".pt", ".bin", ".ckpt", ".tar")
"""Names of weight files end in one of these."""


@dataclass(frozen=True, slots=True)
class ZooName:
    """A network of the zoo."""

    name: str


@dataclass(frozen=True, slots=True)
class PackageName:
    """A network of another package."""

    package: str
    name: str


@dataclass(frozen=True, slots=True)
class FileFactory:
    """A function in a user's Python file that returns a network."""

    path: Path
    factory: str


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """A file that `save` wrote."""

    path: Path


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """An ONNX file.

    Attributes:
        path: Where it is.
        size: Height and width of its images, if the file leaves them open; None for the file's.
    """

    path: Path
    size: tuple[int, int] | None = None

    def __str__(self) -> str:
        """Return what a user calls it."""
        return f"{self.path}:{self.size[0]}x{self.size[1]}" if self.size else str(self.path)


Reference = ZooName | PackageName | FileFactory | CheckpointFile | OnnxFile

_FACTORY = re.compile(r"(?P<path>.+\.py):(?P<factory>\w+)")
_ONNX = re.compile(r"(?P<path>.+\.onnx)(:(?P<size>.*))?", re.IGNORECASE | re.DOTALL)
_SIZE = re.compile(r"(?P<height>[1-9]\d{0,4})(x(?P<width>[1-9]\d{0,4}))?")
_ADDRESS = re.compile(r"\w+://.*", re.DOTALL)
_PACKAGE = re.compile(r"(?P<package>[A-Za-z]\w*):(?P<name>.*)", re.DOTALL)
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")

_FROM_PYTORCH = "name the PyTorch network that it was made from, as file.py:FUNCTION"
# What else users hand over, by the end of its name: what it is, and what to do.
_FOREIGN: Mapping[str, tuple[str, str]] = {
    ".pt2": ("an exported program, and those cannot be read", _FROM_PYTORCH),
    ".pkl": ("a pickle, which is not loaded because it could run code", _FROM_PYTORCH),
    ".tflite": ("a TensorFlow Lite file, and those cannot be read", _FROM_PYTORCH),
    ".pb": ("a TensorFlow file, and those cannot be read", _FROM_PYTORCH),
    ".h5": ("a Keras file, and those cannot be read", _FROM_PYTORCH),
    ".keras": ("a Keras file, and those cannot be read", _FROM_PYTORCH),
    ".xml": ("an OpenVINO file, and those cannot be read", _FROM_PYTORCH),
    **dict.fromkeys(
        (".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif"),
        ("a photo, and the model comes before the photos", "onebyone predict MODEL PHOTO..."),
    ),
}


def read_reference(model: str) -> Reference:
    """Return what a text stands for: a name that is known, or a file that may be there.

    Raises:
        UnknownNameError: If it is none of the zoo's names, and no other kind of reference.
        ModelError: If it stands for something that networks are not read from.
    """
    if model in ZOO_NAMES:
        return ZooName(model)
    if match := _FACTORY.fullmatch(model):
        return FileFactory(Path(match["path"]), match["factory"])
    if (match := _ONNX.fullmatch(model)) and not _ADDRESS.fullmatch(model):
        return OnnxFile(Path(match["path"]), _read_size(model, match["size"]))
    if model.endswith(SUFFIX) and not _ADDRESS.fullmatch(model):
        return CheckpointFile(Path(model))
    _refuse_other_files(model)
    if match := _PACKAGE.fullmatch(model):
        return _package_name(match["package"], match["name"])
    raise unknown_model(model)


def check_reference(model: str) -> Reference:
    """Return what a text stands for, having seen that a file of that name is there.

    Raises:
        OneByOneError: As `read_reference`; ModelError or WeightsError if the file is not there.
    """
    reference = read_reference(model)
    if isinstance(reference, FileFactory):
        check_file(reference.path, "a Python file", ModelError)
    elif isinstance(reference, CheckpointFile):
        check_file(reference.path, "a .safetensors file", WeightsError)
    elif isinstance(reference, OnnxFile):
        check_file(reference.path, "an ONNX file", ModelError)
    return reference


def default_weights(model: str) -> str | None:
    """Return the weights to use a model with when the user names none.

    Example:
        >>> default_weights("resnet50"), default_weights("mine.py:make")
        ('imagenet', None)
    """
    named = isinstance(read_reference(model), ZooName | PackageName)
    return "imagenet" if named else None


def unknown_model(name: str) -> UnknownNameError:
    """Return the error for a name that the zoo does not have; it names the nearest."""
    return UnknownNameError(
        f"no model {name!r}{did_you_mean(name, ZOO_NAMES) or ';'} `onebyone models` lists all"
    )


def is_weight_file(text: str) -> bool:
    """Say whether a text names a weight file, by its ending."""
    return text.endswith(WEIGHT_SUFFIXES)


def _read_size(model: str, size: str | None) -> tuple[int, int] | None:
    """Read "224" or "480x640" behind the name of a file."""
    if size is None:
        return None
    match = _SIZE.fullmatch(size)
    if match is None:
        raise ModelError(
            f"{model}: the size of images was wanted behind the colon, as net.onnx:224 or "
            f"net.onnx:480x640 (height, width); got {size!r}"
        )
    return int(match["height"]), int(match["width"] or match["height"])


def _package_name(package: str, name: str) -> PackageName:
    if package not in PACKAGES:
        raise UnknownNameError(
            f"no package {package!r} to take a model from{did_you_mean(package, PACKAGES) or ';'} "
            f"there are {' and '.join(PACKAGES)}"
        )
    if not name:
        raise UnknownNameError(f"{package}: is followed by the name of a network of {package}'s")
    return PackageName(package, name)


def _refuse_other_files(model: str) -> None:
    """Tell what people mean for models, and what are none, from misspelt names."""
    if _ADDRESS.fullmatch(model):
        raise ModelError(
            f"{model} is an address, and networks are not loaded from those; download it and name "
            "the file, or name a network of the zoo: `onebyone models` lists all"
        )
    if model.endswith(".py"):
        raise ModelError(
            f"{model} is a Python file; name the function in it that returns the network: "
            f"{model}:FUNCTION"
        )
    path, is_python, function = model.partition(".py:")
    if is_python:
        raise ModelError(
            f"{function!r} is no name of a function in {path}.py; name the one that returns the "
            f"network, without brackets and dots: {path}.py:FUNCTION"
        )
    suffix = Path(model).suffix.lower()
    if suffix in _FOREIGN:
        what, cure = _FOREIGN[suffix]
        raise ModelError(f"{model} is {what}; {cure}")
    if is_weight_file(model):
        raise ModelError(
            f"{model} is a file of weights, which does not say of which network; name that, and "
            f"pass the file as its weights: NAME --weights {model}"
        )
    if _is_there(model):
        kind = "a folder" if Path(model).is_dir() else "no file that holds a network"
        raise ModelError(
            f"{model} is {kind}; a name of the zoo, timm:NAME, torchvision:NAME, file.py:FUNCTION, "
            "an ONNX file (.onnx) or a checkpoint (.safetensors) was wanted"
        )
    if _HUB_ID.fullmatch(model):
        raise ModelError(
            f"{model} may be a repository of the hub, which has weights; name the network, and "
            f"pass the repository as its weights: NAME --weights {model}"
        )


def _is_there(text: str) -> bool:
    try:
        return Path(text).exists() and text != ""
    except (OSError, ValueError):  # too long for a name, or with a zero in it
        return False
