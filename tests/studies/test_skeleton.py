"""The little networks."""

import torch
from torch import nn

from onebyone.studies.bottleneck import bottleneck_block, plain_block
from onebyone.studies.skeleton import Skeleton
from tests.training.small import small_data

FASHION = small_data(shape=(1, 28, 28), classes=10)


def sizes(network, images):
    seen = []
    hooks = [
        stage.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
        for stage in network.stages
    ]
    network.eval()(images)
    for hook in hooks:
        hook.remove()
    return seen


def test_three_stages_see_14_7_and_4_pixels():
    network = Skeleton(block=plain_block, widths=(4, 8, 16), blocks=2).build(FASHION)
    assert sizes(network, torch.zeros(1, 1, 28, 28)) == [(4, 14, 14), (8, 7, 7), (16, 4, 4)]
    assert [len(stage) for stage in network.stages] == [2, 2, 2]
    assert network.stem.conv.out_channels == 4


def test_a_stem_of_its_own_width():
    skeleton = Skeleton(block=plain_block, widths=(4, 8), blocks=1, stem_channels=6)
    assert skeleton.build(FASHION).stem.conv.out_channels == 6


def test_blocks_that_start_quiet_are_the_identity():
    for block in (plain_block, bottleneck_block):
        network = Skeleton(block=block, widths=(8,), blocks=3, starts_quiet=True).build(FASHION)
        images = torch.rand(4, 8, 14, 14)
        assert torch.equal(network.stages(images), images)
        loud = Skeleton(block=block, widths=(8,), blocks=3).build(FASHION)
        assert not torch.equal(loud.stages(images), images)
        assert all(
            float(norm.weight.detach().min()) == 1
            for norm in loud.modules()
            if isinstance(norm, nn.BatchNorm2d)
        )
