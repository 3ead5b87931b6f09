"""The pictures of docs/compiler-tour.md, by name: which network, block and layer each is of."""

from collections.abc import Callable

import torch

import onebyone
from onebyone.compiler import TARGETS

from .band import band_of, draw_band
from .block import block_of, draw_block
from .memory import draw_memory, memory_of
from .product import draw_product, product_of
from .road import draw_road, road_of
from .subject import Subject
from .threads import draw_threads, measure_spans
from .tile import draw_inner_loop, inner_loop_of

NETWORK, NAME, SIZE = "mobilenet_v2", "MobileNetV2", 224
BLOCK, LAYER = "blocks.2.1", "blocks.2.1.conv_pw"
"""An inverted bottleneck with a shortcut, and the 1x1 convolution at its head."""
LARGE_BLOCK, BAND = "blocks.1.1", 5
"""One at a higher resolution, which runs by rows as a whole; a band amid the image."""
TARGET = TARGETS["avx512"]
THREADS, CALLS = 2, 300

PLANNED: dict[str, Callable[[Subject], str]] = {
    "road": lambda subject: draw_road(road_of(subject), NAME),
    "block": lambda subject: draw_block(block_of(subject, BLOCK)),
    "product": lambda subject: draw_product(product_of(subject, LAYER, threads=THREADS)),
    "band": lambda subject: draw_band(band_of(subject, LARGE_BLOCK), BAND),
    "memory": lambda subject: draw_memory(memory_of(subject)),
    "tile": lambda subject: draw_inner_loop(inner_loop_of(subject, LAYER)),
}
"""What is drawn of the plan, the same on any machine."""


def tour_network() -> tuple[torch.nn.Module, torch.Tensor]:
    """Return the network that the tour follows, and an image for it."""
    return onebyone.create_model(NETWORK).eval(), torch.randn(1, 3, SIZE, SIZE)


def draw_call(model: torch.nn.Module, example: torch.Tensor) -> str:
    """Measure some calls on this machine, and draw the fastest.

    Raises:
        CompileError: If the processor cannot run the target's code.
    """
    return draw_threads(measure_spans(model, example, TARGET, threads=THREADS, calls=CALLS), NAME)
