"""How values go out: with channels outermost, of every size around that of a vector."""

import pytest
import torch

from onebyone.graph import Activation, Function
from tests.helpers.compiled import RUNNABLE, Net, run_graph


def sizes(lanes):
    """Channels, rows and columns: fewer than a vector has lanes, as many, and some more."""
    around = (1, lanes - 1, lanes, 2 * lanes + 3)
    return [
        (channels, rows, columns)
        for channels in around
        for rows, columns in (
            (1, 1),
            (3, lanes),
            (2, lanes + 1),
            (5, max(1, lanes // 4)),
            (1, 2 * lanes + 5),
        )
    ]


@pytest.mark.parametrize("target", RUNNABLE)
def test_each_number_goes_to_its_place(target):
    """Also where values have a border, which others read."""
    net, outputs, readers = Net(), [], []
    for channels, rows, columns in sizes(target.lanes):
        x = net.input(2, channels, rows, columns)
        kept = net.add(Activation, x, function=Function("relu"))
        readers.append(net.convolution(kept, 1, (3, 3), padding=(1, 1, 1, 1)))
        outputs.append(kept)
    graph, values = net.graph(*outputs, *readers), net.values()
    found = run_graph(graph, values, target=target, threads=2)
    for got, value in zip(found[: len(outputs)], values, strict=True):
        assert torch.equal(got, value.relu())
