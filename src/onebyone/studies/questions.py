"""Questions that are asked of accuracy, and then once more of the loss."""

from onebyone.studies.study import Comparison

ALIKE = "No difference can be told in these trials."


def which_is_better(
    this: str, that: str, question: str, *, better: str, worse: str, alike: str = ALIKE
) -> tuple[Comparison, Comparison]:
    """Ask whether a condition is better than another one: by its accuracy, and by its test loss.

    Args:
        this: A condition.
        that: The one it is compared with, seed by seed.
        question: What is asked; yes means that `this` is better.
        better: What is said if `this` has more accuracy.
        worse: What is said if it has less.
        alike: What is said if neither can be told.
    """
    accuracy = Comparison(
        this=this,
        that=that,
        quantity="accuracy",
        question=question,
        more=better,
        less=worse,
        alike=alike,
    )
    loss = Comparison(
        this=this,
        that=that,
        quantity="loss",
        question="And by the test loss?",
        more="No: it is higher.",
        less="Yes: it is lower.",
        alike="No difference can be told in it.",
    )
    return accuracy, loss
