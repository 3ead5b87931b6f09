"""Fitting a network of the zoo to other images: their number of channels, classes and pixels."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace

import torch

from onebyone.errors import ShapeError, first_line
from onebyone.models.families import build_network
from onebyone.models.googlenet import GoogLeNetConfig
from onebyone.models.mobilenet import MobileNetConfig
from onebyone.models.network import Network, NetworkConfig
from onebyone.models.resnet import ResNetConfig

SMALL_SIDE = 64
"""Longest side of images that count as small, in pixels."""

LARGEST_LEAST_SIDE = 512
"""Up to what side the least one that a network can see is looked for, in pixels."""


def adapt_config(
    config: NetworkConfig, *, in_channels: int, num_classes: int, image_size: int
) -> NetworkConfig:
    """Return the configuration of the same network for other images.

    A network for photos shrinks them 32 times, which leaves one pixel of a small image. For images
    of at most 64 pixels it loses its first two steps, and shrinks them 8 times: ResNet and
    GoogLeNet begin with a 3x3 in place of a 7x7 and a max pool, and MobileNetV2's and
    EfficientNet-Lite's stem and first stage that would make a step keep the grid. Networks that
    were designed for small images, and families that have no such form, stay as they are.

    Args:
        config: What the network is built from.
        in_channels: Channels of an image: 3 for colours, 1 for grey.
        num_classes: Scores that come out.
        image_size: Side of the square images, in pixels.

    Raises:
        ShapeError: If a number is less than 1, or the images are too small for the network.

    Example:
        >>> from onebyone.models import find_model
        >>> resnet18 = find_model("resnet18").config
        >>> adapt_config(resnet18, in_channels=1, num_classes=10, image_size=28).stem_kind
        '3x3'
    """
    numbers = {"in_channels": in_channels, "num_classes": num_classes, "image_size": image_size}
    for name, number in numbers.items():
        if number < 1:
            raise ShapeError(f"`{name}` (={number}) must be at least 1")
    config = replace(config, in_channels=in_channels, num_classes=num_classes)
    if image_size <= SMALL_SIDE and (shorten := _SHORTEN.get(type(config))):
        config = shorten(config)
    _check_size(config, image_size)
    return config


def _with_small_stem(config: NetworkConfig) -> NetworkConfig:
    assert isinstance(config, ResNetConfig | GoogLeNetConfig)
    return replace(config, stem_kind="3x3")


def _without_first_steps(config: NetworkConfig) -> NetworkConfig:
    assert isinstance(config, MobileNetConfig)
    if config.stem_stride == 1:
        return config
    stages = list(config.stages)
    for i, stage in enumerate(stages):
        if stage.stride > 1:
            stages[i] = replace(stage, stride=1)
            break
    return replace(config, stem_stride=1, stages=tuple(stages))


_SHORTEN: dict[type[NetworkConfig], Callable[[NetworkConfig], NetworkConfig]] = {
    ResNetConfig: _with_small_stem,
    GoogLeNetConfig: _with_small_stem,
    MobileNetConfig: _without_first_steps,
}
"""How each family loses its first two steps."""


def _check_size(config: NetworkConfig, image_size: int) -> None:
    with torch.device("meta"):
        network = build_network(config)
    reason = _reason_against(network, image_size)
    if reason is None:
        return
    sides = range(image_size + 1, LARGEST_LEAST_SIDE + 1)
    place = bisect_left(sides, 1, key=lambda side: _reason_against(network, side) is None)
    wanted = (
        f"at least {sides[place]} were wanted"
        if place < len(sides)
        else f"they do not fit it ({reason})"
    )
    raise ShapeError(
        f"images of {image_size} x {image_size} pixels are too small for this network; {wanted}: "
        "train on larger ones, or train a network for small images, such as resnet20"
    )


def _reason_against(network: Network, image_size: int) -> str | None:
    """Return why a network on the meta device cannot see images of a size; None if it can.

    There it takes neither time nor memory.
    """
    images = torch.empty(2, network.config.in_channels, image_size, image_size, device="meta")
    try:
        network(images)
    except RuntimeError as error:
        return first_line(error)
    return None
