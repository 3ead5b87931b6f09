"""OneByOne: a PyTorch toolkit and CPU compiler for the 1x1 (pointwise) convolutions in a CNN."""

from importlib.metadata import version
from typing import TYPE_CHECKING

from onebyone.lazy import offer

if TYPE_CHECKING:
    from onebyone import models, nn
    from onebyone.compiler import compile_network as compile  # noqa: A004
    from onebyone.compiler import load_compiled
    from onebyone.errors import FallbackWarning, OneByOneError
    from onebyone.explainer import explain_network as explain
    from onebyone.exporting import export
    from onebyone.models import create_model, from_onnx, load, load_model, open_photo, predict, save
    from onebyone.native import open_native
    from onebyone.offline import predict_many
    from onebyone.shrinking import LatencyBudget, MacsBudget, analyse_shrink, plan_shrink, shrink
    from onebyone.studies import run_study as study
    from onebyone.training import train

__version__ = version("onebyone")
__all__ = [
    "FallbackWarning",
    "LatencyBudget",
    "MacsBudget",
    "OneByOneError",
    "__version__",
    "analyse_shrink",
    "compile",
    "create_model",
    "explain",
    "export",
    "from_onnx",
    "load",
    "load_compiled",
    "load_model",
    "models",
    "nn",
    "open_native",
    "open_photo",
    "plan_shrink",
    "predict",
    "predict_many",
    "save",
    "shrink",
    "study",
    "train",
]
__getattr__, __dir__ = offer(
    __name__,
    {
        "onebyone": "models nn",
        "onebyone.compiler": "compile_network=compile load_compiled",
        "onebyone.errors": "FallbackWarning OneByOneError",
        "onebyone.explainer": "explain_network=explain",
        "onebyone.exporting": "export",
        "onebyone.models": "create_model from_onnx load load_model open_photo predict save",
        "onebyone.native": "open_native",
        "onebyone.offline": "predict_many",
        "onebyone.shrinking": "LatencyBudget MacsBudget analyse_shrink plan_shrink shrink",
        "onebyone.studies": "run_study=study",
        "onebyone.training": "train",
    },
)
