"""The pictures in docs/compiler-tour.md: drawn from the plan of a network, and a call of it.

    PYTHONPATH=src python benchmarks/compiler_pictures.py [--folder docs/images/compiler]

Needs the extra `html`. All but one show what is planned for a processor with AVX-512, whatever this
one is, and come out the same again. That of the threads is the fastest of some calls here; run it
on a quiet machine. Where the processor has no AVX-512 it is left as it is.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from picturing.band import band_of, draw_band
from picturing.block import block_of, draw_block
from picturing.memory import draw_memory, memory_of
from picturing.product import draw_product, product_of
from picturing.road import draw_road, road_of
from picturing.subject import Subject
from picturing.threads import draw_threads, measure_spans
from picturing.tile import draw_inner_loop, inner_loop_of

import onebyone
from onebyone.compiler import TARGETS
from onebyone.compiler.target import can_run
from onebyone.files import replacing

NETWORK, NAME, SIZE = "mobilenet_v2", "MobileNetV2", 224
BLOCK, LAYER = "blocks.2.1", "blocks.2.1.conv_pw"
"""An inverted bottleneck with a shortcut, and the 1x1 convolution at its head."""
LARGE_BLOCK, BAND = "blocks.1.1", 5
"""One at a higher resolution, which runs by rows as a whole; a band amid the image."""
THREADS, CALLS = 2, 300


def main() -> None:
    """Draw them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("docs/images/compiler"))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, svg in _pictures():
        with replacing(folder / f"{name}.svg") as temporary:
            temporary.write_text(svg)
        print(f"{folder / name}.svg: {len(svg) / 1e3:.0f} KB")  # noqa: T201


def _pictures() -> Iterator[tuple[str, str]]:
    """Return names and drawings, in the order of the page."""
    model, example = onebyone.create_model(NETWORK).eval(), torch.randn(1, 3, SIZE, SIZE)
    subject = Subject.of(model, example, TARGETS["avx512"])
    yield "road", draw_road(road_of(subject), NAME)
    yield "block", draw_block(block_of(subject, BLOCK))
    yield "product", draw_product(product_of(subject, LAYER, threads=THREADS))
    yield "band", draw_band(band_of(subject, LARGE_BLOCK), BAND)
    yield "memory", draw_memory(memory_of(subject))
    yield "tile", draw_inner_loop(inner_loop_of(subject, LAYER))
    if can_run(subject.target):
        spans = measure_spans(model, example, subject.target, threads=THREADS, calls=CALLS)
        yield "threads", draw_threads(spans, NAME)


if __name__ == "__main__":
    main()
