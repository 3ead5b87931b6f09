"""The same HTTP server with our engine and with ONNX Runtime: requests a second, and latencies.

    python benchmarks/serving.py [--rounds 5] [--seconds 2] [--clients 1 4 16] [NETWORK...]

Each engine is in the server of `examples/serving.py`, in processes of its own: the same app, the
same number of threads and, where nothing else is said, the same batching. A closed loop of clients
in this process posts a sample photo again and again, each as soon as it has its answer. Servers
take turns, round by round, in another order each time. Prints the median rate of the rounds with
its range, percentiles of all latencies, and the time of cores that the server took for a request.
ResNet-50 has random weights.
"""

import argparse
import http.client
import importlib
import io
import json
import multiprocessing
import os
import random
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor

import onebyone
from onebyone.compiler import usable_cores
from onebyone.models.samples import SAMPLE_PHOTOS

sys.path.insert(0, str(Path(__file__).parent.parent))

PHOTO = SAMPLE_PHOTOS[1].read_bytes()
WEIGHTS = {"efficientnet_lite0": "imagenet"}
AGREE = 1e-3
"""How far a probability may be from the other engine's."""


def ours(network, example, threads):
    """Return our engine for any number of images."""
    return onebyone.compile(network, example, threads=threads, batch="any")


def onnx_runtime(network, example, threads, *, spin):
    """Return ONNX Runtime for any number of images, with threads that spin when idle, or not."""
    ort = importlib.import_module("onnxruntime")
    from onebyone.exporting.onnx_file import to_onnx

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    content = to_onnx(network, example.expand(2, -1, -1, -1).contiguous(), any_batch=True)
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of server: its engine, the most images that run together, and its processes.

    Processes share the cores: two of them have half of the threads each.
    """

    engine: Callable[..., Callable[[Tensor], Tensor]]
    batch: int = 8
    processes: int = 1


KINDS = {
    "onebyone": Kind(engine=ours),
    "onebyone, one by one": Kind(engine=ours, batch=1),
    "onebyone, 2 processes": Kind(engine=ours, processes=2),
    "onnxruntime": Kind(engine=partial(onnx_runtime, spin=True)),
    "onnxruntime, no spinning": Kind(engine=partial(onnx_runtime, spin=False)),
}


def serve(name: str, model: str, listening: socket.socket, ready: Connection) -> None:
    """Run a process of a server until it is terminated."""
    import uvicorn

    from examples.serving import Classifier, Limits, make_app

    kind = KINDS[name]
    torch.set_num_threads(1)
    torch.manual_seed(0)  # the same weights in all processes
    network = onebyone.create_model(model, weights=WEIGHTS.get(model)).eval()
    example = Classifier(network, network.card).example(1)
    run = kind.engine(network, example, max(1, usable_cores() // kind.processes))
    app = make_app(Classifier(run, network.card), Limits(batch=kind.batch))
    ready.send(None)
    config = uvicorn.Config(app, log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs: its port, and its processes."""

    port: int
    pids: tuple[int, ...]

    def core_seconds(self) -> float:
        """Return the time of cores that it has taken so far."""
        ticks = 0
        for pid in self.pids:
            # Behind the name, which may have spaces; user and system time are the 14th and 15th.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(name: str, model: str) -> Generator[Server]:
    """Give a server that is ready."""
    context = multiprocessing.get_context("spawn")
    ready, tell = context.Pipe(duplex=False)
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        processes = [
            context.Process(target=serve, args=(name, model, listening, tell))
            for _ in range(KINDS[name].processes)
        ]
        for process in processes:
            process.start()
        tell.close()
        try:
            for _ in processes:
                ready.recv()  # an error, if none of them lives any more
            pids = tuple(process.pid or 0 for process in processes)
            yield Server(listening.getsockname()[1], pids)
        finally:
            for process in processes:
                process.terminate()
                process.join()


