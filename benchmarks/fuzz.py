"""Random networks through both doors, compared with PyTorch in float64.

    PYTHONPATH=src .venv/bin/python benchmarks/fuzz.py --seeds 0:2000 --jobs 2 --out fuzz.jsonl

A seed is a network (`tests/helpers/fuzz` draws it and says what must hold). With `--out`, verdicts
are kept, and those that are there already are not found again: an interrupted run goes on, and
`--again` judges once more what was wrong. Ends with a summary, every finding with its network as a
program, and status 1 if there is one. `--show SEED` prints one network.
"""

import argparse
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.helpers.fuzz.grammar import draw_network
from tests.helpers.fuzz.judge import Verdict, summarize
from tests.helpers.fuzz.processes import judge_in_processes, judge_seed

QUICK_BACKEND_EVERY = 5
"""PyTorch's own door takes a second for a network, most of it PyTorch's."""

say = partial(print, flush=True)


def read_verdicts(path: Path | None) -> dict[int, Verdict]:
    """Return what an earlier run has found, by seed."""
    if path is None or not path.exists():
        return {}
    verdicts = [Verdict(**json.loads(line)) for line in path.read_text().splitlines()]
    return {verdict.seed: verdict for verdict in verdicts}


class Run:
    """Judge seeds in several processes, and keep each verdict when it comes."""

    def __init__(self, known: dict[int, Verdict], out: Path | None) -> None:
        self.verdicts = dict(known)
        self._out = out
        self._lock = threading.Lock()
        self._start = time.perf_counter()
        self._judged = 0

    def judge(self, seeds: Iterable[int], backend_every: int) -> None:
        """Judge these seeds, one after another."""
        for verdict in judge_in_processes(seeds, partial(judge_seed, backend_every=backend_every)):
            with self._lock:
                self._keep(verdict)

    def _keep(self, verdict: Verdict) -> None:
        self.verdicts[verdict.seed] = verdict
        self._judged += 1
        if self._out:
            with self._out.open("a") as file:
                file.write(json.dumps(asdict(verdict)) + "\n")
        for finding in verdict.findings:
            say(f"seed {verdict.seed}: {finding.splitlines()[0][:200]}", file=sys.stderr)
        if self._judged % 25 == 0:
            seconds = time.perf_counter() - self._start
            say(f"{self._judged} networks in {seconds:.0f} s", file=sys.stderr)


def report(verdicts: list[Verdict]) -> None:
    """Print what was found, with each network that something is wrong with."""
    wrong = [verdict for verdict in verdicts if verdict.findings]
    for verdict in wrong:
        say(f"\n# seed {verdict.seed}")
        for finding in verdict.findings:
            say("\n".join(f"# {line}" for line in finding.splitlines()))
        say(draw_network(verdict.seed).script())
    say(summarize(verdicts))
    refusals = Counter(refusal for verdict in verdicts for refusal in verdict.refusals)
    for refusal, count in refusals.most_common():
        say(f"refused {count} times: {refusal}")


def main() -> int:
    """Judge the seeds that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0:200", help="FIRST:END; 0:200 if not given")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--quick", action="store_true", help="torch.compile for every fifth only")
    parser.add_argument("--out", type=Path, help="keep verdicts there, and go on from them")
    parser.add_argument("--again", action="store_true", help="judge again what was wrong")
    parser.add_argument("--show", type=int, metavar="SEED", help="print a network, and end")
    arguments = parser.parse_args()
    if arguments.show is not None:
        say(draw_network(arguments.show).script())
        return 0
    first, _, end = arguments.seeds.partition(":")
    seeds = range(int(first), int(end))
    known = read_verdicts(arguments.out)
    if arguments.again:
        known = {seed: one for seed, one in known.items() if not one.findings + one.refusals}
    run = Run(known, arguments.out)
    left = [seed for seed in seeds if seed not in known]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        shares = [left[number :: arguments.jobs] for number in range(arguments.jobs)]
        every = QUICK_BACKEND_EVERY if arguments.quick else 1
        list(pool.map(lambda share: run.judge(share, every), shares))
    verdicts = [run.verdicts[seed] for seed in seeds]
    report(verdicts)
    return int(any(verdict.findings for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
