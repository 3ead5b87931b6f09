"""OneByOne: a PyTorch toolkit and CPU compiler for the 1x1 (pointwise) convolutions in a CNN."""

from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from onebyone.errors import FallbackWarning, OneByOneError
from onebyone.models import create_model, load, load_model, open_photo, predict, save

if TYPE_CHECKING:
    from onebyone.compiler import CompiledModel

__version__ = version("onebyone")


def compile(  # noqa: A001
    model: Callable[..., Any], example: Any, kwargs: Any = None, **options: Any
) -> "CompiledModel":
    """Compile a network for this machine's CPU; all about it stands at `compile_network`."""
    from onebyone.compiler import compile_network  # late, because it loads LLVM

    return compile_network(model, example, kwargs, **options)


__all__ = [
    "FallbackWarning",
    "OneByOneError",
    "__version__",
    "compile",
    "create_model",
    "load",
    "load_model",
    "open_photo",
    "predict",
    "save",
]
