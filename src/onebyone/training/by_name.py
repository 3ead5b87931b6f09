"""`onebyone.train`: names in, a trained network and a folder out."""

from pathlib import Path

from onebyone.training.begin import check_scores
from onebyone.training.data import Reading, has_photos, read_data
from onebyone.training.data.data import Data
from onebyone.training.engine import Engine, make_engine
from onebyone.training.evaluate import Score, evaluate
from onebyone.training.fit import fit_network, preprocess_for
from onebyone.training.loop import train_network
from onebyone.training.progress import Watch, unwatched
from onebyone.training.recipe import Recipe, find_recipe, usual_for
from onebyone.training.run import TrainResult


def train(
    model: str | Path | None,
    data: str | Data = "digits",
    out: str | Path | None = None,
    *,
    recipe: str | Recipe | None = None,
    weights: str | Path | None = None,
    seed: int = 0,
    devices: int = 1,
    resume: bool = False,
    workers: int | None = None,
    watch: Watch = unwatched,
) -> TrainResult:
    """Train a network, by name.

    Args:
        model: As for `onebyone.load_model`; None for the data's usual one.
        data: A name, such as "fashion-mnist" or "imagefolder:DIR"; or the data. Photos are read as
            the network is to see them.
        out: Folder for checkpoints, metrics and the state; None to write nothing.
        recipe: A name in `RECIPES`, or a recipe; None for the data's usual one.
        weights: Where to start from; None for a random start.
        seed: What random numbers depend on.
        devices: Processes to train with. More than one run the calling program from its start.
        resume: Whether to go on with the run in `out`, if there is one.
        workers: Processes that decode photos; None for a core each, 0 for none.
        watch: Shows a person how far it has come.

    Raises:
        OneByOneError: One of its kinds; see `train_network`.

    Example:
        >>> from dataclasses import replace
        >>> from onebyone.training import RECIPES
        >>> result = train("resnet20", recipe=replace(RECIPES["digits"], epochs=1))
        >>> len(result.epochs)
        1
    """
    called = data if isinstance(data, str) else data.name
    usual = usual_for(called, model=model, weights=weights)
    model = model or usual.model
    data = _read(data, model, weights, workers)
    recipe = recipe or usual.recipe
    recipe = find_recipe(recipe) if isinstance(recipe, str) else recipe
    engine = make_engine(devices=devices, precision=recipe.precision)
    network = fit_network(model, data, weights=weights, seed=seed)
    return train_network(
        network, data, recipe, out, seed=seed, engine=engine, resume=resume, watch=watch
    )


def score_network(
    model: str | Path,
    data: str | Data,
    *,
    weights: str | Path | None = None,
    workers: int | None = None,
) -> Score:
    """Return a trained network's score on the test images of data.

    Args:
        model: As for `onebyone.load_model`.
        data: As for `train`.
        weights: A file of weights, for networks whose checkpoints are that.
        workers: As for `train`.

    Raises:
        OneByOneError: One of its kinds; see `load_model`.
    """
    data = _read(data, model, weights, workers)
    engine: Engine = make_engine()
    network = fit_network(model, data, weights=weights).to(engine.device).eval()
    check_scores(network, data)
    return evaluate(network, data.test, engine, batch_size=256)


def _read(
    data: str | Data, model: str | Path, weights: str | Path | None, workers: int | None
) -> Data:
    """Return the data that a user names; photos as the network is to see them."""
    if not isinstance(data, str):
        return data
    if not has_photos(data):
        return read_data(data)
    return read_data(data, Reading(preprocess_for(model, weights=weights), workers))
