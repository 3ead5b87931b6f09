"""The road of tuning: look up what is known, measure what is not, keep it, apply it.

The network itself is compiled in several variants; in each, its layers run in the next of their
ways. They share code and weights that are the same, and are called in turn, so that drift meets all
alike; weights come from where they come from in earnest. Layers keep the way that was the fastest.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod

from onebyone.compiler.build import build_variants
from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.options import CompileOptions
from onebyone.compiler.target import Target
from onebyone.compiler.tune.candidates import find_candidates
from onebyone.compiler.tune.measure import Times, compare_whole, measure_variants
from onebyone.compiler.tune.tuning import TunedLayer, Tuning
from onebyone.compiler.tune.wisdom import Finding, Wisdom, layer_key
from onebyone.graph import Convolution, Graph

MOST_WAYS = {"measure": 4, "patient": 16}
"""How many ways of a layer are measured, by what is asked for."""

SECONDS = {"measure": 30.0, "patient": 600.0}
"""How long that may take, if nobody says otherwise."""

AT_ONCE = 3
"""Variants that are compiled and called together, beside the cost model's own."""

WORTHWHILE = 0.97
"""Of the time that the expected way takes; what gains less may be noise."""

EXPECTED: Mapping[str, Choices] = {}
"""The variant in which each layer runs as the cost model says."""

Watch = Callable[[int, int], None]
"""Is told how many variants have been measured, and how many there are."""


def unwatched(done: int, total: int) -> None:
    """Show nobody."""


def tune_graphs(
    graphs: Sequence[Graph],
    target: Target,
    options: CompileOptions,
    *,
    seconds: float | None = None,
    watch: Watch = unwatched,
) -> Tuning:
    """Tune rewritten graphs without opaque nodes.

    What is measured is kept after each few variants, so an interruption loses no more than those.

    Args:
        graphs: Native parts of one network.
        target: Processor, which must be this one.
        options: What is asked for; `tune` is "measure" or "patient".
        seconds: How long it may take, about; no variants are begun afterwards.
        watch: Shows a person how far it has come.
    """
    start = time.perf_counter()
    deadline = start + (SECONDS[options.tune] if seconds is None else seconds)
    wisdom = Wisdom(target)
    parts = [_Part(graph, target, options, wisdom) for graph in graphs]
    total, done = sum(part.variants for part in parts), 0
    for part in parts:
        for count in part.measure(deadline):
            done += count
            watch(done, total)
    gain = prod(part.settle() for part in parts)
    return Tuning(
        layers=tuple(layer for part in parts for layer in part.layers()),
        threads=options.thread_count,
        measured=sum(len(part.found) for part in parts),
        seconds=time.perf_counter() - start,
        gain=gain,
    )


class _Part:
    """One native part while it is tuned.

    Attributes:
        found: What was found just now, by kinds of layers.
        variants: How many variants are to be measured, beside the one that is expected to be best.
    """

    def __init__(
        self, graph: Graph, target: Target, options: CompileOptions, wisdom: Wisdom
    ) -> None:
        self._graph, self._target, self._options, self._wisdom = graph, target, options, wisdom
        self._ways = find_candidates(graph, target, options, MOST_WAYS[options.tune])
        self._keys = {name: self._key(name) for name in self._ways}
        self._missing: dict[str, list[str]] = defaultdict(list)
        for name, key in self._keys.items():
            known = wisdom.findings.get(key)
            if len(self._ways[name]) > (known.ways if known else 1):
                self._missing[key].append(name)
        self._times: list[tuple[Times, Times]] = []
        self.found: dict[str, Finding] = {}
        self.variants = max((self._count(key) for key in self._missing), default=1) - 1

    def measure(self, deadline: float) -> Iterator[int]:
        """Measure variants, a few at a time, and give how many they were."""
        while len(self._times) < self.variants and time.perf_counter() < deadline:
            done = len(self._times)
            numbers = range(done + 1, min(done + AT_ONCE, self.variants) + 1)
            variants = [EXPECTED, *map(self._variant, numbers)]
            built = build_variants(self._graph, self._target, self._options, variants)
            first, *others = measure_variants(built, self._options.thread_count)
            self._times += [(first, times) for times in others]
            self._keep({key: self._finding(key) for key in self._missing})
            yield len(numbers)

    def settle(self) -> float:
        """Time the whole part, tuned and not; take back what was found if it gains nothing.

        Returns:
            The untuned part's time over the tuned one's.
        """
        chosen = {one.name: one.chosen for one in self.layers() if one.chosen != one.expected}
        if not self._times or not chosen:
            return 1.0
        both = build_variants(self._graph, self._target, self._options, [EXPECTED, chosen])
        gain = compare_whole(both, self._options.thread_count)
        if gain < 1.0:
            self._keep({key: self._untuned(key) for key in self.found})
        return max(1.0, gain)

    def layers(self) -> Iterator[TunedLayer]:
        """Give what is known of each layer."""
        for name, (expected, *_) in self._ways.items():
            finding = self._wisdom.findings.get(self._keys[name])
            yield TunedLayer(
                name=name,
                place=self._graph[name].place,
                expected=expected,
                chosen=finding.applied_to(expected) if finding else expected,
                finding=finding,
            )

    def _key(self, name: str) -> str:
        node = self._graph[name]
        assert isinstance(node, Convolution), name
        in_shape = self._graph[node.inputs[0]].shape
        return layer_key(node, self._ways[name][0], in_shape, self._options.thread_count)

    def _count(self, key: str) -> int:
        return len(self._ways[self._missing[key][0]])

    def _variant(self, number: int) -> Mapping[str, Choices]:
        """Return the way of that number of each layer that has so many."""
        return {
            name: self._ways[name][number]
            for names in self._missing.values()
            for name in names
            if number < len(self._ways[name])
        }

    def _finding(self, key: str) -> Finding:
        """Return the fastest of the ways that have been measured so far."""
        names = self._missing[key]
        ratios = {0: 1.0}
        for number, (base, times) in enumerate(self._times, 1):
            if number < self._count(key):
                rounds = zip(_together(base, names), _together(times, names), strict=True)
                ratios[number] = statistics.median(other / one for one, other in rounds)
        best = min(ratios, key=lambda number: ratios[number])
        best = best if ratios[best] <= WORTHWHILE else 0
        untuned = statistics.median(_together(self._times[0][0], names)) / len(names)
        return Finding.of(
            self._ways[names[0]][best],
            ways=len(ratios),
            seconds=untuned * ratios[best],
            untuned_seconds=untuned,
            expected_seconds=self._ways[names[0]][0].seconds,
        )

    def _untuned(self, key: str) -> Finding:
        """Return a finding that says to do as is expected."""
        finding = self.found[key]
        return Finding.of(
            self._ways[self._missing[key][0]][0],
            ways=finding.ways,
            seconds=finding.untuned_seconds,
            untuned_seconds=finding.untuned_seconds,
            expected_seconds=finding.expected_seconds,
        )

    def _keep(self, found: Mapping[str, Finding]) -> None:
        self.found.update(found)
        self._wisdom.add(self.found)


def _together(times: Times, names: Sequence[str]) -> list[float]:
    """Add up the times of layers of one kind, turn by turn."""
    return [sum(seconds) for seconds in zip(*(times[name] for name in names), strict=True)]
