"""A drawn network: runnable text, and how it is to be compiled."""

import itertools
import linecache
from dataclasses import dataclass, replace
from types import SimpleNamespace

import torch
from torch import Tensor

from onebyone.compiler.target import TARGETS, Target, can_run, host_target
from tests.helpers.fuzz.drawing import Drawing

TEXT = """\
import math

import torch
from torch import nn
from torch.nn import functional as F

from tests.helpers.fuzz.drawing import settle


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        {layers}

    def forward(self, {arguments}):
        {lines}
        return {results}


def make_network():
    torch.manual_seed({seed})
    network = Net().eval()
    settle(network, torch.Generator().manual_seed({seed}))
    return network


def make_inputs():
    torch.manual_seed({seed})
    return (
        {inputs},
    )
"""

_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What was drawn.

    Args:
        seed: That it was drawn from.
        text: Python that defines `make_network` and `make_inputs`.
        batch: Images of each input.
        has_nan: Whether a NaN and an infinity are put into the inputs.
        is_direct: Whether it is compiled under numerics "fp32-direct".
        target: Name of a target; "" is this processor's best.
        level2_bytes: What the target's private cache is taken to be, so that small images are
            large; 0 leaves it.
    """

    seed: int
    text: str
    batch: int = 1
    has_nan: bool = False
    is_direct: bool = False
    target: str = ""
    level2_bytes: int = 0

    @property
    def numerics(self) -> str:
        """Winograd's algorithm spreads NaN and infinities, and is not asked for then."""
        return "fp32-direct" if self.is_direct or self.has_nan else "fp32"

    def choose_target(self) -> Target:
        target = TARGETS.get(self.target) or host_target()
        target = target if can_run(target) else host_target()
        return replace(target, level2_bytes=self.level2_bytes or target.level2_bytes)

    def load(self) -> SimpleNamespace:
        """Run the text; its functions are attributes of what is returned."""
        place = f"<network {self.seed}, {next(_numbers)}>"
        linecache.cache[place] = (len(self.text), None, self.text.splitlines(True), place)
        scope = {"__name__": "drawn"}
        exec(compile(self.text, place, "exec"), scope)
        return SimpleNamespace(**scope)

    def script(self) -> str:
        """Return a program that compiles and calls it, for a person to look into."""
        target = self.choose_target()
        facts = f"numerics={self.numerics!r}, target=target"
        return f"""{self.text}

if __name__ == "__main__":
    from dataclasses import replace

    from onebyone.compiler.compile import compile_model
    from onebyone.compiler.target import TARGETS
    from tests.helpers.fuzz.network import put_nan

    network, inputs = make_network(), make_inputs()
    if {self.has_nan}:
        put_nan(inputs)
    target = replace(TARGETS[{target.name!r}], level2_bytes={target.level2_bytes})
    fast = compile_model(network, inputs, {facts})
    with torch.no_grad():
        print(fast(*inputs), network(*inputs), fast.fates())
"""


def write_text(draw: Drawing, results: str, seed: int) -> str:
    """Return the text of a drawing that returns these results."""
    within = "\n        ".join
    return TEXT.format(
        layers=within(draw.layers),
        arguments=", ".join(draw.arguments),
        lines=within(draw.lines),
        results=results,
        seed=seed,
        inputs=",\n        ".join(draw.arguments.values()),
    ).replace("        \n", "")


def put_nan(inputs: tuple[Tensor, ...]) -> None:
    """Put a NaN and an infinity among the numbers of the first input."""
    first = inputs[0]
    first[0, 0, 0, 0] = torch.nan
    first[-1, -1, -1, -1] = torch.inf
