"""The zoo: networks, their weights, and what travels with them."""

from typing import TYPE_CHECKING

from onebyone.lazy import offer

if TYPE_CHECKING:
    from onebyone.models.card import ModelCard
    from onebyone.models.checkpoint import load, save
    from onebyone.models.create import create_model
    from onebyone.models.families import build_network
    from onebyone.models.network import Network, NetworkConfig
    from onebyone.models.onnx_files import from_onnx
    from onebyone.models.photo import check_photo, find_photos, open_photo
    from onebyone.models.prediction import ClassScore, Prediction, name_classes, predict
    from onebyone.models.preprocess import Preprocess
    from onebyone.models.reference import check_reference, default_weights
    from onebyone.models.registry import ZOO, ModelSpec, find_model
    from onebyone.models.resolve import LoadedModel, load_model, load_untrained

__all__ = [
    "ZOO",
    "ClassScore",
    "LoadedModel",
    "ModelCard",
    "ModelSpec",
    "Network",
    "NetworkConfig",
    "Prediction",
    "Preprocess",
    "build_network",
    "check_photo",
    "check_reference",
    "create_model",
    "default_weights",
    "find_model",
    "find_photos",
    "from_onnx",
    "load",
    "load_model",
    "load_untrained",
    "name_classes",
    "open_photo",
    "predict",
    "save",
]

__getattr__, __dir__ = offer(
    __name__,
    {
        "onebyone.models.card": "ModelCard",
        "onebyone.models.checkpoint": "load save",
        "onebyone.models.create": "create_model",
        "onebyone.models.families": "build_network",
        "onebyone.models.network": "Network NetworkConfig",
        "onebyone.models.onnx_files": "from_onnx",
        "onebyone.models.photo": "check_photo find_photos open_photo",
        "onebyone.models.prediction": "ClassScore Prediction name_classes predict",
        "onebyone.models.preprocess": "Preprocess",
        "onebyone.models.reference": "check_reference default_weights",
        "onebyone.models.registry": "ZOO ModelSpec find_model",
        "onebyone.models.resolve": "LoadedModel load_model load_untrained",
    },
)
