"""What was done to a network is done again from a file, by name, or refused in one line."""

import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from onebyone.errors import OneByOneError, UnknownNameError, WeightsError
from onebyone.models import ZOO, build_network, create_model, load, load_model, save
from onebyone.models.card import ModelCard, card_of
from onebyone.models.steps import edits_step, repeat_steps, with_edits
from onebyone.models.weight_files import read_metadata, read_safetensors
from onebyone.nn.edit_network import apply_edit
from onebyone.nn.edits import Factorise, FoldNorm, Narrow
from tests.helpers.oracles import timm, torchvision

BASIC = (
    FoldNorm(conv="layer2.0.conv1", norm="layer2.0.bn1"),
    FoldNorm(conv="layer2.0.conv2", norm="layer2.0.bn2"),
    Narrow(conv="layer2.0.conv1", in_channels=16, out_channels=24),
    Narrow(conv="layer2.0.conv2", in_channels=24, out_channels=32),
    Factorise(conv="layer3.1.conv1", form="expand", ranks=(16,)),
)
BOTTLENECK = (
    FoldNorm(conv="layer1.0.conv2", norm="layer1.0.bn2"),
    Factorise(conv="layer1.0.conv2", form="bottleneck", ranks=(8, 12)),
    Factorise(conv="layer1.0.conv2.1", form="reduce", ranks=(3,)),
)
INVERTED = (
    FoldNorm(conv="blocks.1.0.conv_pw", norm="blocks.1.0.bn1"),
    FoldNorm(conv="blocks.1.0.conv_dw", norm="blocks.1.0.bn2"),
    Narrow(conv="blocks.1.0.conv_pw", in_channels=16, out_channels=40),
    Narrow(conv="blocks.1.0.conv_dw", in_channels=40, out_channels=40),
    Narrow(conv="blocks.1.0.conv_pwl", in_channels=40, out_channels=24),
    Factorise(conv="conv_head", form="expand", ranks=(64,)),
)

FILE = """
from torch import nn

def make():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )

def make_zoos():
    import onebyone
    return onebyone.create_model("nin_cifar10")
"""
OF_FILE = (FoldNorm(conv="0", norm="1"), Factorise(conv="0", form="bottleneck", ranks=(2, 3)))


def smaller(network, card, edits):
    """A network with edits done to it, and its card."""
    for edit in edits:
        apply_edit(network, edit)
    return network, with_edits(card, edits)


def small_resnet50():
    config = replace(
        ZOO["resnet50"].config,
        stem_channels=8,
        hidden_channels=(16, 16, 16, 16),
        num_classes=5,
    )
    return build_network(config)


def check_same_outputs(first, second, x):
    with torch.inference_mode():
        expected = first(x)
        assert expected.isfinite().all()
        assert torch.equal(second(x), expected)


@pytest.mark.parametrize(
    ("make", "edits", "size"),
    [
        (lambda: create_model("resnet20"), BASIC, 32),
        (small_resnet50, BOTTLENECK, 64),
        (lambda: create_model("mobilenet_v2"), INVERTED, 64),
    ],
    ids=["resnet20", "resnet50", "mobilenet_v2"],
)
def test_a_changed_network_of_the_zoo_comes_back(tmp_path, make, edits, size):
    network = make()
    network, network.card = smaller(network, network.card, edits)
    path = tmp_path / "small.safetensors"
    save(network, path)
    x = torch.randn(2, 3, size, size)
    check_same_outputs(network, load(path), x)
    again, card = load_model(path)
    check_same_outputs(network, again, x)
    assert card == network.card == card_of(again)
    assert not any(module.training for module in again.modules())
    assert {type(one) for one in again.modules()} == {type(one) for one in network.modules()}


