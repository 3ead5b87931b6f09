import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from torch import nn

from onebyone.errors import ModelError, ShapeError
from onebyone.explainer import information
from onebyone.explainer.information import effective_rank, measure_information
from onebyone.explainer.samples import prepared_images, sample_images
from onebyone.graph import capture
from onebyone.models import load_model

IMAGES = torch.randn(6, 3, 9, 7, generator=torch.Generator().manual_seed(1))


def measure(network, images=IMAGES):
    graph = capture(network.eval(), (images[:1],)).graph
    return measure_information(graph, prepared_images(images))


def mixing(out_channels, in_channels=8, **settings):
    """A layer that gives something uneven to reduce, an activation, and the reduction."""
    return nn.Sequential(
        nn.Conv2d(3, in_channels, 3), nn.ReLU(), nn.Conv2d(in_channels, out_channels, 1, **settings)
    )


@torch.no_grad()
def rows(network, images=IMAGES):
    """What the last layer reads and gives, a row for each pixel."""
    before = network[:-1](images)
    stride = network[-1].stride
    before = before[:, :, :: stride[0], :: stride[1]]
    after = network[-1](network[:-1](images))
    return [value.permute(0, 2, 3, 1).flatten(0, 2).double().numpy() for value in (before, after)]


@given(st.integers(1, 7), st.integers(1, 2), st.integers(0, 99))
def test_shares_are_those_of_regression_and_principal_components(out_channels, stride, seed):
    torch.manual_seed(seed)
    network = mixing(out_channels, stride=stride)
    (kept,) = measure(network).layers
    x, y = rows(network)
    regression = LinearRegression().fit(y, x)
    left = np.square(x - regression.predict(y)).sum()
    assert kept.samples == len(x)
    assert kept.kept == pytest.approx(1 - left / np.square(x - x.mean(0)).sum(), abs=1e-5)
    best = PCA(out_channels).fit(x).explained_variance_ratio_.sum()
    assert kept.best == pytest.approx(best, abs=1e-5)
    assert kept.kept <= kept.best + 1e-9
    assert kept.random <= kept.best + 1e-9
    assert 1 <= kept.width_95 <= kept.width_99 <= out_channels
    assert 1 <= kept.rank_in <= 8
    assert 1 <= kept.rank_out <= out_channels + 1e-9


@given(st.integers(0, 99))
def test_the_hinted_width_is_the_smallest_that_is_enough(seed):
    torch.manual_seed(seed)
    network = mixing(6)
    (kept,) = measure(network).layers
    x, y = rows(network)
    x, y = x - x.mean(0), y - y.mean(0)
    predicted = LinearRegression(fit_intercept=False).fit(y, x).predict(y)
    parts = PCA().fit(predicted).explained_variance_ratio_.cumsum()
    for share, width in ((0.99, kept.width_99), (0.95, kept.width_95)):
        assert parts[width - 1] >= share - 1e-6
        assert width == 1 or parts[width - 2] < share + 1e-6


@given(st.floats(0.01, 100), st.integers(0, 99))
def test_scale_and_bias_change_nothing(scale, seed):
    torch.manual_seed(seed)
    network = mixing(3)
    (before,) = measure(network).layers
    with torch.no_grad():
        network[-1].weight *= -scale
        network[-1].bias += 7
    (after,) = measure(network).layers
    assert after.kept == pytest.approx(before.kept, abs=1e-5)
    assert after.rank_out == pytest.approx(before.rank_out, rel=1e-4)
    assert (after.best, after.rank_in) == (before.best, before.rank_in)


def test_what_lies_in_few_directions_is_kept_whole():
    """Three channels widened to eight have three directions, which a mixture of four keeps."""
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1))
    (kept,) = measure(network).layers
    assert [kept.kept, kept.best, kept.random] == pytest.approx([1, 1, 1], abs=1e-6)
    assert kept.rank_in <= 3 + 1e-6
    assert kept.width_99 <= 3


def test_dead_channels_count_as_nothing():
    network = mixing(3)
    with torch.no_grad():
        network[0].weight[4:] = 0
        network[-1].weight[2] = 0
    (kept,) = measure(network).layers
    assert 0 < kept.kept <= kept.best < 1
    assert kept.width_99 <= 2
    with torch.no_grad():
        network[0].weight[:] = 0
    (kept,) = measure(network).layers
    assert (kept.kept, kept.best, kept.random, kept.rank_in) == (1, 1, 1, 0)
    assert kept.width_99 == 0


