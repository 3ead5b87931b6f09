"""`onebyone.train`: names in, a trained network and a folder out."""

from pathlib import Path

from onebyone.training.data import read_data
from onebyone.training.data.data import Data
from onebyone.training.engine import Engine, make_engine
from onebyone.training.evaluate import Score, evaluate
from onebyone.training.fit import fit_network
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
    watch: Watch = unwatched,
) -> TrainResult:
    """Train a network, by name.

    Args:
        model: As for `onebyone.load_model`; None for the data's usual one.
        data: A name, such as "fashion-mnist" or "mnist:DIR"; or the data.
        out: Folder for checkpoints, metrics and the state; None to write nothing.
        recipe: A name in `RECIPES`, or a recipe; None for the data's usual one.
        weights: Where to start from; None for a random start.
        seed: What random numbers depend on.
        devices: Processes to train with. More than one run the calling program from its start.
        resume: Whether to go on with the run in `out`, if there is one.
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
    data = read_data(data) if isinstance(data, str) else data
    usual = usual_for(data.name)
    recipe = recipe or usual.recipe
    recipe = find_recipe(recipe) if isinstance(recipe, str) else recipe
    engine = make_engine(devices=devices, precision=recipe.precision)
    network = fit_network(model or usual.model, data, weights=weights, seed=seed)
    return train_network(
        network, data, recipe, out, seed=seed, engine=engine, resume=resume, watch=watch
    )


def score_network(
    model: str | Path, data: str | Data, *, weights: str | Path | None = None
) -> Score:
    """Return a trained network's score on the test images of data.

    Args:
        model: As for `onebyone.load_model`.
        data: As for `train`.
        weights: A file of weights, for networks whose checkpoints are that.

    Raises:
        OneByOneError: One of its kinds; see `load_model`.
    """
    data = read_data(data) if isinstance(data, str) else data
    engine: Engine = make_engine()
    network = fit_network(model, data, weights=weights).to(engine.device).eval()
    return evaluate(network, data.test, engine, batch_size=256)
