"""Time that `import onebyone` takes beyond `import torch`; the budget is 0.3 s.

    .venv/bin/python benchmarks/import_time.py [ROUNDS]

Each round is a fresh process, which imports torch first and is timed from there on.
"""

import statistics
import subprocess
import sys

SCRIPT = """
import time
import torch
start = time.perf_counter()
import onebyone
print(time.perf_counter() - start)
"""


def measure() -> float:
    """Return the seconds of one round."""
    command = [sys.executable, "-c", SCRIPT]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Measure, then print the median and the range."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    measure()  # the first round reads the disk
    seconds = sorted(measure() for _ in range(rounds))
    print(  # noqa: T201
        f"import onebyone, after import torch: median {statistics.median(seconds):.3f} s, "
        f"range {seconds[0]:.3f} to {seconds[-1]:.3f} s, {rounds} rounds"
    )


if __name__ == "__main__":
    main()
