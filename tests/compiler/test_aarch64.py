"""What is compiled for aarch64 computes what the graph says: in an emulator, on any machine."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from onebyone.compiler.rewrites import rewrite_graph
from onebyone.graph import Convolution, capture, interpret
from onebyone.models import create_model
from tests.compiler.every_kind import EveryKind, check_is_every_kind
from tests.helpers.compiled import check_values, count_terms
from tests.helpers.cross import build_program, missing
from tests.helpers.networks import randomize

MISSING = missing()
pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)


def check_program(program, graph, x, **facts):
    """A program gives the values of float64, but for rounding."""
    got = program.run([x], **facts)
    check_values(got, interpret(graph, [x], dtype=torch.float64), terms=count_terms(graph))
    return got


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A graph with all that there is, its program, and images."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 17, 15)
    graph = rewrite_graph(capture(EveryKind().eval(), (x,)).graph)
    return graph, build_program(graph, tmp_path_factory.mktemp("everything")), x


def test_every_kind_of_node(everything):
    graph, program, x = everything
    check_is_every_kind(graph, program.plan)
    check_program(program, graph, x)


@pytest.mark.parametrize("spins", [1, 100_000], ids=["asleep", "awake"])
def test_two_threads_give_the_same_bits(everything, spins):
    _, program, x = everything
    for one, other in zip(program.run([x]), program.run([x], threads=2, spins=spins), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("name", "size"), [("mobilenet_v2", 64), ("resnet18", 32)])
def test_networks(name, size, tmp_path):
    network = create_model(name)
    randomize(network, size)
    x = torch.randn(1, 3, size, size)
    graph = rewrite_graph(capture(network, (x,)).graph)
    check_program(build_program(graph, tmp_path), graph, x, threads=2)


def test_check_program_sees_a_planted_fault(tmp_path):
    x = torch.randn(1, 5, 3, 3)
    graph = capture(nn.Conv2d(5, 7, 1).eval(), (x,)).graph
    program = build_program(graph, tmp_path)
    check_program(program, graph, x)
    (conv,) = (node for node in graph if isinstance(node, Convolution))
    planted = graph.with_changes({conv.name: replace(conv, bias=conv.bias + 1e-3)})
    with pytest.raises(AssertionError, match="output 0"):
        check_program(program, planted, x)
