"""Training the zoo's networks, and a user's own."""

from typing import TYPE_CHECKING

from onebyone.lazy import offer

if TYPE_CHECKING:
    from onebyone.training.by_name import score_network, train
    from onebyone.training.evaluate import Score
    from onebyone.training.loop import train_network
    from onebyone.training.progress import Progress
    from onebyone.training.recipe import RECIPES, Recipe, find_recipe, usual_for
    from onebyone.training.run import TrainResult

__all__ = [
    "RECIPES",
    "Progress",
    "Recipe",
    "Score",
    "TrainResult",
    "find_recipe",
    "score_network",
    "train",
    "train_network",
    "usual_for",
]

__getattr__, __dir__ = offer(
    __name__,
    {
        "onebyone.training.by_name": "score_network train",
        "onebyone.training.evaluate": "Score",
        "onebyone.training.loop": "train_network",
        "onebyone.training.progress": "Progress",
        "onebyone.training.recipe": "RECIPES Recipe find_recipe usual_for",
        "onebyone.training.run": "TrainResult",
    },
)
