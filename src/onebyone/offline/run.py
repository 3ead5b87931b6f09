"""The road from many photos to a file of predictions, in one function."""

import logging
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onebyone.errors import PredictionError, ShapeError, check_choice
from onebyone.models.reference import check_reference, default_weights
from onebyone.offline.engine import Engine
from onebyone.offline.items import read_source
from onebyone.offline.parts import FORMAT, Parts, open_parts, run_of
from onebyone.offline.rows import Row, Table, check_parquet, table_of
from onebyone.offline.task import Task

if TYPE_CHECKING:
    from onebyone.offline.predictor import Predictor

SUFFIX = ".parquet"

MOST_ERRORS = 10
"""Photos that are named when all is done; the result names all."""

MOST_DECODERS = 4
"""Threads that prepare photos, at most: a network takes longer than a photo does."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        images: Photos that are done, those of earlier runs too.
        total: All photos.
    """

    images: int
    total: int


@dataclass(frozen=True, slots=True)
class Predictions:
    """What came of a run.

    Attributes:
        out: The result, a Parquet file: a row for each photo.
        images: Its rows.
        failed: How many of them are of photos that could not be read.
        errors: What is said of the first of those, a line each.
        engine: What ran the network in this process.
    """

    out: Path
    images: int
    failed: int
    errors: tuple[str, ...]
    engine: Engine


Watch = Callable[[Progress], None]


def unwatched(_: Progress) -> None:
    """Show nothing."""


def predict_many(
    model: str | Path,
    photos: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    weights: str | Path | None = None,
    engine: str = Engine.COMPILED,
    top: int = 5,
    overwrite: bool = False,
    ray: str | None = None,
    watch: Watch = unwatched,
) -> Predictions:
    """Write the most probable classes of many photos to a Parquet file, a row for each photo.

    Rows have the photos' order: that of the paths in a folder, and that within the shards. Photos
    that cannot be read are rows too, with an error. Memory does not grow with their number.

    A run that was interrupted, by whatever, is gone on with when it is asked for again: what is
    done lies in the folder `OUT.parts` until the result is whole. It comes out the same. The same
    call once more, with a result that is whole, does nothing.

    Args:
        model: As for `onebyone.load_model`.
        photos: A folder, which is gone through at any depth; or tar shards as WebDataset names
            them, "photos-{000..009}.tar"; or photos, one by one.
        out: The result; its name ends in ".parquet".
        weights: As for `load_model`; but the default weights of a named model if None.
        engine: "compiled", or "torch".
        top: How many classes to name for each photo.
        overwrite: Whether a result that is there already is replaced.
        ray: Where Ray Data does the work: "local" to start Ray on this machine for it, or the
            address of a cluster, "auto" for the one around; None to work without Ray. If Ray has
            been started in this process, that is used. Probabilities are the same to the bit on
            processors of one kind, if all is native code.
        watch: Shows a person how far it has come.

    Raises:
        PhotoError: If there are no photos, or a folder or shard cannot be read.
        PredictionError: If the result cannot be written or is there already, or a run that was
            interrupted was another one.
        MissingPackageError: If pyarrow, braceexpand or Ray is wanted and not installed.
        OneByOneError: As `load_model` and `onebyone.predict`.

    Side effects:
        Makes and removes the folder `OUT.parts`.
    """
    out = Path(out)
    given = [photos] if isinstance(photos, str | Path) else photos
    task = _task(model, weights, engine, top)
    # What is quick to find wrong comes first: the network may have to be fetched and compiled.
    check_parquet()
    if ray is not None:
        from onebyone.offline.on_ray import check_ray

        check_ray()
    source = read_source(given)
    source.check()
    run = {"format": FORMAT} | task.to_json()
    is_there = _check_out(out, run, overwrite=overwrite)
    with open_parts(out) as parts:
        _check_parts(parts, run)
        predictor = _load(task)
        run |= {"network": predictor.digest, "photos": parts.list_items(source.items())}
        if is_there:
            _check_same(out, _run_of_result(out), run, _REPLACE)
        else:
            _check_parts(parts, run)
            _predict_parts(task, parts, predictor, run, ray=ray, watch=watch)
            parts.join(len(parts.sizes()), out, run)
        parts.remove()
    return _describe(out, predictor.engine)


