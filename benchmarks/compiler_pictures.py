"""The pictures in docs/compiler-tour.md: drawn from the plan of a network, and a call of it.

    PYTHONPATH=src python benchmarks/compiler_pictures.py [--folder docs/images/compiler]

Needs the extra `html`. All but one show what is planned for a processor with AVX-512, whatever this
one is, and come out the same again. That of the threads is the fastest of some calls here; run it
on a quiet machine. Where the processor has no AVX-512 it is left as it is.
"""

import argparse
from pathlib import Path

from picturing.subject import Subject
from picturing.tour import PLANNED, TARGET, draw_call, tour_network

from onebyone.compiler.target import can_run
from onebyone.files import replacing


def main() -> None:
    """Draw them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("docs/images/compiler"))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    model, example = tour_network()
    subject = Subject.of(model, example, TARGET)
    for name, draw in PLANNED.items():
        _write(folder / f"{name}.svg", draw(subject))
    if can_run(TARGET):
        _write(folder / "threads.svg", draw_call(model, example))


def _write(path: Path, svg: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(svg)
    print(f"{path}: {len(svg) / 1e3:.0f} KB")  # noqa: T201


if __name__ == "__main__":
    main()
