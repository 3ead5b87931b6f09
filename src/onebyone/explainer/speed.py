"""How long a network takes on this machine, layer by layer."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from onebyone.bench.threads import on_threads
from onebyone.errors import ModelError, OneByOneError, first_line
from onebyone.explainer.ceilings import Ceilings as Ceilings
from onebyone.explainer.ceilings import measure_ceilings, seconds_of
from onebyone.explainer.cost import LayerCost, count_graph
from onebyone.graph import Convolution, Graph, Input, Node, run_node

if TYPE_CHECKING:
    from onebyone.bench.measure import Watch
    from onebyone.compiler import CompiledModel, Profile
    from onebyone.compiler.fates import LayerFates

ROUNDS = range(3, 16)
"""How often everything is measured, at least and at most."""
CALLS_IN_A_ROUND = 5
"""What one round takes, in runs of the network: twice in PyTorch, twice compiled, once by layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTime:
    """How long one layer takes.

    Attributes:
        name: Of its node in the graph, as in `LayerCost`.
        torch_seconds: In PyTorch, by itself, median: without the norm and activation behind it.
        engine_seconds: In compiled code, with all that is fused into it, median of the time of all
            threads, divided by their number; where several layers run as one, each has its share by
            multiply-adds. None where the network, or this layer, is not compiled.
    """

    name: str
    torch_seconds: float
    engine_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How long a network takes.

    Attributes:
        layers: Those that have multiply-adds, in the order in which they run. Their times add up to
            less than the network's: norms, pools and sums have none of their own. Empty where the
            graph cannot be run node by node.
        torch_seconds: The whole network in PyTorch, median.
        engine_seconds: The whole network compiled, median; None where it is not compiled.
        ceilings: What the machine could do.
        threads: Threads that were used.
        machine: What it was measured on, in words.
        why_not_compiled: Why there is no time of compiled code, in one line; "" where there is.
        why_not_by_layer: Why layers have no times, in one line; "" where they have.
    """

    layers: tuple[LayerTime, ...]
    torch_seconds: float
    engine_seconds: float | None
    ceilings: Ceilings
    threads: int
    machine: str
    why_not_compiled: str = ""
    why_not_by_layer: str = ""


def measure_speed(
    network: Callable[..., Any],
    graph: Graph,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    threads: int,
    seconds: float = 1.0,
    watch: "Watch | None" = None,
) -> Speed:
    """Measure how long a network takes in PyTorch and compiled, and each of its layers.

    Args:
        network: In evaluation mode, its weights on the CPU.
        graph: What it was followed as, not rewritten; it may be islands.
        args: Example arguments, which are left as they are.
        kwargs: The same, by name.
        threads: Threads to use.
        seconds: How long it may take, about, without compiling and the ceilings; slow networks
            take longer, since all is measured a few times at least.
        watch: Shows a person how far it has come.

    Raises:
        ModelError: If a weight or an argument is not on the CPU, or if the network does not run.
    """
    from onebyone.bench import Burst, describe_machine, measure_interleaved
    from onebyone.bench.measure import unwatched

    _check_place(network, args, kwargs)
    watch = watch or unwatched
    # The network may write into what it is given.
    args, named = tree_map_only(Tensor, torch.clone, (args, dict(kwargs or {})))
    layers = count_graph(graph, params=0).layers
    compiled, why_not_compiled = _compile(network, args, named, threads)
    calls: dict[str, Callable[[], object]] = {"torch": lambda: network(*args, **named)}
    if compiled is not None:
        calls["engine"] = lambda: compiled(*args, **named)
    with on_threads(threads), torch.inference_mode():
        rounds = _rounds(calls["torch"], seconds)
        # A slow network is slow with cold caches and sleeping threads as well.
        burst = Burst(discarded=int(rounds > ROUNDS.start), timed=1)
        whole = measure_interleaved(calls, rounds=rounds, burst=burst, watch=watch)
        in_torch, why_not_by_layer = _torch_times(graph, _inputs(graph, args, named), rounds, watch)
        engine: Mapping[str, float] = {}
        if compiled is not None:
            profile = compiled.profile(*args, rounds=rounds, **named)
            engine = _engine_times(profile, compiled.fates(), layers)
    return Speed(
        layers=tuple(
            LayerTime(
                name=layer.name,
                torch_seconds=in_torch[layer.name],
                engine_seconds=engine.get(layer.name),
            )
            for layer in layers
            if layer.name in in_torch
        ),
        torch_seconds=statistics.median(whole["torch"]),
        engine_seconds=statistics.median(whole["engine"]) if compiled is not None else None,
        ceilings=measure_ceilings(threads),
        threads=threads,
        machine=str(describe_machine()),
        why_not_compiled=why_not_compiled,
        why_not_by_layer=why_not_by_layer,
    )


def _check_place(
    network: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any] | None
) -> None:
    held = network.state_dict(keep_vars=True) if isinstance(network, nn.Module) else {}
    found = {**held, "an argument": [args, kwargs]}
    for name, value in found.items():
        for leaf in tree_leaves(value):
            if isinstance(leaf, Tensor) and leaf.device.type != "cpu":
                raise ModelError(
                    f"only what is on the CPU can be timed, and {name} is on {leaf.device}; "
                    "load the weights there, and make the example there"
                )


def _rounds(call: Callable[[], object], seconds: float) -> int:
    """Return how often a network can be measured in some time.

    Raises:
        ModelError: If it does not run.
    """
    try:
        call()
    except Exception as error:  # a user's network may raise anything
        raise ModelError(
            f"the model does not run on the example: {first_line(error)}; check that it does in "
            "PyTorch"
        ) from error
    wanted = int(seconds / (CALLS_IN_A_ROUND * seconds_of(call)))
    return min(max(wanted, ROUNDS.start), ROUNDS.stop - 1)


def _compile(
    network: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], threads: int
) -> "tuple[CompiledModel | None, str]":
    """Return a compiled network, or None and why."""
    from onebyone.compiler import compile_model

    try:
        return compile_model(network, args, kwargs, threads=threads), ""
    except OneByOneError as error:
        return None, first_line(error)


def _inputs(graph: Graph, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Return what the graph's inputs take: the example, or made-up numbers for islands."""
    given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    wanted = [node.shape for node in graph.inputs]
    if [tuple(tensor.shape) for tensor in given] == wanted:
        return given
    return [torch.rand(shape) for shape in wanted]


