"""Little networks and sites that tests of shrinking share."""

import torch
from torch import nn

from onebyone.shrinking.moments import batched, collect_moments, collect_pairs
from onebyone.shrinking.playback import Playback
from onebyone.shrinking.sites import Site


def site(path, channels, kernel=3, *, groups=1, stride=1, size=8):
    """A convolution of some channels on a square image."""
    before, after = channels
    pad = kernel // 2
    return Site(
        path=path,
        in_channels=before,
        out_channels=after,
        kernel_size=(kernel, kernel),
        stride=(stride, stride),
        padding=(pad, pad),
        dilation=(1, 1),
        groups=groups,
        in_shape=(1, before, size, size),
        out_shape=(1, after, -(-size // stride), -(-size // stride)),
    )


def odd_network(seed=0, **changes):
    """A convolution unlike others, and a head; float64, in evaluation."""
    torch.manual_seed(seed)
    settings = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)} | changes
    return (
        nn.Sequential(
            nn.Conv2d(6, 10, (3, 2), **settings),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(10, 5),
        )
        .double()
        .eval()
    )


def mixed_images(count=24, channels=6, size=(9, 8), seed=1):
    """Images whose channels hang together, and are not zero in the mean; float64."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, channels, *size, generator=generator, dtype=torch.float64)
    mix = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    return torch.einsum("nchw,cd->ndhw", images, mix) + 1


def moments_of(network, images, layer="0", **options):
    """The moments of one layer."""
    return collect_moments(network, [layer], images, **options)[layer]


class Block(nn.Module):
    """A residual block with a hidden width."""

    def __init__(self, channels, hidden):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, hidden, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.conv2 = nn.Conv2d(hidden, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(x + self.bn2(self.conv2(y)))


class Inverted(nn.Module):
    """1x1, depthwise, 1x1."""

    def __init__(self, channels, hidden):
        super().__init__()
        self.expand = nn.Conv2d(channels, hidden, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.project = nn.Conv2d(hidden, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)

    def forward(self, x):
        y = nn.functional.relu6(self.bn1(self.expand(x)))
        y = nn.functional.relu6(self.bn2(self.depthwise(y)))
        return x + self.bn3(self.project(y))


def block_network(seed=0):
    """A stem, one block of each kind and a head, with statistics that are no start's."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Block(16, 32),
        Inverted(16, 48),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 7),
    )
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
    network.train()
    network(torch.randn(32, 3, 8, 8))
    return network.eval()


def pairs_of(reader, giver, layer, images):
    """Return the pairs of a layer in two networks that run from the images."""
    batches = batched(images)
    return collect_pairs(Playback(reader, batches), Playback(giver, batches), layer)
