"""Serve a classifier: POST a photo, and get its most probable classes as JSON (docs/serving.md).

    uvicorn --factory --app-dir examples serving:app --no-access-log
    curl --data-binary @cat.jpg http://localhost:8000/predict

The environment says what is served. SERVE_MODEL is a name, as for `onebyone predict`, or a compiled
network that `python examples/serving.py MODEL FILE.obo` wrote; SERVE_THREADS is how many threads it
runs on, by default a thread for each core that the process may use.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Self

import torch
from starlette.applications import Starlette
from starlette.config import Config
from starlette.datastructures import State
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from torch import Tensor
from uvicorn.config import STARTUP_FAILURE

import onebyone as obo
from onebyone.compiler import BatchedModel, usable_cores
from onebyone.errors import PhotoError
from onebyone.files import replacing
from onebyone.models import ModelCard, default_weights, name_classes
from onebyone.typed import read_as


@dataclass(frozen=True, slots=True)
class Classifier:
    """Something that turns images `(N, C, H, W)` into scores `(N, classes)`, and its card."""

    run: Callable[[Tensor], Tensor]
    card: ModelCard

    def example(self, images: int) -> Tensor:
        """Return images of the size that it takes, all zeros."""
        side = self.card.preprocess.input_size
        return torch.zeros(images, self.card.preprocess.channels, side, side)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is taken at once; more is refused."""

    batch: int = 8
    waiting: int = 64  # photos that are being unpacked, wait for the network, or are in it
    body_bytes: int = 10_000_000
    pixels: int = 25_000_000  # a photo of few bytes may have many, and takes 3 bytes for each


class Batcher:
    """Runs a network in a thread of its own, on all images that came while it was busy.

    Nobody waits for a batch to fill up: an image that finds the network idle runs at once, alone.
    """

    def __init__(self, run: Callable[[Tensor], Tensor], *, most: int) -> None:
        self._run, self._most = run, most
        self._waiting = SimpleQueue[tuple[Tensor, Future[Tensor]] | None]()
        self._thread = Thread(target=self._work, name="network")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Answer what is still waiting, and end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def submit(self, image: Tensor) -> "Future[Tensor]":
        """Return what will have the scores of an image."""
        scores = Future[Tensor]()
        self._waiting.put((image, scores))
        return scores

    def _work(self) -> None:
        is_open = True
        while is_open:
            jobs = [self._waiting.get()]
            while len(jobs) < self._most and not self._waiting.empty():
                jobs.append(self._waiting.get())
            is_open = None not in jobs  # None comes last of all
            # Of those whom nobody has given up: from here on, they cannot be.
            self._answer([job for job in jobs if job and job[1].set_running_or_notify_cancel()])

    def _answer(self, jobs: list[tuple[Tensor, Future[Tensor]]]) -> None:
        if not jobs:
            return
        try:
            rows = self._run(torch.stack([image for image, _ in jobs])).unbind()
        except Exception as error:  # it belongs to those who wait; the thread goes on
            for _, scores in jobs:
                scores.set_exception(error)
        else:
            for (_, scores), row in zip(jobs, rows, strict=True):
                scores.set_result(row)


class Service:
    """Answers requests: photos are unpacked in a few threads, and the network has one of its own.

    The event loop computes nothing, so it always has time for /health and for new requests.
    """

    def __init__(self, classifier: Classifier, limits: Limits) -> None:
        self._classifier, self._limits = classifier, limits
        self._free = asyncio.Semaphore(limits.waiting)
        self._batcher = Batcher(classifier.run, most=limits.batch)
        self._readers = ThreadPoolExecutor(usable_cores(), thread_name_prefix="photos")

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncGenerator[None]:
        """Warm up before the first request; when the last one is answered, end the threads."""
        for images in (1, self._limits.batch):
            self._classifier.run(self._classifier.example(images))
        with self._batcher, self._readers:
            yield

    async def predict(self, request: Request[State]) -> JSONResponse:
        """Answer with the most probable classes of the photo in the request's body."""
        body = await request.body()
        if self._free.locked():
            raise HTTPException(503, "too many photos are waiting; try again", {"Retry-After": "1"})
        async with self._free:
            loop = asyncio.get_running_loop()
            try:
                scores = await loop.run_in_executor(self._readers, self._submit, body)
            except PhotoError as error:
                raise HTTPException(400, str(error)) from error
            best = name_classes(await asyncio.wrap_future(scores), self._classifier.card)
        return JSONResponse({"classes": [asdict(one) for one in best]})

    async def health(self, _request: Request[State]) -> JSONResponse:
        """Say that requests are answered; before the network is warm, nobody listens."""
        return JSONResponse({"status": "ok", "model": self._classifier.card.model})

    def _submit(self, body: bytes) -> "Future[Tensor]":
        photo = obo.open_photo(BytesIO(body), max_pixels=self._limits.pixels)
        return self._batcher.submit(self._classifier.card.preprocess(photo))


def make_app(classifier: Classifier, limits: Limits | None = None) -> Starlette:
    """Return a server of a classifier; errors are answered with a line of text."""
    limits = limits or Limits()
    service = Service(classifier, limits)
    return Starlette(
        routes=[
            Route("/predict", service.predict, methods=["POST"]),
            Route("/health", service.health),
        ],
        lifespan=service.lifespan,
        max_body_size=limits.body_bytes,
    )


def load(model: str, *, threads: int | None = None) -> Classifier:
    """Load a network that `write` wrote, or compile the network of that name."""
    if not model.endswith(".obo"):
        return Classifier(*compile_named(model, threads=threads))
    compiled = obo.load_compiled(model, threads=threads)
    card = json.loads(Path(model).with_suffix(".json").read_text())
    return Classifier(compiled, read_as(ModelCard, card))


def compile_named(model: str, *, threads: int | None = None) -> tuple[BatchedModel, ModelCard]:
    """Compile a network for any number of images."""
    network, card = obo.load_model(model, weights=default_weights(model))
    example = Classifier(network, card).example(1)
    return obo.compile(network, example, threads=threads, batch="any"), card


def write(model: str, file: str) -> None:
    """Write a compiled network to FILE.obo, and its card, which `load` needs too, to FILE.json."""
    if not file.endswith(".obo"):
        raise ValueError(f"a file that ends in .obo was wanted, and {file!r} came")
    compiled, card = compile_named(model)
    with replacing(Path(file).with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(asdict(card)))
    compiled.save(file)


@contextmanager
def ending_with(status: int) -> Generator[None]:
    """End the program with a line and a status where something is wrong in what was asked for."""
    try:
        yield
    except (obo.OneByOneError, OSError, ValueError) as error:
        sys.stderr.write(f"serving: {error}\n")
        sys.exit(status)


def app() -> Starlette:
    """Return the server that the environment asks for."""
    torch.set_num_threads(1)  # photos are prepared side by side, each in one thread
    # With another status, uvicorn starts a worker that failed again and again.
    with ending_with(STARTUP_FAILURE):
        environment = Config()
        model = environment("SERVE_MODEL", default="efficientnet_lite0")
        threads = environment("SERVE_THREADS", cast=int, default=None)
        return make_app(load(model, threads=threads))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compile a network, and keep it for the server.")
    parser.add_argument("model", help="a name, as for `onebyone predict`, or a checkpoint")
    parser.add_argument("file", help="FILE.obo; FILE.json comes beside it")
    asked = parser.parse_args()
    with ending_with(2):
        write(asked.model, asked.file)
