"""How fast a network runs: our compiler beside its peers, on one machine, in turn."""

from typing import TYPE_CHECKING

from onebyone.lazy import offer

if TYPE_CHECKING:
    from onebyone.bench.comparison import Comparison, EngineResult, compare
    from onebyone.bench.engine import Engine
    from onebyone.bench.engines import OURS, check_peers, find_engine, find_engines
    from onebyone.bench.isolated import IsolatedComparison, IsolatedResult, Turn, compare_isolated
    from onebyone.bench.machine import Machine, describe_machine
    from onebyone.bench.measure import (
        Burst,
        RatioSpread,
        Spread,
        measure_interleaved,
        pairwise_ratio,
        ratio_spread,
        spread,
    )
    from onebyone.bench.peers import DEFAULT_PEERS, PEERS
    from onebyone.bench.subject import Subject, load_subject

__all__ = [
    "DEFAULT_PEERS",
    "OURS",
    "PEERS",
    "Burst",
    "Comparison",
    "Engine",
    "EngineResult",
    "IsolatedComparison",
    "IsolatedResult",
    "Machine",
    "RatioSpread",
    "Spread",
    "Subject",
    "Turn",
    "check_peers",
    "compare",
    "compare_isolated",
    "describe_machine",
    "find_engine",
    "find_engines",
    "load_subject",
    "measure_interleaved",
    "pairwise_ratio",
    "ratio_spread",
    "spread",
]

# Late, because who only asks which peers there are needs no torch.
__getattr__, __dir__ = offer(
    __name__,
    {
        "onebyone.bench.comparison": "Comparison EngineResult compare",
        "onebyone.bench.engine": "Engine",
        "onebyone.bench.engines": "OURS check_peers find_engine find_engines",
        "onebyone.bench.isolated": "IsolatedComparison IsolatedResult Turn compare_isolated",
        "onebyone.bench.machine": "Machine describe_machine",
        "onebyone.bench.measure": (
            "Burst RatioSpread Spread measure_interleaved pairwise_ratio ratio_spread spread"
        ),
        "onebyone.bench.peers": "DEFAULT_PEERS PEERS",
        "onebyone.bench.subject": "Subject load_subject",
    },
)
