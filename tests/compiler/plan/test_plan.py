"""Plans of real networks: who runs when, and on which memory."""

import functools
from itertools import pairwise

import pytest
import torch

from onebyone.compiler.abi import BaseWord
from onebyone.compiler.kernels.lower import LOWER
from onebyone.compiler.memory.arena import SLACK
from onebyone.compiler.memory.buffers import Place
from onebyone.compiler.plan.plan import plan_execution
from onebyone.compiler.rewrites import rewrite_graph
from onebyone.compiler.target import TARGETS
from onebyone.graph import Concat, Convolution, Node, capture
from onebyone.models import create_model

MODELS = ["googlenet", "resnet50", "mobilenet_v2", "efficientnet_lite0", "inception_resnet_v2"]


@functools.cache
def graph_of(name):
    return rewrite_graph(capture(create_model(name), (torch.zeros(1, 3, 128, 128),)).graph)


@functools.cache
def plan_of(name, target):
    return plan_execution(graph_of(name), TARGETS[target])


@pytest.fixture(scope="module", autouse=True)
def _forget():
    """Plans hold all weights."""
    yield
    graph_of.cache_clear()
    plan_of.cache_clear()


def places(operation):
    """The places of a work record."""
    return [value for value in operation.work.values() if isinstance(value, Place)]


@pytest.mark.parametrize("target", ["avx512", "baseline", "neon"])
@pytest.mark.parametrize("name", MODELS)
def test_operations_that_are_live_together_are_apart(name, target):
    plan = plan_of(name, target)
    spans = [
        (life, plan.arena_offsets[life.name], plan.arena_offsets[life.name] + life.size)
        for life in plan.lifetimes
    ]
    for number in range(len(plan.groups)):
        live = sorted(
            (a, b, life.name) for life, a, b in spans if life.first <= number <= life.last
        )
        for (_, end, one), (start, _, other) in pairwise(live):
            assert end <= start, f"{one} and {other} in group {number}"
    assert max(end for _, _, end in spans) + SLACK <= plan.arena_size


@pytest.mark.parametrize("name", MODELS)
def test_readers_come_after_all_writers(name):
    """By the graph's own edges: what makes a node's value runs before whoever reads the node."""
    graph, plan = graph_of(name), plan_of(name, "avx512")
    written = {}  # the last group that writes a part of a node's value
    for number, group in enumerate(plan.groups):
        for operation in group:
            node = (
                operation.name
                if operation.name in graph.nodes
                else operation.name.rpartition(" ")[0]
            )
            written.setdefault(node, []).append(number)
    finished = {}
    for node in graph:
        before = max((finished[one] for one in node.inputs), default=-1)
        own = written.get(node.name, [])
        if own and not isinstance(node, Concat):
            assert min(own) > before, node.name
        finished[node.name] = max([before, *own])


@pytest.mark.parametrize("name", MODELS)
def test_buffers_live_while_they_are_used(name):
    plan = plan_of(name, "avx512")
    lives = {life.name: life for life in plan.lifetimes}
    for number, group in enumerate(plan.groups):
        for operation in group:
            for place in places(operation):
                if place.base == BaseWord.ARENA:
                    life = lives[place.buffer]
                    assert life.first <= number <= life.last, operation.name
                    assert 0 <= place.offset < life.size, operation.name
            used = {place.buffer for place in places(operation) if place.base == BaseWord.ARENA}
            assert used <= {*operation.reads, operation.writes}, operation.name
            assert operation.chunks >= 1


@pytest.mark.parametrize("name", MODELS)
def test_operations_of_a_group_do_not_read_what_it_writes(name):
    """But for what one writes over, and parts of one buffer: branches of a concatenation."""
    plan = plan_of(name, "avx512")
    for group in plan.groups:
        written = {operation.writes: operation for operation in group}
        for operation in group:
            for read in operation.reads:
                writer = written.get(read)
                is_own = writer is None or writer is operation
                assert is_own or _is_concat(graph_of(name), read), (operation.name, read)


def _is_concat(graph, name):
    return isinstance(graph[name], Concat)


@pytest.mark.parametrize("name", ["googlenet", "inception_resnet_v2"])
def test_branches_are_written_into_place(name):
    plan = plan_of(name, "avx512")
    assert not [operation.name for operation in plan.operations if operation.note == "copied"]
    views = {view for view, _ in plan.views}
    assert {node.name for node in graph_of(name) if isinstance(node, Concat)} <= views


@pytest.mark.parametrize("name", MODELS)
def test_all_multiply_adds_are_accounted_for(name):
    graph, plan = graph_of(name), plan_of(name, "avx512")
    wanted = sum(
        torch.Size(node.shape).numel() * node.weight[0].numel()
        for node in graph
        if isinstance(node, Convolution)
    )
    assert sum(operation.macs for operation in plan.operations) == wanted


def test_a_plan_needs_no_more_memory_than_its_widest_moment():
    """Largest first is not always the best; on these networks a quarter more is enough."""
    for name in MODELS:
        plan = plan_of(name, "avx512")
        widest = max(
            sum(life.size for life in plan.lifetimes if life.first <= number <= life.last)
            for number in range(len(plan.groups))
        )
        assert plan.arena_size <= 1.25 * widest, name


def test_plans_are_the_same_each_time():
    plans = [plan_execution(graph_of("mobilenet_v2"), TARGETS["avx512"]) for _ in range(2)]
    assert plans[0].groups == plans[1].groups
    assert plans[0].arena_offsets == plans[1].arena_offsets
    assert torch.equal(plans[0].constants.block(), plans[1].constants.block())


def test_every_kind_has_a_way_to_run():
    kinds = {kind.__name__ for kind in Node.__subclasses__()}
    assert {kind.__name__ for kind in LOWER} == kinds - {"Opaque"}
