"""A network is read: what it computes, and what it does with its layers."""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from onebyone.errors import ShrinkError
from onebyone.explainer.follow import as_evaluated, follow
from onebyone.graph import Convolution, Graph, Node
from onebyone.shrinking.calls import Use, watch_calls
from onebyone.shrinking.layers import Layers, storage, weight_of
from onebyone.shrinking.reasons import Why, why_bound, why_derived, why_fixed


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is known of a network.

    Attributes:
        layers: Of the user's network.
        network: A copy in evaluation, which shares its parameters.
        image: What it was run on.
        graph: What it computes for one image; if it is not proven, its layers each by itself, or
            what it does for the example.
        is_proven: Whether the graph is that of every image.
        uses: What the network does with its convolutions and batch norms, by path, in the order in
            which they run; those that have several names are not there.
        modules: The modules that the graph was read from, by path.
        running: Memory of the numbers that have a part in what comes out.
        notes: What could not be read, and why.
    """

    layers: Layers
    network: Callable[..., Any]
    image: Tensor
    graph: Graph
    is_proven: bool
    uses: Mapping[str, Use]
    modules: Mapping[str, nn.Module]
    running: frozenset[int]
    notes: tuple[str, ...]

    def why_held(self, path: str) -> Why:
        """Say why nothing else may take a layer's place, or why it does not run just once."""
        if why := why_fixed(self.layers, path):
            return why
        tensors = self.layers[path].parameters(recurse=False)
        runs = not self.running.isdisjoint(map(storage, tensors))
        return why_bound(self.uses[path], runs=runs)

    def is_own(self, node: Node) -> bool:
        """Whether a module does a convolution with its own numbers as they are."""
        module = self.modules.get(node.path)
        return (
            isinstance(node, Convolution)
            and isinstance(module, nn.Conv2d)
            and is_same(node.weight, module.weight)
            and is_same(node.bias, module.bias)
        )


def is_same(used: Tensor | None, held: Tensor | None) -> bool:
    """Whether the numbers that are used are those that a module holds."""
    if used is None or held is None:
        return used is held
    return storage(used) == storage(held) and used.shape == held.shape


def read_network(network: nn.Module, example: Tensor, keep: Collection[str]) -> Reading:
    """Read a network in evaluation; it is left unchanged.

    Raises:
        ShrinkError: If it needs more than images, or cannot be copied.
        ModelError: If it does not run on the example.
        UnknownNameError: If `keep` names what it does not have.
    """
    layers = Layers(network, keep)
    image = _one_image(network, example)
    copied = _private_copy(network)
    modules = dict(copied.named_modules())
    followed = follow(copied, (image,))
    tensors = (tensor for node in followed.graph for tensor in node.tensors())
    return Reading(
        layers=layers,
        network=followed.network,
        image=image,
        graph=followed.graph,
        is_proven=followed.is_whole and not followed.notes,
        modules=modules,
        running=frozenset(map(storage, tensors)),
        notes=followed.notes,
        uses=watch_calls(copied, layers.replaceable, image),
    )


def _one_image(network: nn.Module, example: Tensor) -> Tensor:
    """Return the first image, without numbers if the weights have none."""
    if example.dim() == 0 or len(example) == 0:
        raise ShrinkError(
            f"`example` must hold an image at least, (1, C, H, W); got {tuple(example.shape)}"
        )
    try:
        inspect.signature(network.forward).bind(example)
    except TypeError as error:
        raise ShrinkError(
            f"a network that takes images and nothing else was wanted, and this one does not "
            f"({error}); put it into a module that gives it the rest"
        ) from error
    is_meta = any(parameter.is_meta for parameter in network.parameters())
    return example[:1].to("meta") if is_meta else example[:1]


def _private_copy(network: nn.Module) -> nn.Module:
    """Return a network in evaluation to try things on: it shares the parameters, and no more.

    Convolutions that compute in their own way get a bias of zeros, so that the graph shows whether
    they would use one.
    """
    if any(map(is_lazy, network.parameters())):
        raise ShrinkError("the network has layers that were never run; run it on images first")
    copied = as_evaluated(network)
    if copied is network or not isinstance(copied, nn.Module):
        raise ShrinkError(
            "the network cannot be copied, and changes are made on copies: it holds something "
            "that `copy.deepcopy` refuses, such as a lock or an open file"
        )
    for module in copied.modules():
        for name, buffer in module.named_buffers(recurse=False):
            module.register_buffer(name, buffer.clone())
        if isinstance(module, nn.Conv2d) and module.bias is None and why_derived(module):
            module.bias = nn.Parameter(torch.zeros_like(weight_of(module)[:, 0, 0, 0]))
    return copied
