"""Downloads, from a server on this machine that answers as the real ones do."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save

from onebyone.errors import MissingPackageError, WeightsError
from onebyone.models import create_model
from onebyone.models.sources import PackageFile, UrlFile
from tests.helpers.hub import serving
from tests.helpers.oracles import timm
from tests.helpers.photos import COFFEE

SCRIPT = """
import sys, onebyone
try:
    network = onebyone.create_model(sys.argv[1], weights=sys.argv[2])
    print(network.card.weights, network.card.preprocess.resize_size, network.card.license,
          network.config.num_classes, float(network.fc.bias.sum()))
except onebyone.OneByOneError as error:
    print(f"{type(error).__name__}: {error}")
"""


def create_in_fresh_process(cache, endpoint, name, weights, **environment):
    """The hub's client reads its settings when it is imported, hence a process of its own."""
    environment |= {"HF_HOME": str(cache), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, name, weights],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Retrying" not in done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def repositories():
    network = create_model("resnet18")
    with torch.no_grad():
        network.fc.bias.fill_(0.5)
    tensors = save(network.state_dict())
    config = timm.get_pretrained_cfg("resnet18.tv_in1k").to_dict()
    description = {"architecture": "resnet18", "num_classes": 1000, "pretrained_cfg": config}
    foreign = description | {"architecture": "resnet18d"}
    return {
        "/timm/resnet18.a1_in1k/resolve/main/model.safetensors": tensors,
        "/me/mine/resolve/main/model.safetensors": tensors,
        "/me/mine/resolve/main/config.json": json.dumps(description).encode(),
        "/me/other/resolve/main/config.json": json.dumps(foreign).encode(),
    }


def test_hub_weights_are_downloaded_once_and_bring_their_card(tmp_path, repositories):
    with serving(repositories) as endpoint:
        default = create_in_fresh_process(tmp_path, endpoint, "resnet18", "imagenet")
        named = create_in_fresh_process(tmp_path, endpoint, "resnet18", "me/mine")
    assert default == "timm/resnet18.a1_in1k 235 apache-2.0 1000 500.0"
    assert named == "me/mine 256 bsd-3-clause 1000 500.0"
    # The server is gone; what was downloaded is used without asking for it.
    assert create_in_fresh_process(tmp_path, endpoint, "resnet18", "imagenet") == default


def test_hub_repositories_that_do_not_serve_are_named(tmp_path, repositories):
    with serving(repositories) as endpoint:
        other = create_in_fresh_process(tmp_path, endpoint, "resnet18", "me/other")
        missing = create_in_fresh_process(tmp_path, endpoint, "resnet18", "me/nothing")
    assert other == (
        "WeightsError: hub repository 'me/other': 'resnet18' was wanted as the architecture for "
        "resnet18, and 'resnet18d' came; pass other weights"
    )
    assert missing.startswith(
        "WeightsError: cannot get config.json of the hub repository 'me/nothing' ("
    )
    assert missing.endswith("); check the name and the network, or pass a local file")
    assert "\n" not in missing


OFFLINE = """
import sys, time
import tests.helpers.oracles
from onebyone.cli import main

def sleep(seconds):
    raise SystemExit(f"slept for {seconds} s")

time.sleep = sleep
main()
"""


@pytest.mark.parametrize("model", ["resnet18", "timm:resnet18"])
def test_a_hub_that_does_not_answer_is_named_at_once(tmp_path, model):
    """Its own client would try six times, and sleep for 23 s in between."""
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, "predict", model, str(COFFEE)],
        env=os.environ | {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
    )
    asked, answer = done.stderr.splitlines()
    assert asked.startswith("asking the Hugging Face hub for ")
    assert "'timm/resnet18.a1_in1k'" in asked
    assert answer.startswith("onebyone: cannot get ")
    assert "Connection refused" in answer
    assert (done.returncode, done.stdout) == (2, "")


@pytest.fixture
def torch_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


def test_a_url_is_downloaded_once_and_checked(torch_cache):
    content = b"weights"
    name = f"toy-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    with serving({f"/{name}": content}) as address:
        source = UrlFile(f"{address}/{name}")
        assert source.find() is None
        assert source.fetch() == torch_cache / name == source.find()
    assert source.fetch().read_bytes() == content  # the server is gone
    source.fetch().write_bytes(b"weight")
    with pytest.raises(WeightsError, match=r"is damaged: its sha256 was to begin with"):
        source.fetch()


def test_a_wrong_download_is_not_kept(torch_cache):
    with serving({"/toy-00000000.pth": b"weights"}) as address:
        source = UrlFile(f"{address}/toy-00000000.pth")
        with pytest.raises(WeightsError, match=r"toy-00000000.pth \(invalid hash value"):
            source.fetch()
    assert source.find() is None
    assert list(torch_cache.iterdir()) == []


def test_a_url_that_does_not_answer_is_named(torch_cache):
    with serving({}) as address:
        source = UrlFile(f"{address}/toy-00000000.pth")
        with pytest.raises(WeightsError) as error:
            source.fetch()
    assert str(error.value) == (
        f"cannot get {address}/toy-00000000.pth (HTTP Error 404: Not Found); "
        "check the network, or pass a local file"
    )


def test_a_cache_that_cannot_be_made_is_named(monkeypatch):
    monkeypatch.setenv("TORCH_HOME", "/dev/null/cache")
    with pytest.raises(WeightsError, match=r"^cannot get .*Not a directory"):
        UrlFile("http://127.0.0.1:9/toy-00000000.pth").fetch()


def test_a_package_without_the_file_is_as_good_as_none():
    source = PackageFile("pillow", "PIL/weights.pth", "00")
    assert source.find() is None
    with pytest.raises(MissingPackageError):
        source.fetch()
