"""Names of layers, what they share, and who watches them."""

import pytest
from torch import nn

from onebyone.shrinking.layers import Layers, is_within


def network_of():
    conv = nn.Conv2d(3, 3, 1)
    inner = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2))
    return nn.Sequential(conv, inner, conv, nn.Conv2d(3, 2, 1))


@pytest.mark.parametrize(
    ("path", "other", "expected"),
    [
        ("a.b", "a", True),
        ("a", "a", True),
        ("a", "", True),
        ("ab", "a", False),
        ("a", "a.b", False),
    ],
)
def test_is_within(path, other, expected):
    assert is_within(path, other) is expected


def test_layers_have_names_and_places():
    layers = Layers(network_of(), keep=["1"])
    assert [*layers.weighted] == ["0", "1.0", "1.2", "3"]
    assert layers.replaceable == ("1.0", "1.1", "3")
    assert (layers.other_names("0"), layers.other_names("3")) == (["2"], [])
    assert [path for path in layers.modules if layers.is_kept(path)] == ["1", "1.0", "1.1", "1.2"]


def test_numbers_are_shared_by_memory():
    network = network_of()
    network[3].weight = nn.Parameter(network[0].weight[:2])
    network[1][1].bias = network[1][0].bias
    layers = Layers(network)
    found = {path: layers.other_holders(path) for path in ("0", "1.0", "1.1", "3")}
    assert found == {"0": ["3"], "1.0": ["1.1"], "1.1": ["1.0"], "3": ["0"]}


def test_a_watcher_stands_between():
    network = network_of()
    network[1].register_forward_hook(lambda *_: None)
    layers = Layers(network)
    assert layers.hooked == ("1",)
    assert layers.watcher(("1.0", "1.1")) is None
    assert layers.watcher(("0", "3")) is None
    assert layers.watcher(("1.0", "3")) == "1"
