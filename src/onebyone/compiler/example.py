"""What a user hands over to be compiled: a network, and an example of its arguments."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from onebyone.compiler.batched import BatchedModel
from onebyone.compiler.model import CompiledModel
from onebyone.compiler.shaped import ShapedModel
from onebyone.errors import CompileError, ModelError, ShapeError
from onebyone.graph import Pair
from onebyone.graph.example import WANTED_MODEL, check_network, example_arguments


def check_model(model: object) -> Callable[..., Any]:
    """Return what is to be compiled, if it is a network or a function.

    Raises:
        ModelError: If it is neither, or compiled already.
    """
    if isinstance(model, CompiledModel | BatchedModel | ShapedModel):
        raise ModelError(f"{WANTED_MODEL}; got one that is compiled already, {model!r}")
    return check_network(model)


def compile_arguments(
    example: object, kwargs: object = None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments that an example stands for, as `example_arguments` does.

    Raises:
        CompileError: If PyTorch is in a mode in which tensors have no numbers.
    """
    arguments = example_arguments(example, kwargs)
    if type(torch.empty(0)) is not Tensor:
        raise CompileError(
            "tensors that are made here have no numbers (a FakeTensorMode is on); compile the "
            "network before it is entered"
        )
    return arguments


def sized_examples(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], size: Pair
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments with images of that height and width, where the first tensor has its.

    Raises:
        ShapeError: If the first tensor is no image.
    """
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    before = tensors[0].shape[-2:]
    if tensors[0].ndim < 3:
        raise ShapeError(
            "`shapes` are of images (N, C, height, width), and the example's first tensor is of "
            f"shape {tuple(tensors[0].shape)}; leave out `shapes`"
        )

    def with_size(leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and leaf.ndim >= 3 and leaf.shape[-2:] == before:
            return leaf.new_zeros(1).expand(*leaf.shape[:-2], *size).contiguous()
        return leaf

    return tree_map(with_size, args), tree_map(with_size, dict(kwargs))


def examples_of(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], images: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments with so many images, where they have as many as the first tensor has."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    before = tensors[0].shape[:1]

    def with_images(leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and leaf.ndim and leaf.shape[:1] == before:
            # No numbers count, so one image stands for all.
            return leaf[:1].expand(images, *leaf.shape[1:]).contiguous()
        return leaf

    return tree_map(with_images, args), tree_map(with_images, dict(kwargs))