def _task(model: str | Path, weights: str | Path | None, engine: str, top: int) -> Task:
    check_reference(str(model))
    check_choice("engine", engine, [one.value for one in Engine])
    if top < 1:
        raise ShapeError(f"`top` (={top}) must be at least 1")
    used = default_weights(str(model)) if weights is None else str(weights)
    return Task(str(model), used, Engine(engine), top)


def _load(task: Task) -> "Predictor":
    from onebyone.offline.predictor import Predictor

    predictor = Predictor(task)
    if predictor.notice:
        _LOG.warning(predictor.notice)
    return predictor


def _predict_parts(
    task: Task,
    parts: Parts,
    predictor: "Predictor",
    run: Mapping[str, Any],
    *,
    ray: str | None,
    watch: Watch,
) -> None:
    """Write the parts that are missing."""
    if parts.read_run() is None:
        parts.forget()
        parts.write_run(run)
    sizes = parts.sizes()
    missing = parts.missing(sizes)
    count = _Count(sum(sizes) - sum(sizes[part] for part in missing), sum(sizes), watch)
    if ray is not None and missing:
        from onebyone.offline.on_ray import predict_on_ray

        work = predict_on_ray(task, parts, missing, sizes, predictor.digest, ray)
        with closing(work) as done:
            for part, rows in done:
                parts.write(part, rows)
                count.add(sizes[part])
        return
    # Opening a photo changes the filters of warnings for a moment, and threads would leave them so.
    with warnings.catch_warnings(), closing(_here(parts, missing, sizes, predictor, count)) as done:
        for part, rows in done:
            parts.write(part, rows)


def _here(
    parts: Parts, missing: list[int], sizes: list[int], predictor: "Predictor", count: "_Count"
) -> Generator[tuple[int, Table]]:
    """Give the rows of parts, in order."""
    from onebyone.compiler import usable_cores

    decoders = min(MOST_DECODERS, usable_cores())
    with closing(predictor.rows(parts.items(missing), threads=decoders)) as rows:
        counted = map(count.counted, rows)
        for part in missing:
            yield part, table_of(islice(counted, sizes[part]))


class _Count:
    """Tell a watcher how many photos are done."""

    def __init__(self, images: int, total: int, watch: Watch) -> None:
        self._images, self._total, self._watch = images, total, watch
        watch(Progress(images, total))

    def add(self, images: int) -> None:
        self._images += images
        self._watch(Progress(self._images, self._total))

    def counted(self, row: Row) -> Row:
        self.add(1)
        return row


_REPLACE = "write elsewhere, or replace it (--overwrite)"


def _check_out(out: Path, run: Mapping[str, Any], *, overwrite: bool) -> bool:
    """Check where the result goes, and return whether one is there that stays."""
    if out.suffix != SUFFIX:
        raise PredictionError(f"{out}: a name that ends in {SUFFIX} was wanted")
    if out.is_dir():
        raise PredictionError(f"{out} is a folder; a name for the result was wanted")
    if overwrite or not out.exists():
        return False
    _check_same(out, _run_of_result(out), run, _REPLACE)
    return True


def _run_of_result(out: Path) -> dict[str, Any]:
    run = run_of(out)
    if run is None:
        raise PredictionError(f"{out} is there already, and is none of ours; {_REPLACE}")
    return run


def _check_parts(parts: Parts, run: Mapping[str, Any]) -> None:
    there = parts.read_run()
    if there is not None:
        cure = f"ask for the same, or begin anew: remove {parts.folder}"
        _check_same(parts.folder, there, run, cure)


def _check_same(place: Path, there: Mapping[str, Any], here: Mapping[str, Any], cure: str) -> None:
    """Check that what a place holds was asked for in the same way, as far as that is known yet.

    Raises:
        PredictionError: If it was not; names the first difference.
    """
    for name, value in here.items():
        if there.get(name) != value:
            raise PredictionError(
                f"{place} holds predictions with {name} {there.get(name)!r}, and {value!r} was "
                f"asked for; {cure}"
            )


def _describe(out: Path, engine: Engine) -> Predictions:
    """Count a result's rows, and those of photos that could not be read."""
    import pyarrow.parquet as pq

    images, failed = 0, 0
    errors: list[str] = []
    with pq.ParquetFile(out) as file:
        for batch in file.iter_batches(columns=["error"]):
            column = batch.column(0)
            images += len(column)
            failed += len(column) - column.null_count
            errors += [str(error) for error in column.drop_null()[: MOST_ERRORS - len(errors)]]
    return Predictions(out, images, failed, tuple(errors), engine)