def _torch_times(
    graph: Graph, inputs: Sequence[Tensor], rounds: int, watch: "Watch"
) -> tuple[Mapping[str, float], str]:
    """Return how long each node takes in PyTorch, median, by name; or nothing, and why."""
    times: dict[str, list[float]] = {name: [] for name in graph.nodes}
    try:
        for number in watch(range(rounds + 1), "timing layers"):
            for name, seconds in _time_nodes(graph, inputs):
                if number:  # the first round wakes threads, and chooses algorithms
                    times[name].append(seconds)
    except Exception as error:  # a user's operator may raise anything
        return {}, first_line(error)
    return {name: statistics.median(found) for name, found in times.items()}, ""


def _time_nodes(graph: Graph, inputs: Sequence[Tensor]) -> Iterator[tuple[str, float]]:
    """Run a graph node by node, and give the name of each and how long it takes.

    Values go when their last reader has run, as they do in the network: memory that was used just
    now is in a cache, and new memory costs time.
    """
    last_read = {name: node.name for node in graph for name in node.inputs}
    values: dict[str, Any] = {}
    for node in graph:
        start = time.perf_counter()
        values[node.name] = _run(node, values, inputs)
        yield node.name, time.perf_counter() - start
        for name in {*node.inputs}:
            if last_read[name] == node.name:
                del values[name]


def _run(node: Node, values: Mapping[str, Any], inputs: Sequence[Tensor]) -> Any:
    """Run one node as the network does, which pads and multiplies in one operator."""
    if isinstance(node, Input):
        return inputs[node.index]
    if not isinstance(node, Convolution):
        return run_node(node, values)
    top, bottom, left, right = node.padding
    is_plain = len(node.inputs) == 1 and node.activation is None
    if not is_plain or (top, left) != (bottom, right):
        return run_node(node, values)
    x = values[node.inputs[0]]
    if node.is_linear:
        y = F.linear(x.permute(0, 2, 3, 1), node.weight.flatten(1), node.bias)
        return y.permute(0, 3, 1, 2)
    return F.conv2d(x, node.weight, node.bias, node.stride, (top, left), node.dilation, node.groups)


def _engine_times(
    profile: "Profile", fates: "LayerFates", layers: Sequence[LayerCost]
) -> Mapping[str, float]:
    """Return how long each layer takes in compiled code, by name."""
    operations = {row.name: row.operations for row in fates.rows}
    macs: dict[str, int] = {}
    for layer in layers:
        for operation in operations.get(layer.name, ()):
            macs[operation] = macs.get(operation, 0) + layer.macs
    seconds = dict.fromkeys(macs, 0.0)
    for row in profile.layers:
        # "conv1 transform" helps to compute "conv1", and "conv1 border" to read it.
        name = row.layer.name.partition(" ")[0]
        if name in seconds:
            seconds[name] += row.seconds / profile.threads
    return {
        layer.name: sum(seconds[name] * layer.macs / macs[name] for name in found)
        for layer in layers
        if (found := operations.get(layer.name))
    }
