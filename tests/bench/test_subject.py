"""What is measured: the right size, and numbers that tell right from wrong."""

import pytest
import torch
from torch import nn

from onebyone.bench import load_subject
from onebyone.bench.accuracy import float64_output, relative_rms
from onebyone.bench.subject import Subject, draw_weights, is_steady
from onebyone.errors import ModelError, UnknownNameError, WeightsError
from onebyone.models import create_model, save
from tests.helpers.oracles import timm


def test_a_zoo_network_has_its_size_and_statistics_of_its_own():
    subject = load_subject("nin_cifar10")
    assert subject.input_shape == (3, 32, 32)
    assert not subject.network.training
    assert subject.images(2).shape == (2, 3, 32, 32)
    assert torch.equal(subject.images(2), subject.images(2))


def test_the_same_name_gives_the_same_network():
    first, second = (load_subject("resnet18").network.state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "efficientnet_lite0"])
def test_drawn_networks_see_small_faults_and_forgive_rounding(name):
    subject = load_subject(name)
    images = subject.images(1)
    expected = float64_output(subject.network, images)
    with torch.no_grad():
        assert relative_rms(subject.network(images), expected) < 1e-5
        norms = [m for m in subject.network.modules() if isinstance(m, nn.BatchNorm2d)]
        norms[-2].bias += 0.05
        assert relative_rms(subject.network(images), expected) > 1e-3


def test_drawing_leaves_the_network_alone_and_in_evaluation_mode():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.25)).eval()
    weight = network[0].weight.clone()
    images = torch.randn(8, 3, 9, 9)
    drawn = draw_weights(network, images)
    assert torch.equal(network[0].weight, weight)
    assert not torch.equal(drawn[0].weight, weight)
    assert not any(module.training for module in drawn.modules())
    assert drawn[1].momentum == 0.25
    # The statistics are the images': without scale and shift, the norm's output is standardized.
    with torch.no_grad():
        standard = (drawn(images) - drawn[1].bias[:, None, None]) / drawn[1].weight[:, None, None]
    torch.testing.assert_close(standard.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(standard.std((0, 2, 3)), torch.ones(4), atol=1e-2, rtol=0)


def test_chaos_is_recognized():
    images = torch.randn(1, 3, 4, 4)
    assert is_steady(nn.Conv2d(3, 4, 1), images)

    class Chaotic(nn.Module):
        def forward(self, x):
            x = x.sigmoid()
            for _ in range(60):
                x = 3.99 * x * (1 - x)  # the logistic map: errors double with each step
            return x

    assert not is_steady(Chaotic(), images)


def test_a_chaotic_network_stays_as_it_starts(monkeypatch):
    monkeypatch.setattr("onebyone.bench.subject.is_steady", lambda *_: False)
    network = load_subject("nin_imagenet").network
    assert all(not m.bias.any() for m in network.modules() if isinstance(m, nn.Conv2d))


def test_checkpoints_and_files_keep_their_weights(tmp_path):
    network = create_model("nin_cifar10")
    path = tmp_path / "mine.safetensors"
    save(network, path)
    loaded = load_subject(str(path)).network.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in network.state_dict().items())


def test_a_timm_network_whose_photos_we_cannot_prepare_is_measured_still(monkeypatch):
    def refuse(config):
        assert config["input_size"] == (3, 160, 160)
        raise WeightsError("photos for these weights are prepared in a way that is not supported")

    monkeypatch.setattr("onebyone.models.external.preprocess_from_timm", refuse)
    assert "test_resnet" in timm.list_models()
    subject = load_subject("timm:test_resnet")
    assert subject.input_shape == (3, 160, 160)
    assert not subject.network.training


def test_errors_name_the_model(monkeypatch):
    with pytest.raises(UnknownNameError, match="^no model 'resnet52'"):
        load_subject("resnet52")
    odd = Subject("x", nn.Conv2d(4, 1, 1), (3, 5, 5))
    with pytest.raises(ModelError, match=r"^the network failed on images \(2, 3, 5, 5\)"):
        draw_weights(odd.network, odd.images(2))


def test_weights_that_cannot_be_read_are_no_reason_to_ask_timm(tmp_path):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(b"{")
    with pytest.raises(WeightsError):
        load_subject(str(path))
