"""A checkpoint gives the same network back, or one line that says why not."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from onebyone.errors import UnknownNameError, WeightsError
from onebyone.models import ZOO, Preprocess, build_network, create_model, load, save
from onebyone.models.weight_files import read_metadata, read_safetensors


def check_equal(first, second):
    assert type(first) is type(second)
    assert (first.config, first.card) == (second.config, second.card)
    tensors = second.state_dict()
    assert list(first.state_dict()) == list(tensors)
    for name, tensor in first.state_dict().items():
        assert tensor.dtype == tensors[name].dtype
        assert torch.equal(tensor, tensors[name]), name


@pytest.mark.parametrize("name", ZOO)
def test_every_network_comes_back_as_it_was(tmp_path, name):
    network = create_model(name, num_classes=3)
    network.card = replace(network.card, classes=("a", "ß", "猫"), weights="mine")
    save(network, tmp_path / "n.safetensors")
    again = load(tmp_path / "n.safetensors")
    check_equal(network, again)
    assert not again.training
    assert all(parameter.requires_grad for parameter in again.parameters())


def test_widths_and_conventions_come_back(tmp_path):
    config = replace(
        ZOO["efficientnet_lite0"].config, padding="symmetric", norm_eps=0.1 + 0.2, stem_channels=24
    )
    network = build_network(config)
    network.card = replace(network.card, preprocess=Preprocess(96, 101, (0.1, 0.2, 1 / 3)))
    save(network, tmp_path / "n.safetensors")
    check_equal(network, load(tmp_path / "n.safetensors"))


def test_dtypes_come_back(tmp_path):
    network = create_model("nin_cifar10").to(torch.bfloat16)
    save(network, tmp_path / "n.safetensors")
    check_equal(network, load(tmp_path / "n.safetensors"))


def test_strides_are_the_usual_ones():
    """The published file of lite0 has its weights in TensorFlow's order, by stride."""
    network = create_model("efficientnet_lite0", weights="imagenet")
    assert all(tensor.is_contiguous() for tensor in network.state_dict().values())


def test_channels_last_networks_can_be_saved(tmp_path):
    network = create_model("nin_cifar10").to(memory_format=torch.channels_last)
    save(network, tmp_path / "n.safetensors")
    check_equal(network, load(tmp_path / "n.safetensors"))


def test_real_weights_give_the_same_scores_again(tmp_path):
    network = create_model("efficientnet_lite0", weights="imagenet")
    save(network, tmp_path / "n.safetensors")
    x = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(network(x), load(tmp_path / "n.safetensors")(x))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "n.safetensors"
    save(create_model("nin_cifar10"), path)
    return path


def rewrite(source, target, **changes):
    """Write a checkpoint again with other metadata."""
    tensors, metadata = read_safetensors(source)
    description = json.loads(metadata["onebyone"]) | changes
    save_file(tensors, target, {"onebyone": json.dumps(description)})


def test_other_tools_can_read_it(saved):
    assert read_metadata(saved)["format"] == "pt"


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_cut_checkpoint_is_refused(tmp_path, saved, share):
    path = tmp_path / "cut.safetensors"
    content = saved.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError) as error:
        load(path)
    assert str(error.value) == f"{path}" + (
        " is cut short, damaged, or no .safetensors file; get or write the file again"
        if share
        else " is empty (0 bytes); a .safetensors file was wanted: get the file again"
    )


def test_plain_tensors_do_not_say_of_which_network(tmp_path):
    path = tmp_path / "plain.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(WeightsError) as error:
        load(path)
    assert str(error.value) == (
        f"{path} holds tensors only, and does not say of which network; name the network and pass "
        f"the file as its weights: create_model(NAME, weights={str(path)!r}), or "
        f"`onebyone predict NAME --weights {path} ...`"
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"format": 4},
            "is of format 4, and this version of onebyone reads up to 3; install a newer one: "
            "pip install --upgrade onebyone",
        ),
        ({"family": "vgg"}, "the description of its network is damaged (KeyError: 'vgg')"),
        ({"config": {}}, "the description of its network is damaged (stages: "),
        ({"config": {"stages": "x"}}, "the description of its network is damaged (stages: "),
        ({"config": {"stages": []}}, "no network can be built as described (ValueError: "),
        (
            {"config": {"stages": [{"channels": [-1], "kernel_size": 3}]}},
            "no network can be built as described (RuntimeError: ",
        ),
        ({"card": None}, "the description of its network is damaged ("),
        (
            {"card": {"model": "x", "preprocess": {"resize_size": 10**9}}},
            "the description of its network is damaged (preprocess: ",
        ),
        ({"card": {"model": "x", "steps": [{"kind": []}]}}, "a step of kind [] was done"),
        ({"format": None}, "the description of its network is damaged (TypeError: "),
    ],
)
def test_a_description_that_is_not_ours_is_refused(tmp_path, saved, changes, line):
    path = tmp_path / "n.safetensors"
    rewrite(saved, path, **changes)
    with pytest.raises((WeightsError, UnknownNameError)) as error:
        load(path)
    assert line in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_an_unknown_step_asks_for_a_newer_version(tmp_path, saved):
    card = json.loads(read_metadata(saved)["onebyone"])["card"]
    path = tmp_path / "n.safetensors"
    rewrite(saved, path, card=card | {"steps": [{"kind": "teleport"}]})
    with pytest.raises(UnknownNameError) as error:
        load(path)
    assert str(error.value) == (
        f"{path}: a step of kind 'teleport' was done to this network, which this version of "
        "onebyone does not know; install a newer one: pip install --upgrade onebyone"
    )


def test_a_network_that_nobody_told_of_is_not_saved(tmp_path):
    line = r"^a network of the zoo, or the card that .* gave with another, was wanted, and a Conv2d"
    with pytest.raises(WeightsError, match=line):
        save(nn.Conv2d(1, 1, 1), tmp_path / "n.safetensors")


def test_the_name_of_a_checkpoint_is_checked(tmp_path, saved):
    with pytest.raises(WeightsError, match=r"n.pth: a name that ends in .safetensors was wanted$"):
        save(load(saved), tmp_path / "n.pth")


def test_a_folder_that_does_not_exist_is_named(tmp_path, saved):
    with pytest.raises(WeightsError, match=r"^cannot write .*no/n.safetensors \(No such file"):
        save(load(saved), tmp_path / "no" / "n.safetensors")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, saved, monkeypatch):
    network = load(saved)
    path = tmp_path / "n.safetensors"
    save(network, path)
    before = path.read_bytes()

    def fail(tensors, filename, metadata):
        filename.write_bytes(b"half a fi")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(WeightsError, match=r"\(No space left on device\)$"):
        save(network, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_network_that_was_changed_by_hand_is_not_saved(tmp_path):
    """Better now than when, after the training, its checkpoint does not load."""
    network = create_model("resnet18")
    network.fc = nn.Linear(512, 10)
    with pytest.raises(WeightsError) as error:
        save(network, tmp_path / "n.safetensors")
    assert str(error.value) == (
        "the network was changed since it was built, and could not be rebuilt from a file: tensors "
        "2 of another shape (fc.bias is (10,) for (1000,), fc.weight is (10, 512) for (1000, 512)"
        "); build it as it should be, such as with num_classes=..., or record the change as a step "
        "of its card"
    )
    assert list(tmp_path.iterdir()) == []
