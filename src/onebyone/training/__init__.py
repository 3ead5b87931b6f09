"""Training the zoo's networks, and a user's own."""

from typing import TYPE_CHECKING

from onebyone.lazy import offer

if TYPE_CHECKING:
    from onebyone.training.evaluate import Score
    from onebyone.training.loop import Progress, TrainResult, train_network
    from onebyone.training.recipe import RECIPES, Recipe, find_recipe, usual_for
    from onebyone.training.run import score_network, train

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
        "onebyone.training.evaluate": "Score",
        "onebyone.training.loop": "Progress TrainResult train_network",
        "onebyone.training.recipe": "RECIPES Recipe find_recipe usual_for",
        "onebyone.training.run": "score_network train",
    },
)
