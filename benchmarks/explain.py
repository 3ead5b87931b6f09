"""How long `onebyone explain` takes, as whole processes; run it on a quiet machine.

    python benchmarks/explain.py [--rounds 5]

Prints seconds from the start of the program to its end, median and range: the plain report, and the
one with what is seen on 56 crops of sample photos, with its page. Python's own cache of modules is
used, as in an installation; the first run of each plain report is not counted.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PLAIN = ("resnet50", "inception_resnet_v2", "efficientnet_lite0")
SEEN = (("resnet50", "random"), ("efficientnet_lite0", "imagenet"))


def main() -> None:
    """Time each command, and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often a plain report is made")
    rounds = parser.parse_args().rounds
    for name in PLAIN:
        _show(f"explain {name}", [_seconds("explain", name) for _ in range(rounds + 1)][1:])
    for name, weights in SEEN:
        command = ("explain", name, "--weights", weights, "--images", "samples")
        _show(" ".join(command), [_seconds(*command) for _ in range(2)])
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "page.html"
            whole = (*command, "--html", str(page))
            _show(f"{' '.join(command)} --html", [_seconds(*whole) for _ in range(2)])
            print(f"  the page has {page.stat().st_size / 1e6:.2f} MB")  # noqa: T201


def _seconds(*arguments: str) -> float:
    start = time.perf_counter()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(
        [sys.executable, "-m", "onebyone", *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        env=environment,
    )
    return time.perf_counter() - start


def _show(what: str, seconds: list[float]) -> None:
    middle = statistics.median(seconds)
    spread = f"{min(seconds):.2f} to {max(seconds):.2f}, {len(seconds)} runs"
    print(f"{what}: {middle:.2f} s ({spread})")  # noqa: T201


if __name__ == "__main__":
    main()
