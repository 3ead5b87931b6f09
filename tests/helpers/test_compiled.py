"""`check_compiled` fails on planted faults, and is no stricter than float32 can be."""

import pytest
import torch

import tests.helpers.compiled
from onebyone.graph import Activation, Function
from tests.helpers.compiled import Net, check_compiled, check_values, count_terms


def make_net():
    net = Net()
    x = net.input(2, 30, 4, 5)
    return net, net.add(Activation, net.convolution(x, 20), function=Function("relu"))


def spoiled(output, *, change):
    copy = output.clone()
    change(copy)
    return copy


FAULTS = {
    "one number": lambda y: y.view(-1)[7].add_(1e-4),
    "all numbers a little": lambda y: y.mul_(1 + 3e-6),
    "a NaN": lambda y: y.view(-1)[3].fill_(torch.nan),
    "an infinity": lambda y: y.view(-1)[3].fill_(torch.inf),
    "two channels exchanged": lambda y: y.copy_(y[:, [1, 0, *range(2, 20)]]),
    "two images exchanged": lambda y: y.copy_(y.flip(0)),
}


@pytest.mark.parametrize("change", FAULTS.values(), ids=FAULTS)
def test_check_compiled_sees(change, monkeypatch):
    net, y = make_net()
    check_compiled(net.graph(y), net.values())
    run = tests.helpers.compiled.run_graph
    faulty = lambda *args, **keys: [spoiled(one, change=change) for one in run(*args, **keys)]  # noqa: E731
    monkeypatch.setattr(tests.helpers.compiled, "run_graph", faulty)
    with pytest.raises(AssertionError):
        check_compiled(net.graph(y), net.values())


def test_check_compiled_sees_a_spoiled_input(monkeypatch):
    net, y = make_net()
    run = tests.helpers.compiled.run_graph

    def spoiling(graph, inputs, **options):
        outputs = run(graph, inputs, **options)
        inputs[0][0] += 1
        return outputs

    monkeypatch.setattr(tests.helpers.compiled, "run_graph", spoiling)
    with pytest.raises(AssertionError, match="an input was changed"):
        check_compiled(net.graph(y), net.values())


def test_check_values_allows_float32_and_wants_its_type_and_shape():
    net, y = make_net()
    x = torch.randn(50, 1000, dtype=torch.float64)
    weight = torch.randn(1000, 20, dtype=torch.float64)
    expected, got = x @ weight, x.float() @ weight.float()
    check_values([got], [expected], terms=1000)
    for other in (got.double(), got[:, :10], got.half().float()):
        with pytest.raises(AssertionError):
            check_values([other], [expected], terms=1000)
    with pytest.raises(AssertionError):
        check_values([], [expected], terms=1000)
    assert count_terms(net.graph(y)) == 16 + 30
