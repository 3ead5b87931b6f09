"""One network, loaded once, that turns photos into rows."""

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from onebyone.errors import PhotoError
from onebyone.models import ModelCard, load_model
from onebyone.models.photo import opened_photo, turn_and_flatten
from onebyone.models.prediction import predict_prepared
from onebyone.offline.engine import prepare_engine
from onebyone.offline.items import Item
from onebyone.offline.rows import Row
from onebyone.offline.task import Task

AHEAD = 4
"""Photos that wait for the network, for each thread that prepares them: enough that a large one
does not hold it up, and few enough to take no memory to speak of."""

Given = TypeVar("Given")
Made = TypeVar("Made")


class Predictor:
    """A network that is ready to name the classes of photos.

    Photos go through the network one by one: native code runs one on all its threads, so a batch
    would gain little; the last one would have to be filled up; and so a photo's probabilities are
    those of `onebyone.predict` to the bit, whoever else is predicted with it.

    Attributes:
        digest: Stands for what the network computes with: its tensors, and its card.
        engine: What runs it.
        notice: As `ReadyEngine` has it.
    """

    def __init__(self, task: Task, *, threads: int | None = None) -> None:
        network, self._card = load_model(task.model, weights=task.weights)
        self.digest = _digest(network, self._card)
        ready = prepare_engine(network, self._card, task.engine, threads=threads)
        self._call, self.engine, self.notice = ready.call, ready.engine, ready.notice
        self._top = task.top

    def rows(self, items: Iterable[Item], *, threads: int) -> Generator[Row]:
        """Give the rows of photos, in their order; some are prepared ahead, in threads.

        Raises:
            ModelError: If it is no classifier, or its scores are not finite.
        """
        for item, prepared in ahead(self._prepare, items, threads=threads):
            if isinstance(prepared, str):
                yield Row(item.name, error=prepared)
                continue
            best = predict_prepared(self._call, self._card, prepared, top=self._top).top
            yield Row(
                item.name,
                [one.index for one in best],
                [one.label for one in best],
                [one.probability for one in best],
            )

    def _prepare(self, item: Item) -> Tensor | str:
        """Return a photo as the network's input, or why it cannot be read."""
        try:
            with item.open() as content, opened_photo(Path(item.name), content) as image:
                photo = turn_and_flatten(image)
            return self._card.preprocess(photo)
        except PhotoError as error:
            return str(error)


def ahead(
    make: Callable[[Given], Made], given: Iterable[Given], *, threads: int
) -> Generator[tuple[Given, Made]]:
    """Give what `make` makes of each, in order, while threads make what comes next."""
    waiting: deque[tuple[Given, Future[Made]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="onebyone-photos") as pool:
        try:
            for one in given:
                waiting.append((one, pool.submit(make, one)))
                if len(waiting) > AHEAD * threads:
                    first, made = waiting.popleft()
                    yield first, made.result()
            while waiting:
                first, made = waiting.popleft()
                yield first, made.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _digest(network: nn.Module, card: ModelCard) -> str:
    digest = hashlib.sha256(repr((card.preprocess, card.classes)).encode())
    for name, tensor in network.state_dict().items():
        if isinstance(tensor, Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            plain = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(plain.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
