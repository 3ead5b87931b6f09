"""Starting a run, or taking up the one in its folder, once it is clear that it can go well."""

import copy
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onebyone.errors import ShapeError, TrainingError
from onebyone.models import ModelCard, Network
from onebyone.training.data.data import Data
from onebyone.training.engine import Engine
from onebyone.training.learner import Learner
from onebyone.training.metrics import EpochRow, Journal, StepRow
from onebyone.training.plan import Plan, seed_of
from onebyone.training.run import BEST_FILE, LAST_FILE, Run
from onebyone.training.state import (
    STATE_FILE,
    State,
    check_same_run,
    read_state,
    writing,
)


def begin_run(
    network: nn.Module,
    plan: Plan,
    out: str | Path | None,
    *,
    engine: Engine,
    resume: bool,
    save_seconds: float,
) -> Run:
    """Start a run on a copy of a network, or take up the one in its folder.

    Raises:
        TrainingError: If the folder cannot be written to, or holds another run, or one at all and
            `resume` does not say to go on with it.
        ShapeError: If the network does not give each class of the data a score.
    """
    folder = None if out is None else Path(out)
    if folder and engine.is_first:
        _prepare_folder(folder, resume=resume)
    engine.launch()
    engine.barrier()
    torch.manual_seed(seed_of(plan.seed, step=-1))
    network = copy.deepcopy(network)
    card = _card_of(network, plan)
    if isinstance(network, Network):
        network.card = card
    check_scores(network, plan.data)
    about = _about(card, plan)
    learner = Learner(network, plan.recipe, engine)
    state = read_state(folder / STATE_FILE) if folder and _has_state(folder) else None
    engine.barrier()  # all have looked before the first one writes
    if state and folder:
        check_same_run(state, about, folder)
        learner.restore(state.tensors)
        engine.set_scale(dict(state.scale))
    written = folder if engine.is_first else None
    run = Run(
        learner=learner,
        journal=Journal(written, *_rows(state, plan)),
        engine=engine,
        about=about,
        out=written,
        epoch=state.epoch if state else 0,
        step=state.step if state else 0,
        seconds=state.seconds if state else 0.0,
        save_seconds=save_seconds,
        saved=time.perf_counter(),
    )
    if state is None:
        run.save(0, 0)
    return run


def _prepare_folder(folder: Path, *, resume: bool) -> None:
    if _has_state(folder) and not resume:
        raise TrainingError(
            f"{folder} holds a run already; go on with it by --resume (resume=True), or name "
            "another folder"
        )
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
        for kept in (STATE_FILE, BEST_FILE, LAST_FILE):
            for half in folder.glob(f".{kept}.*"):  # what kill -9 cut short
                half.unlink()


def _has_state(folder: Path) -> bool:
    return (folder / STATE_FILE).exists()


def _card_of(network: nn.Module, plan: Plan) -> ModelCard:
    """Return the card of what will be trained: how to feed it, and where it comes from."""
    card = getattr(network, "card", None)
    if not isinstance(card, ModelCard):
        card = ModelCard(model=type(network).__name__)
    epochs = f"{plan.recipe.epochs} epoch{'s' if plan.recipe.epochs > 1 else ''}"
    return replace(
        card,
        preprocess=plan.data.preprocess,
        classes=plan.data.classes,
        weights=f"trained on {plan.data.name}, {epochs}, seed {plan.seed}",
        license=None,
    )


def check_scores(network: nn.Module, data: Data) -> None:
    """Check that a network gives each class of the data a score.

    Raises:
        ShapeError: If it does not.
    """
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    with torch.no_grad():
        try:
            scores = network.eval()(torch.zeros(1, *data.image_shape, device=device))
        except RuntimeError as error:
            shape = " x ".join(map(str, data.image_shape))
            raise ShapeError(
                f"the network cannot see images of {shape} ({str(error).splitlines()[0]}); "
                "train another one, or on other data"
            ) from error
    if not isinstance(scores, Tensor) or scores.shape != (1, len(data.classes)):
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ShapeError(
            f"a network that gives {len(data.classes)} scores for an image was wanted, one for "
            f"each class of {data.name}, and this one gives {got}"
        )


def _about(card: ModelCard, plan: Plan) -> dict[str, Any]:
    """Return what a run is a run of, as it comes back from JSON."""
    about = {
        "model": card.model,
        "data": plan.data.name,
        "images": len(plan.data.train),  # a folder may have got others since
        "seed": plan.seed,
        "recipe": asdict(plan.recipe),
    }
    return json.loads(json.dumps(about))


def _rows(state: State | None, plan: Plan) -> tuple[list[EpochRow], list[StepRow]]:
    """Return the rows that a state holds."""
    if state is None:
        return [], []
    outcomes = state.tensors["steps"].tolist()
    steps = [plan.row(step, loss, accuracy) for step, (loss, accuracy) in enumerate(outcomes)]
    return [EpochRow(**row) for row in state.epochs], steps
