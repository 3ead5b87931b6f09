"""The zoo: networks, their weights, and what travels with them."""

from onebyone.models.card import ModelCard
from onebyone.models.checkpoint import load, save
from onebyone.models.create import create_model
from onebyone.models.families import build_network
from onebyone.models.network import Network, NetworkConfig
from onebyone.models.photo import open_photo
from onebyone.models.predict import ClassScore, Prediction, predict
from onebyone.models.preprocess import Preprocess
from onebyone.models.registry import ZOO, ModelSpec, find_model
from onebyone.models.resolve import LoadedModel, default_weights, load_model

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
    "create_model",
    "default_weights",
    "find_model",
    "load",
    "load_model",
    "open_photo",
    "predict",
    "save",
]