@pytest.mark.parametrize(
    ("name", "edits", "package"),
    [
        ("timm:efficientnet_lite0", INVERTED, timm),
        ("torchvision:resnet18", (BASIC[-1],), torchvision),
    ],
)
def test_a_changed_network_of_a_package_comes_back(tmp_path, name, edits, package):
    network, card = load_model(name)
    network, card = smaller(network, replace(card, classes=("a", "b")), edits)
    path = tmp_path / "small.safetensors"
    state = torch.get_rng_state()
    save(network, path, card=card)
    assert torch.equal(torch.get_rng_state(), state)
    x = torch.randn(2, 3, 64, 64)
    again, loaded = load_model(path)
    assert type(again).__module__.startswith(package.__name__)
    assert loaded == card
    check_same_outputs(network, again, x)
    named, by_name = load_model(name, weights=path)
    assert by_name == replace(card, weights=str(path))
    check_same_outputs(network, named, x)
    save(again, tmp_path / "again.safetensors")
    assert read_metadata(tmp_path / "again.safetensors") == read_metadata(path)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_a_changed_network_of_a_users_file_comes_back_where_they_name_it(tmp_path, file):
    network, card = smaller(*load_model(f"{file}:make"), OF_FILE)
    path = tmp_path / "small.safetensors"
    save(network, path, card=replace(card, classes=("a",)))
    again, loaded = load_model(f"{file}:make", weights=path)
    check_same_outputs(network, again, torch.randn(2, 3, 9, 9))
    assert loaded.steps == card.steps
    assert (loaded.model, loaded.classes) == (f"{file}:make", ("a",))


def test_a_file_of_weights_has_no_file_run(tmp_path, file):
    network, card = smaller(*load_model(f"{file}:make"), OF_FILE)
    path = tmp_path / "small.safetensors"
    save(network, path, card=card)
    file.write_text("raise SystemExit('it was run')")
    with pytest.raises(WeightsError) as error:
        load(path)
    assert str(error.value) == (
        f"{path}: this network comes from a function in a Python file ('{file}:make'), which a "
        "file of weights cannot have run; name it, and pass the file as its weights: "
        "onebyone.load_model('FILE.py:FUNCTION', weights=...), or `onebyone predict "
        "FILE.py:FUNCTION --weights ...`"
    )
    network.card = card
    save(network, path)  # nor does writing one


def test_what_a_file_makes_of_the_zoos_networks_can_be_changed_and_kept(tmp_path, file):
    network, card = load_model(f"{file}:make_zoos")
    edits = [Factorise(conv="stages.0.0.spatial.conv", form="expand", ranks=(5,))]
    network, network.card = smaller(network, card, edits)
    path = tmp_path / "small.safetensors"
    save(network, path)
    x = torch.randn(2, 3, 32, 32)
    for again in (load(path), load_model(f"{file}:make_zoos", weights=path).network):
        check_same_outputs(network, again, x)
    save(again, path)
    check_same_outputs(network, load(path), x)


def test_a_network_can_be_changed_again(tmp_path):
    network = create_model("resnet20")
    network, network.card = smaller(network, network.card, BASIC[:4])
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    save(network, first)
    network, network.card = smaller(network, network.card, BASIC[4:])
    save(network, second)
    assert [len(step["edits"]) for step in network.card.steps] == [4, 1]
    x = torch.randn(2, 3, 32, 32)
    check_same_outputs(network, load(second), x)
    check_same_outputs(network, load_model(first, weights=second).network, x)
    with pytest.raises(
        WeightsError, match=r"first.*: resnet20 was changed in another way than the network "
    ):
        load_model(second, weights=first)
    with pytest.raises(WeightsError, match=r"not resnet20 as the zoo has it; load the file as the"):
        create_model("resnet20", weights=second)


def test_nothing_done_is_no_step():
    card = ModelCard(model="resnet20")
    assert with_edits(card, []) is card


def test_a_change_that_is_on_no_card_is_not_saved(tmp_path):
    network, card = load_model("timm:efficientnet_lite0")
    smaller(network, card, INVERTED[-1:])
    with pytest.raises(WeightsError, match="the network was changed since it was built, .* 1 miss"):
        save(network, tmp_path / "n.safetensors", card=card)


@pytest.mark.parametrize("model", ["mine", "resnet50", "small.safetensors", "tim:resnet18", ""])
def test_a_card_says_what_a_network_was_built_from(tmp_path, model):
    with pytest.raises(WeightsError) as error:
        save(nn.ReLU(), tmp_path / "n.safetensors", card=ModelCard(model=model))
    assert str(error.value) == (
        "a card that says what the ReLU was built from was wanted, with timm:NAME, "
        f"torchvision:NAME, file.py:FUNCTION or net.onnx as its model, and {model!r} came; pass "
        "the card that onebyone.load_model gave with the network"
    )


def test_a_network_keeps_a_card_of_its_own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\nclass Mine(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.card = nn.ReLU()\n"
        "    def forward(self, x):\n        return self.card(x).mean((2, 3))\n"
    )
    network, card = load_model(f"{path}:Mine")
    assert isinstance(network.card, nn.ReLU)
    assert card_of(network) is None
    save(network, tmp_path / "n.safetensors", card=card)


