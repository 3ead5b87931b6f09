"""What the tests of studies ask of their arms."""

import torch

from onebyone.explainer import count_cost
from onebyone.studies.study import Arm, Study
from onebyone.studies.subset import take_images
from onebyone.studies.trial import Trial, TrialResult, run_trial
from onebyone.training.data import read_data
from onebyone.training.data.data import Data
from tests.training.small import small_data


def grey(size: int = 28) -> Data:
    """Images like Fashion-MNIST's."""
    return small_data(shape=(1, size, size), classes=10)


def shapes(arm: Arm) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter of an arm's network, by its name."""
    with torch.device("meta"):
        network = arm.build(grey())
    return {name: tuple(one.shape) for name, one in network.named_parameters()}


def kinds(arm: Arm) -> list[str]:
    """The classes of an arm's layers, in order."""
    with torch.device("meta"):
        network = arm.build(grey())
    return [type(one).__name__ for one in network.modules() if not list(one.children())]


def macs(arm: Arm) -> int:
    """Multiply-adds for one image."""
    return count_cost(arm.build(grey()), (1, 1, 28, 28)).macs


def quick_trial(study: Study, arm: str, *, images: int = 200) -> TrialResult:
    """A trial of a study's small form, smaller still."""
    trial = Trial(study=study, scale=study.quick, arm=study.arm(arm), seed=1)
    result = run_trial(trial, take_images(read_data("digits"), images, seed=0))
    assert result is not None
    return result


def check_names(study: Study) -> None:
    """Whatever a study names, it has."""
    names = [arm.name for arm in study.arms]
    assert len(set(names)) == len(names)
    conditions = {
        condition for panel in study.panels for one in panel.series for condition in one.conditions
    }
    conditions |= {panel.base for panel in study.panels if panel.base}
    quantities = {name for panel in study.panels for name in (panel.x, panel.y) if name}
    for asked in study.comparisons:
        conditions |= {asked.this, asked.that}
        quantities.add(asked.quantity)
        assert asked.question.endswith("?")
        assert len({asked.more, asked.less, asked.alike}) == 3
    assert all(study.label(condition) for condition in conditions)
    assert all(study.quantity(name).label for name in quantities)
    assert study.full.seeds >= 5
