"""How far a network is from being linear, and what its 1x1s have to do with it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationLayer:
    """One layer of activations.

    Attributes:
        name: Of its node in the graph.
        path: Module that it came from.
        function: Such as "relu6".
        units: Numbers that it is applied to, for one image.
        behind_pointwise: Whether what it is applied to comes from a 1x1 convolution, through norms
            at most.
        changes: How often its units change from one linear piece to the next along a segment, the
            mean over segments; None where its function has no pieces.
    """

    name: str
    path: str
    function: str
    units: int
    behind_pointwise: bool
    changes: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nonlinearity:
    """How often a network bends on the way from one image to another.

    Attributes:
        layers: In the order in which they run.
        segments: How many segments between images were gone along; 0 where only units were counted.
        steps: Parts that each segment was cut into; changes that undo each other within one part
            are not seen.
        changes: Changes of all units along a segment, mean; the network has about as many linear
            pieces on the way, and one more. None where nothing was gone along.
        changes_without: The same for the network without the activations behind its 1x1s.
    """

    layers: tuple[ActivationLayer, ...]
    segments: int
    steps: int
    changes: float | None
    changes_without: float | None

    @property
    def units(self) -> int:
        """Numbers that activations are applied to, for one image."""
        return sum(layer.units for layer in self.layers)
