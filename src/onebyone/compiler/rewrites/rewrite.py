"""The list of rewrites, and applying them all."""

from collections.abc import Callable

from onebyone.compiler.rewrites.drop_identity import drop_identity
from onebyone.compiler.rewrites.drop_unused import drop_unused
from onebyone.compiler.rewrites.fold_batch_norm import fold_batch_norm
from onebyone.compiler.rewrites.fold_flatten import fold_flatten
from onebyone.compiler.rewrites.fold_pad import fold_pad
from onebyone.compiler.rewrites.fold_scale import fold_scale
from onebyone.compiler.rewrites.fuse_activation import fuse_activation
from onebyone.compiler.rewrites.fuse_residual import fuse_residual
from onebyone.compiler.rewrites.merge_parallel_pointwise import merge_parallel_pointwise
from onebyone.compiler.rewrites.reasons import with_reasons
from onebyone.compiler.rewrites.skip_concat import skip_concat
from onebyone.errors import located
from onebyone.graph.graph import Graph
from onebyone.graph.verify import verify

REWRITES: tuple[Callable[[Graph], Graph], ...] = (
    # First what hides one node from another, then numbers, then whole nodes.
    drop_identity,
    skip_concat,
    drop_unused,
    fold_pad,
    fold_flatten,
    fold_batch_norm,
    fold_scale,
    fuse_activation,
    fuse_residual,
    merge_parallel_pointwise,
)


def rewrite_graph(graph: Graph, *, check: bool = False) -> Graph:
    """Apply all rewrites in order, and again until none finds anything to do.

    Args:
        graph: What `capture` gave; it is left unchanged.
        check: Whether to verify the graph at the start and after every rewrite.

    Returns:
        The graph, whose `fates` say what has become of each layer, and why not more.

    Raises:
        InvalidGraphError: If a rewrite broke the graph, with its name.
    """
    if check:
        verify(graph)
    before = None
    while graph is not before:
        before = graph
        for rewrite in REWRITES:
            graph = rewrite(graph)
            if check:
                with located(rewrite.__name__):
                    verify(graph)
    return with_reasons(graph)
