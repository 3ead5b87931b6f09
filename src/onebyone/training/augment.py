"""Batches of images changed at random, all at once, where they are."""

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor
from torch.nn import functional as F

from onebyone.training.recipe import Augment

CROP_TRIES = 10
"""Boxes that are drawn for a crop, until one fits into the image."""


@dataclass(frozen=True, slots=True)
class Chances:
    """What was drawn for the images of a step, a row each.

    They are drawn for all processes together, so that what an image is turned into does not depend
    on how many there are.

    Attributes:
        mirrored: Whether an image is mirrored, `(N,)`.
        shifts: Where the cut begins in the padded image, down and across, `(N, 2)`.
        tries: What the part that is scaled up follows from, once an image's size is known: for each
            box that is tried its area, ratio and place, 0 to 1, `(N, 4, tries)`; no tries without
            such crops.
        shares: Share of the image itself where two are mixed, `(N,)`.
    """

    mirrored: Tensor
    shifts: Tensor
    tries: Tensor
    shares: Tensor

    def of(self, part: slice) -> "Chances":
        """Return those of some of the images."""
        return Chances(self.mirrored[part], self.shifts[part], self.tries[part], self.shares[part])


def draw_chances(augment: Augment, count: int, generator: torch.Generator) -> Chances:
    """Draw what happens to each of `count` images."""
    mirrored = torch.rand(count, generator=generator) < 0.5
    shifts = torch.randint(2 * augment.pad + 1, (count, 2), generator=generator)
    tries = CROP_TRIES if augment.crop_scale else 0
    drawn = torch.rand(4, count, tries, generator=generator, dtype=torch.float64)
    # The larger share is the image's own: else its neighbour would be mixed with it twice.
    share = _draw_beta(augment.mixup, count, generator) if augment.mixup else torch.ones(count)
    return Chances(mirrored, shifts, drawn.transpose(0, 1), torch.maximum(share, 1 - share))


def boxes_in(augment: Augment, tries: Tensor, height: int, width: int) -> Tensor:
    """Return the parts of images of one size that are scaled up: top, left, height and width.

    The share of the area is uniform, the logarithm of the ratio too. Where no box of ten fits, it
    is the whole image.

    Shape: `(count, 4, tries) -> (count, 4)`, int64.

    Source: Szegedy et al. (arXiv 1409.4842), section 6; torchvision's RandomResizedCrop.
    """
    assert augment.crop_scale
    least, most = augment.crop_scale
    flattest, steepest = map(log, augment.crop_ratio)
    areas, ratios, down, across = tries.unbind(1)
    area = height * width * (least + (most - least) * areas)
    ratio = (flattest + (steepest - flattest) * ratios).exp()
    heights = (area / ratio).sqrt().round().long()
    widths = (area * ratio).sqrt().round().long()
    fits = (heights >= 1) & (heights <= height) & (widths >= 1) & (widths <= width)
    first = fits.int().argmax(1, keepdim=True)
    has_box = fits.any(1)
    heights = torch.where(has_box, heights.gather(1, first)[:, 0], height)
    widths = torch.where(has_box, widths.gather(1, first)[:, 0], width)
    tops = (down[:, 0] * (height - heights + 1)).long()
    lefts = (across[:, 0] * (width - widths + 1)).long()
    return torch.stack([tops, lefts, heights, widths], dim=1)


def augment_images(images: Tensor, augment: Augment, chances: Chances) -> Tensor:
    """Return images, uint8, after the crops and mirrors that were drawn for them.

    Shape: `(N, C, H, W) -> (N, C, H, W)`, uint8, or float32 of the same range after a crop that
        scales.
    """
    if augment.pad:
        images = _shift(images, augment.pad, chances.shifts)
    if augment.crop_scale:
        boxes = boxes_in(augment, chances.tries, images.shape[2], images.shape[3])
        images = _scale_up(images.float(), boxes)
    if augment.flip:
        mirrored = chances.mirrored.to(images.device).view(-1, 1, 1, 1)
        images = torch.where(mirrored, images.flip(3), images)
    return images


def mix(images: Tensor, targets: Tensor, chances: Chances, classes: int) -> tuple[Tensor, Tensor]:
    """Mix each image, and its target, with the one before it.

    Shape: images `(N, C, H, W)`, float; targets `(N,) -> (N, classes)`, float32.

    Source: Zhang et al., mixup (arXiv 1710.09412), with a share for each pair.
    """
    own = chances.shares.to(images.device)
    shares = F.one_hot(targets, classes).float()
    other = shares.roll(1, 0)
    mixed = torch.lerp(images.roll(1, 0), images, own.view(-1, 1, 1, 1))
    return mixed, torch.lerp(other, shares, own.view(-1, 1))


def _shift(images: Tensor, pad: int, shifts: Tensor) -> Tensor:
    """Cut an image of the old size out of each padded one."""
    count, channels, height, width = images.shape
    shifts = shifts.to(images.device)
    padded = F.pad(images, (pad, pad, pad, pad))
    down = shifts[:, 0, None] + torch.arange(height, device=images.device)
    across = shifts[:, 1, None] + torch.arange(width, device=images.device)
    image = torch.arange(count, device=images.device).view(-1, 1, 1, 1)
    channel = torch.arange(channels, device=images.device).view(1, -1, 1, 1)
    return padded[image, channel, down[:, None, :, None], across[:, None, None, :]]


def _scale_up(images: Tensor, boxes: Tensor) -> Tensor:
    """Scale a box of each image up to the image's size, bilinearly; no pixel outside has a part."""
    height, width = images.shape[2:]
    top, left, heights, widths = boxes.to(images.device).float().unbind(1)
    y = _places(top, heights, height)
    x = _places(left, widths, width)
    # grid_sample counts from -1 at the outer edge of the first pixel to 1 at that of the last
    y, x = (2 * y + 1) / height - 1, (2 * x + 1) / width - 1
    grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), dim=3)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _places(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Return where each of `size` new pixels lies on the old ones' scale, `(N, size)`."""
    new = (torch.arange(size, device=start.device) + 0.5) / size
    places = start[:, None] + new * length[:, None] - 0.5
    return torch.clamp(places, start[:, None], (start + length - 1)[:, None])


def _draw_beta(alpha: float, count: int, generator: torch.Generator) -> Tensor:
    """Draw from Beta(alpha, alpha): two gammas' share, by a source that takes a generator."""
    import numpy as np

    seed = int(torch.randint(2**62, (), generator=generator))
    drawn = np.random.default_rng(seed).beta(alpha, alpha, size=count)
    return torch.from_numpy(drawn).float()
