"""The same work on Ray Data: an actor a core, each of which loads the network once."""

import logging
import signal
import threading
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager

from onebyone.errors import ModelError, OneByOneError, PredictionError, summary
from onebyone.offline.parts import Parts
from onebyone.offline.rows import Row, Table, schema, table_of
from onebyone.offline.task import Task
from onebyone.packages import require

_PART = "part"
"""The column that says which part a row belongs to."""

_FAILURE = -1
"""The part of a row whose error ends the run. It is no exception, as Ray would bury that in its
own words, and start the actor again."""


def check_ray() -> None:
    """Check that Ray is there.

    Raises:
        MissingPackageError: If it is not.
    """
    require("predicting on Ray", "ray")


def predict_on_ray(
    task: Task, parts: Parts, missing: list[int], sizes: list[int], digest: str, address: str
) -> Generator[tuple[int, Table]]:
    """Give the rows of parts, in any order.

    All machines need to see the photos, the model's files and the folder of the parts under the
    same paths. What is sent around is numbers of parts, and rows.

    Args:
        task: What is predicted.
        parts: Where the photos are listed.
        missing: The parts to predict.
        sizes: The number of photos in each part.
        digest: What the network has to be known by, on all machines.
        address: As for `predict_many`.

    Raises:
        PredictionError: If Ray cannot be started or reached, or gives up, or with what an actor
            has to say.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    waiting: dict[int, list[Table]] = {}
    with _without_warnings(), reached(address), _quiet(), _told():
        for table in _tables(task, parts, missing, digest):
            for part in table[_PART].unique().to_pylist():
                if part == _FAILURE:
                    raise PredictionError(_first_failure(table))
                got = waiting.setdefault(part, [])
                got.append(table.filter(pc.field(_PART) == part))
                if sum(map(len, got)) == sizes[part]:
                    rows = pa.concat_tables(waiting.pop(part)).select(schema().names)
                    yield part, rows.cast(schema())


def _tables(task: Task, parts: Parts, missing: list[int], digest: str) -> Iterator[Table]:
    import ray
    from ray.data import ActorPoolStrategy, from_items

    data = from_items(missing, override_num_blocks=len(missing))  # a task for each part
    cores = int(ray.cluster_resources().get("CPU", 1))
    predicted = data.map_batches(
        Actor,
        batch_size=1,
        batch_format="pyarrow",
        fn_constructor_args=(task.from_anywhere(), parts.from_anywhere(), digest),
        compute=ActorPoolStrategy(size=max(1, min(cores, len(missing)))),
        num_cpus=1,
    )
    yield from predicted.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)


def _first_failure(table: Table) -> str:
    return next(row["error"] for row in table.to_pylist() if row[_PART] == _FAILURE)


class Actor:
    """What Ray calls: a network on one core."""

    def __init__(self, task: Task, parts: Parts, digest: str) -> None:
        from onebyone.offline.predictor import Predictor

        self._parts = parts
        self._failure = ""
        try:
            self._predictor = Predictor(task, threads=1)
            if self._predictor.digest != digest:
                raise ModelError(
                    f"{task.model} is another network on a machine of the cluster than it is here; "
                    "all machines need the same files"
                )
        except OneByOneError as error:
            self._failure = str(error)

    def __call__(self, batch: Table) -> Table:
        """Return the rows of one part, given its number."""
        if self._failure:
            return _with_part([Row("", error=self._failure)], _FAILURE)
        (part,) = batch.column(0).to_pylist()
        try:
            return _with_part(self._predictor.rows(self._parts.items([part]), threads=1), part)
        except OneByOneError as error:
            return _with_part([Row("", error=str(error))], _FAILURE)
        except OSError as error:  # photos that cannot be read are rows; this is the list of them
            seen = f"{error}; all machines need to see what is beside the result"
            return _with_part([Row("", error=seen)], _FAILURE)


def _with_part(rows: Iterable[Row], part: int) -> Table:
    import pyarrow as pa

    table = table_of(rows)
    return table.append_column(_PART, pa.array([part] * len(table), pa.int64()))


@contextmanager
def reached(address: str) -> Generator[None]:
    """Start Ray, or reach it, and leave it; what runs in this process already stays as it is."""
    import ray

    from onebyone.compiler import usable_cores

    if ray.is_initialized():
        yield
        return
    cores = usable_cores() if address == "local" else None  # a cluster's are known
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address,
            num_cpus=cores,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:
        raise PredictionError(f"Ray cannot be used at {address!r} ({summary(error)})") from error
    try:
        yield
    finally:
        ray.shutdown()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)  # Ray sets one of its own


@contextmanager
def _without_warnings() -> Generator[None]:
    """Ignore what Ray warns of in its own code, where users can do nothing about it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"ray(\.|$)")
        yield


@contextmanager
def _quiet() -> Generator[None]:
    """Keep Ray Data's bars and words off the terminal: there is a bar, and errors are raised."""
    from ray.data import DataContext

    context, logger = DataContext.get_current(), logging.getLogger("ray.data")
    shown, level = context.enable_progress_bars, logger.level
    context.enable_progress_bars = False
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        context.enable_progress_bars = shown
        logger.setLevel(level)


@contextmanager
def _told() -> Generator[None]:
    """Turn Ray's own errors into one line.

    Raises:
        PredictionError: If Ray gives up.
    """
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        raise PredictionError(f"Ray gave up ({summary(error)})") from error