@dataclass(frozen=True, slots=True)
class Load:
    """What came of clients that asked for some seconds: each answer's latency, all in seconds."""

    seconds: float
    core_seconds: float
    latencies: list[float]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds


def ask(connection: http.client.HTTPConnection) -> dict:
    """Return the answer to the photo."""
    connection.request("POST", "/predict", body=PHOTO)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"status {answer.status}: {content.decode()}")
    return json.loads(content)


def client(port: int, end: float, latencies: list[float]) -> None:
    """Ask again and again until the end; each latency is of a request, from its first byte on."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while (start := time.perf_counter()) < end:
        ask(connection)
        latencies.append(time.perf_counter() - start)
    connection.close()


def put_load(server: Server, clients: int, seconds: float) -> Load:
    """Let clients ask for some seconds."""
    latencies: list[float] = []
    cores, start = server.core_seconds(), time.perf_counter()
    threads = [
        threading.Thread(target=client, args=(server.port, start + seconds, latencies))
        for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(time.perf_counter() - start, server.core_seconds() - cores, latencies)


def check_agreement(servers: Iterable[Server]) -> None:
    """Check that all servers say the same of the photo."""
    first, *others = (
        ask(http.client.HTTPConnection("127.0.0.1", server.port))["classes"] for server in servers
    )
    for other in others:
        for one, same in zip(first, other, strict=True):
            if abs(one["probability"] - same["probability"]) > AGREE:
                raise RuntimeError(f"two servers differ: {first} and {other}")


def preparing_ms(model: str, rounds: int = 15) -> float:
    """Return the time of a core for what is done to the photo before the network sees it."""
    preprocess = onebyone.create_model(model).card.preprocess
    torch.set_num_threads(1)
    times: list[float] = []
    for _ in range(rounds):
        start = time.thread_time()
        preprocess(onebyone.open_photo(io.BytesIO(PHOTO)))
        times.append(time.thread_time() - start)
    return statistics.median(times) * 1e3


def row(model: str, clients: int, name: str, loads: list[Load]) -> str:
    """Return a row of the table."""
    rates = [one.rate for one in loads]
    core_ms = statistics.median(one.core_seconds / len(one.latencies) for one in loads) * 1e3
    cuts = statistics.quantiles((one for load in loads for one in load.latencies), n=100)
    return (
        f"| {model} | {clients} | {name} | {statistics.median(rates):.0f} "
        f"({min(rates):.0f}..{max(rates):.0f}) | {cuts[49] * 1e3:.1f} | {cuts[98] * 1e3:.1f} "
        f"| {core_ms:.1f} |"
    )


def compare(model: str, asked: argparse.Namespace, servers: dict[str, Server]) -> None:
    """Print the rows of one network."""
    check_agreement(servers.values())
    for clients in asked.clients:
        loads: dict[str, list[Load]] = {name: [] for name in servers}
        for server in servers.values():
            put_load(server, clients, 0.3)  # to warm up
        for _ in range(asked.rounds):
            for name in random.sample(list(servers), len(servers)):
                loads[name].append(put_load(servers[name], clients, asked.seconds))
        for name, rounds in loads.items():
            print(row(model, clients, name, rounds), flush=True)  # noqa: T201


def main() -> None:
    """Start all servers of a network, wait until they are ready, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=["efficientnet_lite0", "resnet50"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each round")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    asked = parser.parse_args()
    print("| network | clients | server | requests/s | p50, ms | p99, ms | cores, ms |")  # noqa: T201
    print("|---|---|---|---|---|---|---|")  # noqa: T201
    for model in asked.networks:
        with ExitStack() as stack:
            servers = {name: stack.enter_context(served(name, model)) for name in asked.kinds}
            compare(model, asked, servers)
        print(f"of which {preparing_ms(model):.1f} ms to unpack, scale and normalise")  # noqa: T201


if __name__ == "__main__":
    main()