def test_each_reduction_is_told_once_and_in_order():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide = nn.Conv2d(3, 8, 1)
            self.late = nn.Conv2d(8, 2, 1)
            self.left, self.right = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1, stride=2)
            self.same, self.grouped = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1, groups=2)
            self.head = nn.Linear(8, 2)

        def forward(self, x):
            x = self.wide(x)
            both = self.left(x), self.right(x), self.grouped(x)
            x = self.same(x)
            return both, self.late(x), self.head(x.mean((2, 3)))

    layers = measure(Branches()).layers
    assert [kept.path for kept in layers] == ["left", "right", "late"]
    assert [kept.samples for kept in layers] == [6 * 63, 6 * 20, 6 * 63]


def test_a_second_run_of_the_network_gives_the_same(monkeypatch):
    network = nn.Sequential(*mixing(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    at_once = measure(network)
    monkeypatch.setattr(information, "MAX_HELD", 1)
    assert measure(network) == at_once


@pytest.mark.parametrize(("products", "step"), [(63 * 9, 1), (63 * 9 // 2, 2), (63 * 9 // 3, 4)])
def test_of_very_many_pixels_some_are_taken_from_every_column(monkeypatch, products, step):
    monkeypatch.setattr(information, "MAX_PRODUCTS", products)
    (kept,) = measure(nn.Conv2d(3, 2, 1)).layers
    assert kept.samples == 6 * math.ceil(63 / step)


def test_few_samples_are_told():
    small = torch.randn(2, 3, 5, 5)
    assert measure(mixing(4), small).layers[0].is_scarce
    assert not measure(mixing(4)).layers[0].is_scarce


def test_padding_is_read_too():
    (kept,) = measure(nn.Conv2d(3, 2, 1, padding=1, stride=2)).layers
    assert kept.samples == 6 * 6 * 5


def test_numbers_that_are_not_finite_are_refused():
    network = mixing(4)
    with torch.no_grad():
        network[0].bias[0] = float("inf")
    with pytest.raises(ModelError, match=r"^2: it reads numbers that are not finite on these"):
        measure(network)


def test_images_that_do_not_fit_are_refused():
    graph = capture(mixing(4).eval(), (IMAGES[:1],)).graph
    with pytest.raises(ShapeError, match="captured for an input of"):
        measure_information(graph, prepared_images(torch.randn(1, 3, 4, 4)))


def test_a_network_without_reductions_has_nothing_to_tell():
    found = measure(nn.Conv2d(3, 8, 1))
    assert (found.layers, found.images, found.source) == ((), 6, "the images given")


@given(st.integers(1, 20), st.integers(0, 5))
def test_the_effective_rank_of_equal_values_is_their_number(count, zeros):
    spectrum = torch.tensor([2.5] * count + [0.0] * zeros)
    assert effective_rank(spectrum) == pytest.approx(count, rel=1e-5)


# Effective rank of the input; shares kept by the best choice, by the layer, by a random mixture;
# effective rank of the output. By least squares and principal components on the samples themselves,
# in NumPy, on the same crops; of the first two layers on 40,000 of the samples.
LITE0 = {
    "blocks.1.0.conv_pwl": (39.8, 0.761, 0.611, 0.575, 14.0),
    "blocks.1.1.conv_pwl": (64.6, 0.647, 0.353, 0.419, 13.4),
    "blocks.3.0.conv_pwl": (54.6, 0.903, 0.843, 0.789, 30.0),
    "blocks.3.2.conv_pwl": (200.3, 0.643, 0.389, 0.439, 53.7),
    "blocks.4.2.conv_pwl": (260.8, 0.658, 0.391, 0.459, 79.5),
    "blocks.5.0.conv_pwl": (97.9, 0.930, 0.864, 0.841, 63.0),
    "blocks.6.0.conv_pwl": (61.4, 0.980, 0.935, 0.944, 51.1),
}


def test_trained_reductions_keep_what_was_measured_elsewhere():
    network, card = load_model("efficientnet_lite0", weights="imagenet")
    images = sample_images(card.preprocess)
    graph = capture(network.eval(), (images[0],)).graph
    layers = {kept.path: kept for kept in measure_information(graph, images).layers}
    assert len(layers) == 16
    for path, (rank_in, best, kept, random, rank_out) in LITE0.items():
        found = layers[path]
        shares = (found.best, found.kept, found.random)
        assert shares == pytest.approx((best, kept, random), abs=0.01), path
        assert (found.rank_in, found.rank_out) == pytest.approx((rank_in, rank_out), rel=0.02), path
    scarce = {path.rpartition(".")[0] for path, kept in layers.items() if kept.is_scarce}
    assert scarce == {"blocks.5.0", "blocks.5.1", "blocks.5.2", "blocks.5.3", "blocks.6.0"}
