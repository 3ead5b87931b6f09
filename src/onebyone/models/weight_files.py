"""Reading weights from a local file, without ever running what is in it."""

import pickle
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from onebyone.errors import WeightsError
from onebyone.files import check_file

# What training scripts call the network's own weights inside a larger file, best first.
_NESTED = ("state_dict_ema", "model_ema", "state_dict", "model")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the named tensors in a file of weights.

    A `.safetensors` file is read as such. Any other is read as torch writes it, with
    `weights_only=True`, which runs no code; the network's weights may lie in a larger dictionary
    under the names that training scripts use, and their names may begin with "module.".

    Raises:
        WeightsError: If the file is missing, damaged, or holds no named tensors.
    """
    check_file(path, "a file of weights", WeightsError)
    if path.suffix == ".safetensors":
        return read_safetensors(path)[0]
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is damaged, or holds more than tensors, which is not loaded because it could "
            "run code; save it anew with torch.save(model.state_dict(), ...)"
        ) from error
    except Exception as error:  # the reader of damaged files raises nearly anything
        raise WeightsError(
            f"{path} is damaged or cut short, or no file of weights; get the file again"
        ) from error
    return _unwrap(content, path)


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a `.safetensors` file.

    Raises:
        WeightsError: If the file is missing or damaged.
    """
    with _open_safetensors(path) as file:
        names = file.keys()  # the handle itself cannot be iterated over
        return {name: file.get_tensor(name) for name in names}, file.metadata() or {}


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a `.safetensors` file without reading its tensors.

    Raises:
        WeightsError: If the file is missing or damaged.
    """
    with _open_safetensors(path) as file:
        return file.metadata() or {}


@contextmanager
def _open_safetensors(path: Path) -> Generator[Any]:
    check_file(path, "a .safetensors file", WeightsError)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is cut short, damaged, or no .safetensors file; get or write the file again"
        ) from error


def _unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    for name in _NESTED:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    tensors = isinstance(content, dict) and {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not tensors:
        raise WeightsError(
            f"{path} holds no named tensors; a state dict was wanted, as in "
            "torch.save(model.state_dict(), ...)"
        )
    if all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors
