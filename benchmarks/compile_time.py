"""Seconds to compile each network of the zoo, cold and cached, and the memory that it runs in.

    .venv/bin/python benchmarks/compile_time.py [NAME...]

Budgets: 5 s cold, 0.5 s from the cache; memory at most 1.5 x (weights + two largest activations).
Each compilation is a process of its own, timed from after `import onebyone`, on a machine that has
been measured before. Memory is what the compiled network holds on to: packed weights, tables and
the arena.
"""

import json
import os
import subprocess
import sys
import tempfile

SCRIPT = """
import json, sys, time
import torch, onebyone
from onebyone.models.registry import ZOO
name = sys.argv[1]
torch.manual_seed(0)  # the same weights in every process
network = onebyone.create_model(name)
size = network.card.preprocess.input_size
x = torch.randn(1, 3, size, size)
start = time.perf_counter()
fast = onebyone.compile(network, x)
seconds = time.perf_counter() - start
fast(x)
sizes = []
hooks = [
    module.register_forward_hook(lambda m, i, o: sizes.append(o.numel() * 4))
    for module in network.modules() if not list(module.children())
]
with torch.inference_mode():
    network(x)
weights = sum(p.numel() for p in network.parameters()) * 4
print(json.dumps({"seconds": seconds, "memory_bytes": fast.memory_bytes,
    "bound_bytes": weights + sum(sorted(sizes)[-2:])}))
"""


def compile_once(name: str, cache: str) -> dict[str, float]:
    """Compile in a fresh process."""
    return json.loads(run_python(cache, "-c", SCRIPT, name))


def run_python(cache: str, *arguments: str) -> str:
    """Run Python with a cache of our own, and return what it prints."""
    environment = {**os.environ, "ONEBYONE_CACHE_DIR": f"{cache}/networks"}
    # Python's own cache, which an installed package has.
    environment |= {"PYTHONPYCACHEPREFIX": f"{cache}/python", "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment
    ).stdout


def main() -> None:
    """Print a row for each network."""
    from onebyone.models.registry import ZOO

    print("| network | cold, s | cached, s | memory, MB | of weights + 2 activations |")  # noqa: T201
    print("|---|---|---|---|---|")  # noqa: T201
    for name in sys.argv[1:] or ZOO:
        with tempfile.TemporaryDirectory() as cache:
            run_python(cache, "-m", "onebyone", "machine")
            cold = compile_once(name, cache)
            warm = sorted(compile_once(name, cache)["seconds"] for _ in range(3))[1]
        share = cold["memory_bytes"] / cold["bound_bytes"]
        print(  # noqa: T201
            f"| {name} | {cold['seconds']:.2f} | {warm:.2f} | {cold['memory_bytes'] / 1e6:.1f} "
            f"| {share:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
