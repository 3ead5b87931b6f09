"""One trained network, looked at once: what every method starts from."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from onebyone.shrinking.moments import Moments, collect_moments
from onebyone.shrinking.planner import Prepared, prepare_shrink
from shrinking.networks import calibration, trained

IMAGES = 1024
"""Images that every method may look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A trained network, and what is known of it.

    Attributes:
        name: Of the network.
        seed: That it was trained with.
        network: With its batch norms.
        prepared: The same, as ours looks at it: batch norms folded, what may change, what it costs.
        images: That every method may look at, without labels.
        moments: Of what its layers read.
    """

    name: str
    seed: int
    network: nn.Module
    prepared: Prepared
    images: Tensor
    moments: dict[str, Moments]

    @property
    def key(self) -> str:
        """What files of it are called."""
        return f"{self.name}-{self.seed}"


def make_subject(name: str, seed: int, runs: Path) -> Subject:
    """Return a network, trained now or earlier, and look at it."""
    network = trained(name, runs, seed=seed)
    images = calibration(IMAGES, seed=seed)
    prepared = prepare_shrink(network, images, runtime="compiled", threads=1, seed=seed)
    paths = [site.path for site in prepared.found.sites]
    moments = collect_moments(prepared.original, paths, images, seed=seed)
    return Subject(
        name=name,
        seed=seed,
        network=network,
        prepared=prepared,
        images=images,
        moments=moments,
    )
