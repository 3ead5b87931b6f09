"""timm:, torchvision: and file.py: models, and what they answer when something is wrong."""

import sys
import warnings
from functools import partial

import pytest
import torch

from onebyone.errors import MissingPackageError, ModelError, UnknownNameError, WeightsError
from onebyone.models import (
    Preprocess,
    check_reference,
    create_model,
    load_model,
    open_photo,
    predict,
    save,
)
from onebyone.models.preprocess import IMAGENET_MEAN, IMAGENET_STD
from tests.helpers.oracles import timm, torchvision
from tests.helpers.photos import CHELSEA

FILE = """
from dataclasses import dataclass
from torch import nn
from companion import WIDTH

@dataclass
class Size:
    channels: int

def make():
    conv = nn.Conv2d(3, Size(WIDTH).channels, 1)
    return nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten())

def fail():
    raise ValueError("two lines,\\nof which one is shown")

number = 7
network = nn.ReLU()
def sized(width, *, depth, kind="plain", **more):
    return nn.ReLU()

def fail_beside():
    import companion
    return companion.fail()

def leave():
    raise SystemExit(3)

def give_number():
    return number
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "companion.py").write_text("WIDTH = 4\ndef fail():\n    return {}['a']")
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    yield path
    sys.modules.pop("companion", None)


def test_a_users_file_gives_a_network(file):
    network, card = load_model(f"{file}:make")
    assert not network.training
    assert (card.model, card.preprocess, card.classes) == (f"{file}:make", Preprocess(), ())
    top = predict(network, card, open_photo(CHELSEA)).top
    assert sorted(score.label for score in top) == ["class 0", "class 1", "class 2", "class 3"]
    assert sum(score.probability for score in top) == pytest.approx(1)
    assert str(file.parent) not in sys.path


def test_a_users_file_takes_weights(file, tmp_path):
    network, _ = load_model(f"{file}:make")
    torch.save(network.state_dict(), tmp_path / "w.pth")
    again, card = load_model(f"{file}:make", weights=str(tmp_path / "w.pth"))
    assert torch.equal(again[0].weight, network[0].weight)
    assert card.weights == str(tmp_path / "w.pth")


def test_a_file_that_makes_one_of_our_networks_keeps_its_card(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import onebyone\n"
        "def make():\n    return onebyone.create_model('efficientnet_lite0', weights='imagenet')"
    )
    _, card = load_model(f"{path}:make")
    assert card.classes[967] == "espresso"
    assert card.model == f"{path}:make"


def test_a_file_that_makes_a_network_of_timms_is_prepared_as_timm_says(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import timm\ndef make():\n    return timm.create_model('inception_v4')")
    assert load_model(f"{path}:make").card.preprocess.input_size == 299


@pytest.mark.parametrize(
    ("factory", "kind", "line"),
    [
        ("mak", UnknownNameError, "nothing named 'mak' in {file}; did you mean 'make'?"),
        (
            "fail",
            ModelError,
            "{file}, line 15: ValueError: two lines,",
        ),
        ("leave", ModelError, "{file}, line 27: SystemExit: 3"),
        ("fail_beside", ModelError, "{folder}/companion.py, line 3: KeyError: 'a'"),
        (
            "number",
            ModelError,
            "{file}:number is a int, and a function that returns the network was wanted",
        ),
        (
            "network",
            ModelError,
            "{file}:network is a network, and a function that returns one was wanted: write "
            "`def make(): return network`, and name {file}:make",
        ),
        (
            "sized",
            ModelError,
            "{file}:sized needs arguments (width, depth), and a function without was wanted: write "
            "`def make(): return sized(...)`, and name {file}:make",
        ),
        (
            "give_number",
            ModelError,
            "{file}:give_number was to return a torch.nn.Module, and returned a int",
        ),
    ],
)
def test_a_file_that_gives_no_network_is_answered(file, factory, kind, line):
    with pytest.raises(kind) as error:
        load_model(f"{file}:{factory}")
    assert str(error.value) == line.format(file=file, folder=file.parent)


def test_a_file_that_does_not_parse_is_answered(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("def make(:\n")
    with pytest.raises(ModelError, match=r"broken.py, line 1: SyntaxError: .*[^)]$"):
        load_model(f"{path}:make")


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("no/such.py:make", "no/such.py: a Python file was wanted, and there is no such file"),
        (
            "mine.py",
            "mine.py is a Python file; name the function in it that returns the network: "
            "mine.py:FUNCTION",
        ),
        (
            "w.pth",
            "w.pth is a file of weights, which does not say of which network; name that, and pass "
            "the file as its weights: NAME --weights w.pth",
        ),
    ],
)
def test_files_that_are_no_models_are_answered(model, line):
    with pytest.raises(ModelError) as error:
        load_model(model)
    assert str(error.value) == line


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (
            "https://host/net.safetensors",
            "https://host/net.safetensors is an address, and networks are not loaded from those; "
            "download it and name the file, or name a network of the zoo: `onebyone models` lists "
            "all",
        ),
        (
            "net.pt2",
            "net.pt2 is an exported program, and those cannot be read; name the PyTorch network "
            "that it was made from, as file.py:FUNCTION",
        ),
        (
            "cat.JPG",
            "cat.JPG is a photo, and the model comes before the photos; onebyone predict MODEL "
            "PHOTO...",
        ),
        (
            "mine.py:make()",
            "'make()' is no name of a function in mine.py; name the one that returns the network, "
            "without brackets and dots: mine.py:FUNCTION",
        ),
        (
            "tests",
            "tests is a folder; a name of the zoo, timm:NAME, torchvision:NAME, file.py:FUNCTION, "
            "an ONNX file (.onnx) or a checkpoint (.safetensors) was wanted",
        ),
        (
            "Makefile",
            "Makefile is no file that holds a network; a name of the zoo, timm:NAME, "
            "torchvision:NAME, file.py:FUNCTION, an ONNX file (.onnx) or a checkpoint "
            "(.safetensors) was wanted",
        ),
        (
            "timm/resnet50.a1_in1k",
            "timm/resnet50.a1_in1k may be a repository of the hub, which has weights; name the "
            "network, and pass the repository as its weights: NAME --weights timm/resnet50.a1_in1k",
        ),
        (
            "tim:resnet50",
            "no package 'tim' to take a model from; did you mean 'timm'? there are timm and "
            "torchvision",
        ),
        ("timm:", "timm: is followed by the name of a network of timm's"),
        ("", "no model ''; `onebyone models` lists all"),
        ("x" * 300, f"no model '{'x' * 300}'; `onebyone models` lists all"),
        ("a\0b", "no model 'a\\x00b'; `onebyone models` lists all"),
    ],
)
def test_what_is_no_model_is_answered_with_what_is(model, line):
    for ask in (check_reference, load_model):
        with pytest.raises((ModelError, UnknownNameError)) as error:
            ask(model)
        assert str(error.value) == line


def test_a_network_that_fails_when_it_runs_is_answered_with_its_line(tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\n"
        "class Bad(nn.Module):\n    def forward(self, x):\n        return x @ x[0, 0, :3]\n"
        "make = Bad"
    )
    monkeypatch.chdir(tmp_path)
    network, card = load_model("mine.py:make")
    with pytest.raises(ModelError) as error:
        predict(network, card, open_photo(CHELSEA))
    assert str(error.value).startswith(
        "the network fails on an input of shape (1, 3, 224, 224): mine.py, line 4: RuntimeError: "
    )


def test_a_checkpoint_is_a_model(tmp_path):
    network = create_model("nin_cifar10")
    save(network, tmp_path / "n.safetensors")
    again, card = load_model(str(tmp_path / "n.safetensors"))
    assert torch.equal(
        again.state_dict()["stages.0.0.spatial.conv.weight"],
        network.stages[0][0].spatial.conv.weight,
    )
    assert card == network.card


def test_weights_that_do_not_fit_a_users_network_are_named(file, tmp_path):
    torch.save({"0.weight": torch.zeros(4, 3, 1, 1)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError) as error:
        load_model(f"{file}:make", weights=str(tmp_path / "w.pth"))
    assert str(error.value) == (
        f"{tmp_path}/w.pth: the weights do not fit the network: tensors 1 missing (0.bias)"
    )


def test_default_weights_belong_to_names_only(file):
    with pytest.raises(UnknownNameError) as error:
        load_model(f"{file}:make", weights="imagenet")
    assert str(error.value) == (
        f"no weights 'imagenet' for {file}:make; a file (.safetensors, .pth) was wanted"
    )


def test_timms_names_are_models():
    network, card = load_model("timm:resnet10t")
    assert isinstance(network, timm.models.ResNet)
    assert not network.training
    assert card.preprocess.input_size == 176
    assert (card.classes, card.weights) == ((), None)


def test_timms_weights_bring_their_card(monkeypatch):
    create = partial(timm.create_model, "resnet18")
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: create())
    monkeypatch.setattr("onebyone.models.external.ask_hub", lambda what: None)
    _, card = load_model("timm:resnet18", weights="imagenet")
    assert (card.weights, card.license) == ("timm/resnet18.a1_in1k", "apache-2.0")
    assert len(card.classes) == 1000


def test_torchvisions_names_are_models(monkeypatch):
    network, card = load_model("torchvision:resnet18")
    assert isinstance(network, torchvision.models.ResNet)
    assert card.preprocess == Preprocess(224, 256, IMAGENET_MEAN, IMAGENET_STD, "bilinear")
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights: network)
    _, card = load_model("torchvision:resnet18", weights="imagenet")
    assert card.classes[282] == "tiger cat"
    assert card.weights == "https://download.pytorch.org/models/resnet18-f37072fd.pth"


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("timm:resnet19", "timm has no model 'resnet19'; did you mean "),
        ("torchvision:resnet19", "torchvision has no model 'resnet19'; did you mean "),
        ("torchvision:raft_large", "torchvision has no model 'raft_large'"),
    ],
)
def test_names_that_a_package_does_not_have(model, line):
    with pytest.raises(UnknownNameError) as error:
        load_model(model)
    assert str(error.value).startswith(line)


def test_a_package_that_fails_is_named(monkeypatch):
    def fail(name, pretrained):
        raise OSError("no network")

    monkeypatch.setattr(timm, "create_model", fail)
    monkeypatch.setattr("onebyone.models.external.ask_hub", lambda what: None)
    with pytest.raises(ModelError, match="^timm:resnet18 failed with OSError: no network$"):
        load_model("timm:resnet18", weights="imagenet")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            ModuleNotFoundError("", name="timm"),
            "models named timm:... need timm, which is not installed: pip install timm",
        ),
        (
            ModuleNotFoundError("", name="yaml"),
            "timm needs yaml, which is not installed: pip install yaml",
        ),
        (
            RuntimeError("operator torchvision::nms does not exist\nmore"),
            "timm is installed and does not import (RuntimeError: operator torchvision::nms does "
            "not exist); install releases of it, and of what it needs, that were built for your "
            "torch",
        ),
    ],
)
def test_a_package_that_does_not_import_is_named(monkeypatch, error, line):
    def fail(name):
        raise error

    monkeypatch.setattr("onebyone.models.external.import_module", fail)
    with pytest.raises(MissingPackageError) as raised:
        load_model("timm:resnet18")
    assert str(raised.value) == line


def test_torchvisions_inceptions_are_fed_as_their_card_says(tmp_path):
    """Pretrained, they renormalise what comes in; with a file of the same tensors they must too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of how torchvision will initialise it
        network, card = load_model("torchvision:googlenet")
    assert network.transform_input
    assert card.preprocess.mean == IMAGENET_MEAN


def test_networks_run_in_float32(tmp_path):
    save(create_model("nin_cifar10").to(torch.bfloat16), tmp_path / "n.safetensors")
    network, card = load_model(str(tmp_path / "n.safetensors"))
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert len(predict(network, card, open_photo(CHELSEA)).top) == 5
