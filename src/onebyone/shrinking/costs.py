"""What everything costs, in the unit of the budget: multiply-adds, or measured seconds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from onebyone.errors import InfeasibleBudget
from onebyone.shrinking.allocate import Option, allocate
from onebyone.shrinking.changes import Change
from onebyone.shrinking.judge import Judgement
from onebyone.shrinking.proposals import Chain, Way, ways_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a network costs, and what may become of its layers.

    Attributes:
        whole: The network as it is.
        of: Everything that may become of a layer, the layer itself included.
    """

    whole: float
    of: Mapping[Change, float]

    def fixed(self, changes: Iterable[Change]) -> float:
        """Return what the network costs without the layers that may change.

        Of times, less than nothing where layers take longer one by one than together.
        """
        return self.whole - sum(self.of[change] for change in changes if change.edit is None)


def macs_costs(whole: int, changes: Iterable[Change]) -> Costs:
    """Return costs in multiply-adds for one image."""
    return Costs(whole=whole, of={change: change.macs for change in changes})


@dataclass(frozen=True, slots=True, kw_only=True)
class Knapsack:
    """All ways to change a network, with what each costs, so that the best for a budget is found.

    Attributes:
        ways: For each chain of layers.
        fixed: What the rest costs.
        whole: What the network costs as it is.
    """

    ways: Sequence[Sequence[Way]]
    fixed: float
    whole: float

    @property
    def smallest(self) -> float:
        """What the cheapest of all networks costs."""
        return self.fixed + sum(min(way.cost for way in chain) for chain in self.ways)

    def choose(self, budget: float) -> tuple[Way, ...]:
        """Return the way of each chain that together cost the least loss within a budget.

        Raises:
            InfeasibleBudget: If even the cheapest network is over it.
        """
        if budget < self.smallest:
            raise InfeasibleBudget(
                f"{budget / self.whole:.3f} of what the network costs was wanted, and the cheapest "
                f"network that can be made has {self.smallest / self.whole:.3f}; ask for that or "
                "more"
            )
        options = [[Option(way.cost, way.loss) for way in chain] for chain in self.ways]
        chosen = allocate(options, budget - self.fixed)
        return tuple(chain[index] for chain, index in zip(self.ways, chosen, strict=True))

    def cost(self, chosen: Iterable[Way]) -> float:
        """Return what the network costs with chains changed in these ways."""
        return self.fixed + sum(way.cost for way in chosen)


def fill_knapsack(chains: Sequence[Chain], costs: Costs, judgement: Judgement) -> Knapsack:
    """Return all ways worth considering."""
    return Knapsack(
        ways=[
            ways_of(chain, costs.of, judgement.factor_loss, judgement.width_loss)
            for chain in chains
        ],
        fixed=costs.fixed(costs.of),
        whole=costs.whole,
    )
