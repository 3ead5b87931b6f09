"""How fast a network runs: our compiler beside its peers, on one machine and in one process."""

from onebyone.bench.compare import Comparison, EngineResult, compare
from onebyone.bench.machine import Machine, describe_machine
from onebyone.bench.measure import Burst, Spread, measure_interleaved, pairwise_ratio, spread
from onebyone.bench.peers import OURS, PEERS, Engine, find_engines
from onebyone.bench.subject import Subject, load_subject

__all__ = [
    "OURS",
    "PEERS",
    "Burst",
    "Comparison",
    "Engine",
    "EngineResult",
    "Machine",
    "Spread",
    "Subject",
    "compare",
    "describe_machine",
    "find_engines",
    "load_subject",
    "measure_interleaved",
    "pairwise_ratio",
    "spread",
]