def test_edits_are_plain_json():
    step = edits_step([BASIC[0], BASIC[2], BASIC[4]])
    assert json.loads(json.dumps(step)) == step
    assert step == {
        "kind": "edits",
        "edits": [
            {"kind": "fold", "conv": "layer2.0.conv1", "norm": "layer2.0.bn1"},
            {"kind": "narrow", "conv": "layer2.0.conv1", "in_channels": 16, "out_channels": 24},
            {"kind": "factorise", "conv": "layer3.1.conv1", "form": "expand", "ranks": [16]},
        ],
    }


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "n.safetensors"
    network = create_model("resnet20")
    network, network.card = smaller(network, network.card, BASIC)
    save(network, path)
    return path


def rewrite(source, target, steps=None, **changes):
    """Write a checkpoint again with other metadata; JSON as Python writes it, NaN included."""
    tensors, metadata = read_safetensors(source)
    description = json.loads(metadata["onebyone"]) | changes
    if steps is not None:
        description["card"]["steps"] = steps
    save_file(tensors, target, {"onebyone": json.dumps(description)})


def changed(**values):
    """The last edit of the saved network, with other values."""
    edit = {"kind": "factorise", "conv": "layer3.1.conv1", "form": "expand", "ranks": [16]}
    return edit | values


DAMAGED = "the changes of the network are damaged"
NO_FIT = "the network was changed in ways that do not fit this one (layer3.1.conv1: "


@pytest.mark.parametrize(
    ("edits", "line"),
    [
        (None, f"{DAMAGED} (a list was wanted)"),
        ("fold", f"{DAMAGED} (a list was wanted)"),
        ({"kind": "fold"}, f"{DAMAGED} (a list was wanted)"),
        ([7], f"edit 0: {DAMAGED} (an object was wanted)"),
        ([[]], f"edit 0: {DAMAGED} (an object was wanted)"),
        ([{}], f"edit 0: {DAMAGED} (of kind None"),
        ([changed(kind=["fold"])], f"edit 0: {DAMAGED} (of kind ['fold']"),
        ([changed(kind="teleport")], "edit 0: an edit of kind 'teleport' was done to this network"),
        ([changed(kind="__class__")], "edit 0: an edit of kind '__class__' was done"),
        ([{"kind": "fold", "conv": "conv1"}], f"edit 0: {DAMAGED} (norm: it is missing)"),
        ([changed(code="import os")], f"edit 0: {DAMAGED} (it has 'code', which nothing is known"),
        ([changed(__class__="x")], f"edit 0: {DAMAGED} (it has '__class__'"),
        ([changed(conv=7)], f"edit 0: {DAMAGED} (conv: text was wanted, and 7 came)"),
        ([changed(conv="layer9")], "(layer9: a convolution was wanted here, and the network has "),
        ([changed(conv="layer3.1.conv1.__class__")], "(layer3.1.conv1.__class__: a convolution "),
        ([changed(conv="a\nb")], "(a\\nb: a convolution was wanted here"),
        ([changed(conv="")], "(the network itself: a convolution was wanted here, and the network"),
        ([changed(form="explode")], f"edit 0: {DAMAGED} (form: 'reduce' or 'expand' or"),
        ([changed(ranks=[0])], f"{NO_FIT}`ranks` (=(0,)) must be in 1..64)"),
        ([changed(ranks=[-3])], f"{NO_FIT}`ranks` (=(-3,)) must be in 1..64)"),
        ([changed(ranks=[10**15])], f"{NO_FIT}`ranks` (=({10**15},)) must be in 1..64)"),
        ([changed(ranks=[10**40])], f"{NO_FIT}`ranks` (=({10**40},)) must be in 1..64)"),
        ([changed(ranks=[])], f"{NO_FIT}`ranks` (=()) must be 1, as the form 'expand' has)"),
        ([changed(ranks=[4, 4])], f"{NO_FIT}`ranks` (=(4, 4)) must be 1, as the form"),
        ([changed(ranks=[math.nan])], f"edit 0: {DAMAGED} (ranks.0: a whole number was wanted"),
        ([changed(ranks=[math.inf])], f"edit 0: {DAMAGED} (ranks.0: a whole number was wanted"),
        ([changed(ranks=[1.5])], f"edit 0: {DAMAGED} (ranks.0: a whole number was wanted, and "),
        ([changed(ranks=["many"])], f"edit 0: {DAMAGED} (ranks.0: a whole number was wanted, and "),
        ([changed(ranks=16)], f"edit 0: {DAMAGED} (ranks: a list was wanted, and 16 came)"),
        ([changed(ranks=None)], f"edit 0: {DAMAGED} (ranks: a list was wanted, and None came)"),
        (
            [{"kind": "narrow", "conv": "layer3.1.conv1", "in_channels": -1, "out_channels": 9}],
            f"{NO_FIT}it is 64 → 64 channels, and cannot be narrowed to -1 → 9)",
        ),
        (
            [{"kind": "narrow", "conv": "conv1", "in_channels": None, "out_channels": 9}],
            f"edit 0: {DAMAGED} (in_channels: a whole number was wanted, and None came)",
        ),
        (
            [{"kind": "fold", "conv": "layer3.1.conv1", "norm": "fc"}],
            f"{NO_FIT}a batch norm was wanted at fc, to be folded into this layer, and the network "
            "has a Linear)",
        ),
        (
            [changed(), changed()],
            f"{NO_FIT}a convolution was wanted here, and the network has a Sequential)",
        ),
        ([changed()], "the weights do not fit the network: tensors "),
    ],
)
def test_damaged_edits_are_one_line(tmp_path, saved, edits, line):
    path = tmp_path / "n.safetensors"
    rewrite(saved, path, steps=[{"kind": "edits", "edits": edits}])
    with pytest.raises((WeightsError, UnknownNameError)) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("steps", [None, "edits", {"kind": "edits"}, [7], [["edits"]]])
