"""Batches of images changed at random, all at once, where they are."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Augment:
    """How images are changed at random while a network trains; by default, not at all.

    Attributes:
        flip: Whether half of the images are mirrored, left to right.
        pad: Black pixels that are put around an image before one of its size is cut out anywhere.
        crop_scale: Least and greatest share of an image's area that is cut out and scaled up to its
            size; None for no such crop.
        crop_ratio: Least and greatest width over height of what is cut out.
        mixup: How far pairs of images are mixed: the share of the first is drawn from
            Beta(mixup, mixup); 0 for not at all.
    """

    flip: bool = False
    pad: int = 0
    crop_scale: tuple[float, float] | None = None
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    mixup: float = 0.0
