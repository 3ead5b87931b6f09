"""What a network would cost if its 1x1 convolutions were not there, or were something else.

The answer depends on what comes in their place, so each has a name.
"""

from dataclasses import dataclass

from onebyone.explainer.cost import LayerCost


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactual:
    """A network that does without its 1x1s in one particular way.

    Attributes:
        name: Short, such as "one k x k at the outer width".
        meaning: What has been replaced by what, in a sentence.
        layers: All layers of that network, those that stay included.
        params: Learnable numbers, batch norms included.
        replaced: How many blocks, or layers, are replaced.
    """

    name: str
    meaning: str
    layers: tuple[LayerCost, ...]
    params: int
    replaced: int

    @property
    def macs(self) -> int:
        """Multiply-adds of the whole network."""
        return sum(layer.macs for layer in self.layers)