def test_damaged_steps_are_one_line(tmp_path, saved, steps):
    path = tmp_path / "n.safetensors"
    card = json.loads(read_metadata(saved)["onebyone"])["card"] | {"steps": steps}
    rewrite(saved, path, card=card)
    with pytest.raises(WeightsError, match=r"the description of its network is damaged \(steps"):
        load(path)


@pytest.mark.parametrize(
    ("network", "line"),
    [
        (7, "the description of its network is damaged (TypeError: "),
        (None, "the description of its network is damaged (TypeError: "),
        ("resnet20", "the description of its network is damaged (ValueError: its network is 'resn"),
        ("other.safetensors", "the description of its network is damaged (ValueError: its network"),
        ("os:system", "the description of its network is damaged (ValueError: its network is 'os:"),
        ("a.py\n:b", "the description of its network is damaged (ValueError: its network is 'a.p"),
        ("timm:resnet19", "timm has no model 'resnet19'; did you mean"),
        ("timm:hf-hub:someone/something", "timm has no model 'hf-hub:someone/something'"),
        ("torchvision:__class__", "torchvision has no model '__class__'"),
        ("evil.py:make", "this network comes from a function in a Python file ('evil.py:make')"),
    ],
)
def test_a_network_that_is_none_is_one_line(tmp_path, saved, monkeypatch, network, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('it was run')")
    path = tmp_path / "n.safetensors"
    rewrite(saved, path, format=2, network=network)
    with pytest.raises((WeightsError, UnknownNameError)) as error:
        load(path)
    assert line in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_older_versions_can_read_the_zoos_networks(tmp_path, saved, file):
    assert json.loads(read_metadata(saved)["onebyone"])["format"] == 1
    path = tmp_path / "n.safetensors"
    save(load_model(f"{file}:make").network, path)
    description = json.loads(read_metadata(path)["onebyone"])
    assert (description["format"], description["network"]) == (2, f"{file}:make")


def test_the_network_of_another_file_is_named(tmp_path, file):
    network, card = smaller(*load_model(f"{file}:make"), OF_FILE)
    save(network, tmp_path / "small.safetensors", card=card)
    with pytest.raises(OneByOneError) as error:
        load_model(f"{file}:make_zoos", weights=tmp_path / "small.safetensors")
    assert str(error.value) == (
        f"{tmp_path}/small.safetensors: the network was changed in ways that do not fit this one "
        "(0: a convolution was wanted here, and the network has nothing of that name); name the "
        "network that the file was made from, or write the file again"
    )


def test_steps_are_repeated_on_networks_without_numbers():
    with torch.device("meta"):
        network = create_model("resnet20")
    repeat_steps(network, [edits_step(BASIC)])
    assert all(tensor.is_meta for tensor in network.state_dict().values())
    assert network.layer2[0].conv1.out_channels == 24
