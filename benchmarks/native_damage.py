"""Damaged weights of an exported library: all are refused, and nothing is read outside of them.

    PYTHONPATH=src .venv/bin/python benchmarks/native_damage.py [--count 10000] [--seed 0]

Files are cut, lengthened, overwritten and flipped, and headers changed under a right checksum; they
are opened from a file and from memory, under the address sanitizer and that of undefined behaviour.
`tests/compiler/library/damage.c` is the program; what opens nevertheless must give the same bits.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.compiler.library.test_library import build_damage
from tests.helpers.library import checked


def main() -> None:
    """Build the program, run it, and print what it says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", default="10000")
    parser.add_argument("--seed", default="0")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        build_damage(Path(folder))
        arguments = "net.weights", "broken", asked.count, asked.seed
        sys.stdout.write(checked("./damage", *arguments, folder=Path(folder)))


if __name__ == "__main__":
    main()
