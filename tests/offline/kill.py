"""Kill predictions at random moments, go on, and compare what comes out: nothing may be lost.

    PYTHONPATH=src python -m tests.offline.kill --times 20

Each child is killed by SIGKILL, which no program can answer.
"""

import argparse
import multiprocessing
import random
import tempfile
import time
from pathlib import Path

from tests.offline.small import write_network, write_photos

PRELOADED = ("onebyone.offline.predictor", "onebyone.offline.run", "pyarrow.parquet", __name__)
"""What children need, imported once."""

IMAGES = 120


def run(model: str, photos: str, out: str) -> None:
    """Predict, or go on, in parts of a few photos."""
    from onebyone.offline import parts, predict_many

    parts.PART_IMAGES = 5
    predict_many(model, photos, out, engine="torch", watch=lambda _: time.sleep(0.002))


def kill_often(times: int, *, seed: int = 0) -> int:
    """Kill runs `times` times, compare all that are brought to an end, and return their number."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED])
    moments, killed, runs = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        model, photos = write_network(place), write_photos(place / "photos", IMAGES)

        def start(out: Path):
            child = context.Process(target=run, args=(model, str(photos), str(out)))
            child.start()
            return child

        def finish(out: Path) -> float:
            begun, child = time.perf_counter(), start(out)
            child.join(timeout=120)
            assert child.exitcode == 0
            return time.perf_counter() - begun

        finish(place / "whole.parquet")  # the first one waits for the server
        duration = finish(place / "timed.parquet")
        expected = (place / "whole.parquet").read_bytes()
        assert (place / "timed.parquet").read_bytes() == expected
        while killed < times:
            runs += 1
            out = place / f"run{runs}.parquet"
            for _ in range(min(4, times - killed)):
                child = start(out)
                child.join(timeout=moments.uniform(0, duration))
                child.kill()
                child.join()
                killed += 1
                if out.exists():
                    assert out.read_bytes() == expected, "a result was half-written"
            finish(out)
            assert out.read_bytes() == expected
            left = {path.name for path in place.iterdir() if path.name.startswith((out.name, "."))}
            assert left == {out.name}, "something half-written was left"
    return runs


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    runs = kill_often(arguments.times, seed=arguments.seed)
    print(f"killed {arguments.times} times; {runs} runs went on to the same file")  # noqa: T201
