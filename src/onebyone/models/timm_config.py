"""What timm writes beside its weights: architecture, preprocessing, class names."""

import math
from collections.abc import Mapping
from typing import Any

from onebyone.errors import WeightsError, summary
from onebyone.models.imagenet import names_at_hand
from onebyone.models.preprocess import Preprocess


def preprocess_from_timm(config: Mapping[str, Any]) -> Preprocess:
    """Return the preprocessing that a timm `pretrained_cfg` describes.

    Raises:
        WeightsError: If it is of a kind that we do not have, or incomplete.
    """
    try:
        _, height, width = config["input_size"]
        interpolation = config["interpolation"]
        crop_mode = config.get("crop_mode") or "center"
        known = height == width and crop_mode == "center"
        if not known or interpolation not in ("bilinear", "bicubic"):
            raise WeightsError(
                f"photos for these weights are prepared in a way that is not supported "
                f"({height} x {width}, {interpolation}, crop mode {crop_mode}); a square, bilinear "
                "or bicubic, cut from the centre was wanted"
            )
        return Preprocess(
            input_size=height,
            resize_size=math.floor(height / config["crop_pct"]),
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            interpolation=interpolation,
        )
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise WeightsError(
            f"the description of these weights is not timm's ({summary(error)}); "
            "pass a file of weights, which is read without one"
        ) from error


def classes_from_timm(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the class names that a timm `pretrained_cfg` has, or ImageNet's if it scores 1000."""
    if names := config.get("label_names"):
        return tuple(names)
    return names_at_hand() if config.get("num_classes") == 1000 else ()
