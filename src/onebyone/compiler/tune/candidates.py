"""Ways of running a layer that may be the fastest: those that the cost model expects near its best.

None of them changes a bit of the results; so the algorithm, which would, is not among them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal

from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.choose.choose import choose, choose_around, rank_tiles
from onebyone.compiler.choose.cost import far_rate
from onebyone.compiler.choose.units import runs_depthwise
from onebyone.compiler.options import CompileOptions
from onebyone.compiler.target import Target
from onebyone.graph import Convolution, Graph

CLOSE = 1.25
"""Times the best that is expected; what is expected to be slower is not measured."""


def find_candidates(
    graph: Graph, target: Target, options: CompileOptions, most: int
) -> Mapping[str, tuple[Choices, ...]]:
    """Return at most so many ways for each convolution that runs alone, the expected best first."""
    choices = choose(graph, target, options)
    far = far_rate(graph, target, options.weights.number_bytes)
    found: dict[str, tuple[Choices, ...]] = {}
    for node in graph:
        if not isinstance(node, Convolution) or runs_depthwise(node):
            continue
        best = choices[node.name]
        if best.band or best.unit == "matrix":
            continue  # there is one way of these
        ways = list(_ways(node, target, best, far))
        found[node.name] = tuple(dict.fromkeys(ways))[:most]
    return found


def _ways(node: Convolution, target: Target, best: Choices, far: float) -> Iterator[Choices]:
    yield best
    if not best.winograd and best.converted != "by panels" and best.kernel_parts == 1:
        yield replace(best, inner=_other(best.inner))
    yield replace(best, shared=_other(best.shared))
    if best.along_rows:
        return  # what is ranked below are tiles of products
    ranked = rank_tiles(node, target, best.winograd, far=far, unit=best.unit)
    close = [tiling for tiling in ranked if ranked[tiling] <= CLOSE * min(ranked.values())]
    for tiling in sorted(close, key=lambda tiling: ranked[tiling]):
        yield choose_around(
            node, target, best.winograd, tiling, far=far, why=best.why, unit=best.unit
        )


def _other(inner: str) -> Literal["channels", "pixels"]:
    return "pixels" if inner == "channels" else "channels"
