"""How long the server of examples/serving.py takes to start, and its memory: three ways to begin.

    python benchmarks/serving_start.py [--rounds 3] [--network efficientnet_lite0]

A server compiles its network, finds it in the cache, or loads the file that `serving.py` wrote.
They start in turn, each in a fresh process. Seconds are from the start of Python to the first
answer of /health, which comes after the warm-up; memory is of the process, after 20 photos.
"""

import argparse
import http.client
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from onebyone.models.samples import SAMPLE_PHOTOS

EXAMPLES = Path(__file__).parents[1] / "examples"
PHOTO = SAMPLE_PHOTOS[1].read_bytes()


def answer(port: int, method: str, path: str, body: bytes | None = None) -> None:
    """Wait for an answer of 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request(method, path, body=body)
    status = connection.getresponse().status
    if status != 200:
        raise RuntimeError(f"{path} was answered with {status}")


@contextmanager
def started(model: str, cache: Path):
    """Give the process and the port of a server that answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["uvicorn", "--factory", "--app-dir", EXAMPLES, "serving:app", "--log-level", "error"]
    environment = os.environ | {"SERVE_MODEL": model, "ONEBYONE_CACHE_DIR": str(cache)}
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, command), "--port", str(port)], env=environment
    )
    try:
        while process.poll() is None:
            try:
                answer(port, "GET", "/health")
            except ConnectionRefusedError:
                time.sleep(0.01)
            else:
                break
        yield process, port
    finally:
        process.terminate()
        process.wait()


def measure(model: str, cache: Path) -> tuple[float, float]:
    """Return the seconds of a start, and the memory afterwards in MB."""
    start = time.perf_counter()
    with started(model, cache) as (process, port):
        seconds = time.perf_counter() - start
        for _ in range(20):
            answer(port, "POST", "/predict", PHOTO)
        status = Path(f"/proc/{process.pid}/status").read_text()
    kilobytes = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return seconds, int(kilobytes.split()[1]) / 1000


def main() -> None:
    """Measure the three ways in turn, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", default="efficientnet_lite0")
    asked = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {
        "compiled": [],
        "cached": [],
        "from its file": [],
    }
    with tempfile.TemporaryDirectory() as place:
        file, cache = Path(place, "net.obo"), Path(place, "cache")
        environment = os.environ | {"ONEBYONE_CACHE_DIR": str(cache)}
        write = [sys.executable, EXAMPLES / "serving.py", asked.network, file]
        subprocess.run(write, check=True, env=environment)
        for _ in range(asked.rounds):
            shutil.rmtree(cache, ignore_errors=True)
            found["compiled"].append(measure(asked.network, cache))
            found["cached"].append(measure(asked.network, cache))
            found["from its file"].append(measure(str(file), cache))
        size = file.stat().st_size / 1e6
    print(f"{asked.network}: a file of {size:.1f} MB")  # noqa: T201
    for way, rounds in found.items():
        seconds, megabytes = zip(*rounds, strict=True)
        print(  # noqa: T201
            f"| {way} | {statistics.median(seconds):.1f} ({min(seconds):.1f}..{max(seconds):.1f}) "
            f"| {statistics.median(megabytes):.0f} |"
        )


if __name__ == "__main__":
    main()
