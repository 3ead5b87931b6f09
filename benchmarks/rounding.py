"""What adds to a compiled network's error, step by step, image by image.

    .venv/bin/python benchmarks/rounding.py NAME...

Names are those of `benchmarks/coverage.py`, weights are drawn as there. The columns are errors
against float64 (relative root mean square):

    eager      PyTorch in float32
    rewritten  the rewritten graph (batch norms folded) in PyTorch, float32
    weights    the rewritten graph in float64: only its weights were rounded, once
    direct     compiled with numerics="fp32-direct"
    winograd   compiled with numerics="fp32"
    input      the network in float64, its input changed by one rounding of float32
"""

import copy
import sys

import torch
from coverage import make, relative_rms

import onebyone
from onebyone.bench.subject import draw_weights
from onebyone.compiler.rewrites import rewrite_graph
from onebyone.graph import capture, interpret

IMAGES = 3
COLUMNS = ("eager", "rewritten", "weights", "direct", "winograd", "input")


@torch.no_grad()
def examine(name: str) -> list[dict[str, float]]:
    """Return the errors of each column, for each image."""
    network, size = make(name)
    network = draw_weights(network, torch.randn(2, 3, size, size))
    exact = copy.deepcopy(network).double()
    example = torch.randn(1, 3, size, size)
    rewritten = rewrite_graph(capture(network, (example,)).graph)
    direct = onebyone.compile(network, example, numerics="fp32-direct")
    winograd = onebyone.compile(network, example)
    rows = []
    for _ in range(IMAGES):
        x = torch.randn(1, 3, size, size)
        moved = x.double() * (1 + torch.finfo(torch.float32).eps / 2 * torch.randn_like(x).double())
        outputs = (
            network(x),
            interpret(rewritten, [x])[0],
            interpret(rewritten, [x], dtype=torch.float64)[0],
            direct(x),
            winograd(x),
            exact(moved),
        )
        expected = exact(x.double())
        errors = (relative_rms(output, expected) for output in outputs)
        rows.append(dict(zip(COLUMNS, errors, strict=True)))
    return rows


def main() -> None:
    """Print a line for each image."""
    print("  ".join(f"{column:>9}" for column in COLUMNS), " network")  # noqa: T201
    for name in sys.argv[1:]:
        for row in examine(name):
            print("  ".join(f"{row[column]:9.1e}" for column in COLUMNS), f" {name}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
