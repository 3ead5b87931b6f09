"""Drop what nobody reads."""

from onebyone.graph.graph import Graph, Input


def drop_unused(graph: Graph) -> Graph:
    """Drop nodes whose value reaches no output.

    Rewrite:  y = f(x), which nobody reads  -->  nothing
    Cost:     that of f

    Inputs stay: they are the user's arguments. Opaque operators go like all others, as they give a
    value and do nothing else.
    """
    used = {ref.name for ref in graph.outputs}
    for node in reversed(tuple(graph)):
        if node.name in used:
            used.update(node.inputs)
    unused = [node for node in graph if node.name not in used and not isinstance(node, Input)]
    return graph.with_changes({node.name: None for node in unused}) if unused else graph
