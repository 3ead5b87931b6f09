"""What a ReLU leaves of a line in the plane, by the number of channels that it is spread over.

The picture with which MobileNetV2 explains its linear bottlenecks, with an error that can be
compared: that of the best affine decoder.
"""

from statistics import fmean, stdev

import torch
from torch import Tensor

from onebyone.studies.study import Table

POINTS, TURNS = 1000, 2.0
CHANNELS = (2, 3, 5, 15, 30)
"""Those of the paper's figure 1."""

DRAWS = 20
"""Random matrices for each number of channels."""


def spiral() -> Tensor:
    """Return points along a spiral that begins at the origin, `(POINTS, 2)`, float64."""
    along = torch.linspace(0, 1, POINTS, dtype=torch.float64)
    angle = 2 * torch.pi * TURNS * along
    return along[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)


def spread(points: Tensor, channels: int, *, draw: int) -> Tensor:
    """Return points times a random matrix, normally distributed: `(P, 2) -> (P, channels)`."""
    generator = torch.Generator().manual_seed(1000 * channels + draw)
    matrix = torch.randn(points.shape[1], channels, generator=generator, dtype=points.dtype)
    return points @ matrix


def lost_share(features: Tensor, points: Tensor) -> float:
    """Return the share of the points' variance that no affine function of the features gives back.

    Shape: features `(P, C)`, points `(P, D)`.
    """
    affine = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
    # A ReLU may leave a channel nothing but zeros, so the least squares must bear any rank.
    decoder = torch.linalg.lstsq(affine, points, driver="gelsd").solution
    residual = affine @ decoder - points
    return float(residual.square().sum() / (points - points.mean(0)).square().sum())


def lost_shares(channels: int) -> list[float]:
    """Return what a ReLU behind each of the random matrices loses of the spiral."""
    points = spiral()
    return [lost_share(spread(points, channels, draw=draw).relu(), points) for draw in range(DRAWS)]


def lost_of_spiral() -> Table:
    """Return what a ReLU loses of the spiral, by the number of channels."""
    return Table(
        title="What a ReLU loses of a spiral in the plane, without any training",
        columns=("channels", "variance lost", "standard error", "most in a draw", "without ReLU"),
        rows=tuple(_row(channels) for channels in CHANNELS),
        note=(
            f"The spiral's {POINTS} points are multiplied by a random 2 x n matrix and go through "
            f"a ReLU; {DRAWS} matrices for each n. Lost is the share of their variance that the "
            "best affine decoder (least squares) cannot give back. The paper's own decoder, the "
            "inverse of the matrix, knows nothing of the ReLU, and blames it for more than is lost."
        ),
    )


def _row(channels: int) -> tuple[str | float, ...]:
    lost, points = lost_shares(channels), spiral()
    linear = max(lost_share(spread(points, channels, draw=i), points) for i in range(DRAWS))
    error = stdev(lost) / DRAWS**0.5
    return (
        channels,
        round(fmean(lost), 4),
        round(error, 4),
        round(max(lost), 4),
        abs(round(linear, 6)),
    )
