"""The pictures in docs/compiler-tour.md: drawn from the plan of a network, and a call of it.

    PYTHONPATH=src python benchmarks/compiler_pictures.py [--folder docs/images/compiler]

Needs the extra `html`. All but one show what is planned for a processor with AVX-512, whatever this
one is, and come out the same again. The one of the threads is measured, and left as it is where the
processor has none; run it on a quiet machine.
"""

import argparse
from pathlib import Path

import torch
from picturing.block import block_of, draw_block
from picturing.road import draw_road, road_of
from picturing.subject import Subject

import onebyone
from onebyone.compiler import TARGETS
from onebyone.files import replacing

NETWORK, NAME, SIZE = "mobilenet_v2", "MobileNetV2", 224
BLOCK = "blocks.2.1"
"""An inverted bottleneck with a shortcut."""


def main() -> None:
    """Draw them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("docs/images/compiler"))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    model, example = onebyone.create_model(NETWORK).eval(), torch.randn(1, 3, SIZE, SIZE)
    subject = Subject.of(model, example, TARGETS["avx512"])
    pictures = {
        "road": draw_road(road_of(subject), NAME),
        "block": draw_block(block_of(subject, BLOCK)),
    }
    for name, svg in pictures.items():
        with replacing(folder / f"{name}.svg") as temporary:
            temporary.write_text(svg)


if __name__ == "__main__":
    main()
