import torch
from torch import nn

from onebyone.explainer.samples import prepared_images
from onebyone.explainer.specimen import take_specimens
from onebyone.graph import capture, interpret_nodes


@torch.no_grad()
def test_a_specimen_gives_what_the_layer_gives():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1, stride=2), nn.Conv2d(4, 4, 1, bias=False)
    )
    images = prepared_images(torch.randn(1, 3, 9, 7))
    graph = capture(network.eval(), (images[0],)).graph
    values = dict(interpret_nodes(graph, [images[0]]))
    specimens = take_specimens(graph, images)
    assert [one.path for one in specimens] == ["0", "2", "3"]
    for one in specimens:
        read = one.input[:, :: one.stride[0], :: one.stride[1]]
        given = torch.einsum("oc,chw->ohw", one.weight, read) + one.bias[:, None, None]
        torch.testing.assert_close(given, values[one.name][0])


def test_what_is_too_large_or_has_one_pixel_is_not_shown():
    for size in (500, 1):
        images = prepared_images(torch.randn(1, 3, size, size))
        graph = capture(nn.Conv2d(3, 8, 1).eval(), (images[0],)).graph
        assert take_specimens(graph, images) == ()
