"""The optimizer that a recipe asks for, and what it remembers, by the parameters' names."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from onebyone.training.recipe import OptimizerName, Recipe

Groups = list[dict[str, Any]]


def parameter_groups(network: nn.Module, weight_decay: float) -> Groups:
    """Return the parameters in two groups: those that weight decay pulls at, and the others.

    Norms' scales and shifts, and biases, are vectors; to pull them towards zero would limit what
    the layer can say, and spare no capacity.
    """
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]


def build_optimizer(network: nn.Module, recipe: Recipe) -> Optimizer:
    """Return the optimizer of a network's parameters, in PyTorch's fused form."""
    groups = [g for g in parameter_groups(network, recipe.weight_decay) if g["params"]]
    return _OPTIMIZERS[recipe.optimizer](groups, recipe)


def _sgd(groups: Groups, recipe: Recipe) -> Optimizer:
    nesterov = recipe.nesterov and recipe.momentum > 0
    return SGD(groups, lr=recipe.peak_rate, momentum=recipe.momentum, nesterov=nesterov, fused=True)


def _adamw(groups: Groups, recipe: Recipe) -> Optimizer:
    return AdamW(groups, lr=recipe.peak_rate, betas=(recipe.momentum, 0.999), fused=True)


_OPTIMIZERS: Mapping[OptimizerName, Callable[[Groups, Recipe], Optimizer]] = {
    "sgd": _sgd,
    "adamw": _adamw,
}


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def remembered(optimizer: Optimizer, network: nn.Module) -> dict[str, Tensor]:
    """Return what an optimizer remembers of each parameter, as "layer1.weight/exp_avg".

    The tensors are the optimizer's own: they change in the next step.
    """
    return {
        f"{name}/{key}": value
        for name, parameter in network.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def remember(optimizer: Optimizer, network: nn.Module, memory: Mapping[str, Tensor]) -> None:
    """Let an optimizer go on with what another one of the same network remembered."""
    by_name: dict[str, dict[str, Tensor]] = {}
    for path, value in memory.items():
        name, _, key = path.rpartition("/")
        by_name.setdefault(name, {})[key] = value
    names = {parameter: name for name, parameter in network.named_parameters()}
    state = {
        index: {key: _laid_out_like(parameter, v) for key, v in by_name[names[parameter]].items()}
        for index, parameter in enumerate(_in_order(optimizer))
        if names[parameter] in by_name
    }
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _in_order(optimizer: Optimizer) -> Iterator[nn.Parameter]:
    for group in optimizer.param_groups:
        yield from group["params"]


def _laid_out_like(parameter: Tensor, value: Tensor) -> Tensor:
    """Copy a value into its parameter's order in memory, which fused steps rely on."""
    if value.shape != parameter.shape:
        return value.clone()
    return torch.empty_like(parameter, requires_grad=False).copy_(value)
