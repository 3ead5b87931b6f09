"""Networks that run a little further each time: they give what they give from the images."""

import pytest
import torch
from torch import nn

import onebyone
from onebyone.nn.residual import BasicBlock
from onebyone.shrinking import playback as module
from onebyone.shrinking.playback import Playback, find_row


class Halves(nn.Module):
    """Reads its first part twice: no row."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.left, self.right = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, images):
        x = self.stem(images)
        return self.right(self.left(x)) + x


class Behind(nn.Module):
    """A row within, and something else behind it."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), Halves4())
        self.head = nn.Conv2d(4, 4, 1)

    def forward(self, images):
        return self.head(self.body(images) * 2)


class Halves4(Halves):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(4, 4, 1)


class Writing(nn.Module):
    """Writes into what its first part gives, behind the back of the second."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, images):
        x = self.first(images)
        x += 1
        return self.second(x)


class Twice(nn.Module):
    """Calls one of its parts twice."""

    def __init__(self):
        super().__init__()
        self.first, self.again = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, images):
        return self.again(self.again(self.first(images)))


@pytest.mark.parametrize(
    ("make", "row"),
    [
        (Halves, ("stem", "left", "right")),
        (Behind, ("body.0", "body.1", "body.2")),
        (Writing, ("first",)),
        (Twice, ("first",)),
        (lambda: nn.Sequential(nn.Identity(), nn.Conv2d(3, 2, 1)), ("0", "1")),
    ],
)
def test_a_row_is_what_a_network_begins_with(make, row):
    assert find_row(make().eval(), torch.ones(1, 3, 8, 8)) == row


def test_a_resnet_is_a_row_of_blocks():
    network = onebyone.create_model("resnet20").eval()
    row = find_row(network, torch.ones(1, 3, 32, 32))
    blocks = {path for path, part in network.named_modules() if isinstance(part, BasicBlock)}
    assert len(blocks) == 9
    assert blocks <= set(row)
    assert not any(path.startswith(f"{block}.") for path in row for block in blocks)


@pytest.mark.parametrize("kept_bytes", [0, 8 * 4 * 36 * 8, 2**30])
@pytest.mark.parametrize("make", [Halves, Behind, Writing, Twice])
@torch.no_grad()
def test_layers_read_and_give_what_they_do_from_the_images(make, kept_bytes, monkeypatch):
    monkeypatch.setattr(module, "KEPT_BYTES", kept_bytes)
    torch.manual_seed(0)
    network, images = make().double().eval(), torch.randn(8, 3, 8, 8, dtype=torch.float64)
    whole = images.clone()
    batches = images.split(3)
    played = Playback(network, batches, find_row(network, images[:1]))
    plain = Playback(network, batches)
    assert played.count == 8
    layers = [path for path, part in network.named_modules() if isinstance(part, nn.Conv2d)]
    for layer in layers:
        conv = network.get_submodule(layer)
        conv.weight.mul_(1.5)  # as if it were solved
        played.go_to(layer)
        for batch in range(len(played)):
            torch.testing.assert_close(played.read(layer, batch), plain.read(layer, batch))
            torch.testing.assert_close(played.give(layer, batch), plain.give(layer, batch))
    torch.testing.assert_close(images, whole, rtol=0, atol=0)


@torch.no_grad()
def test_what_ran_before_does_not_run_again():
    network = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(6))).eval()
    images = torch.ones(2, 3, 4, 4)
    runs = []
    for part in network:
        part.register_forward_hook(lambda *_: runs.append(1))
    played = Playback(network, [images], find_row(network, images[:1]))
    runs.clear()
    for number in range(6):
        played.go_to(str(number))
        played.read(str(number), 0)
    assert len(runs) == 5  # the last is not run, only read


@torch.no_grad()
def test_what_is_too_large_to_keep_is_passed(monkeypatch):
    parts = [nn.Conv2d(3, 64, 1), nn.MaxPool2d(8), nn.Conv2d(64, 3, 1), nn.Conv2d(3, 3, 1)]
    network, images = nn.Sequential(*parts).eval(), torch.ones(4, 3, 8, 8)
    monkeypatch.setattr(module, "KEPT_BYTES", 4 * 64 * 4)  # what the third reads, of all images
    runs = []
    parts[0].register_forward_hook(lambda *_: runs.append(1))
    played = Playback(network, images.split(2), find_row(network, images[:1]))
    runs.clear()
    for layer in ("2", "3"):
        played.go_to(layer)
        for batch in range(2):
            played.read(layer, batch)
    assert len(runs) == 2  # once for each batch
