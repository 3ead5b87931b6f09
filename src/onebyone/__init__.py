"""OneByOne: a PyTorch toolkit and CPU compiler for the 1x1 (pointwise) convolutions in a CNN."""

from importlib.metadata import version

from onebyone.errors import OneByOneError
from onebyone.models import create_model, load, load_model, open_photo, predict, save

__version__ = version("onebyone")

__all__ = [
    "OneByOneError",
    "__version__",
    "create_model",
    "load",
    "load_model",
    "open_photo",
    "predict",
    "save",
]
