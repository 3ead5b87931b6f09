"""Why layers that are often part of another stay on their own, in words."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from onebyone.compiler.rewrites.everywhere import Uses
from onebyone.compiler.rewrites.fold_batch_norm import why_not_folded as why_norm_is_not_folded
from onebyone.compiler.rewrites.fold_pad import why_not_folded as why_pad_is_not_folded
from onebyone.compiler.rewrites.fold_scale import why_not_folded as why_constant_is_not_folded
from onebyone.compiler.rewrites.fuse_activation import why_not_fused as why_activation_is_not_fused
from onebyone.compiler.rewrites.fuse_residual import why_not_fused as why_sum_is_not_fused
from onebyone.compiler.rewrites.merge_parallel_pointwise import why_not_merged
from onebyone.graph.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Constant,
    Convolution,
    Fate,
    Graph,
    Node,
    Pad,
)


def with_reasons(graph: Graph) -> Graph:
    """Note in the fates of a rewritten graph's layers why those on their own are.

    The rewrites themselves say why they do not fit: they ask the same question before each change.
    """
    uses = Uses.of(graph)

    def noted(layer: str, fate: Fate) -> Fate:
        return replace(fate, why=_why(uses, graph[layer])) if fate.nodes == (layer,) else fate

    return replace(graph, changed={layer: noted(layer, one) for layer, one in graph.fates.items()})


def _why(uses: Uses, node: Node) -> str:
    find_reason = WHY.get(type(node))
    return find_reason(uses, node) if find_reason else ""


def _why_arithmetic(uses: Uses, node: Arithmetic) -> str:
    has_constant = any(isinstance(uses.graph[name], Constant) for name in node.inputs)
    return (why_constant_is_not_folded if has_constant else why_sum_is_not_fused)(uses, node)


WHY: dict[type[Node], Callable[[Uses, Any], str]] = {
    Activation: why_activation_is_not_fused,
    Arithmetic: _why_arithmetic,
    BatchNorm: why_norm_is_not_folded,
    Convolution: why_not_merged,
    Pad: why_pad_is_not_folded,
}
