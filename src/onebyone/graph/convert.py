"""From one operator call to nodes of the graph."""

from collections.abc import Mapping
from typing import Any

from onebyone.graph.builder import GraphBuilder, Seen
from onebyone.graph.calls import Call, Value
from onebyone.graph.operators import CONVERTERS, Site


def convert(
    builder: GraphBuilder, call: Call, seen: Mapping[Value, Seen], used: set[Value]
) -> list[Seen | None]:
    """Add the nodes of a call, and return how each of its results is seen."""
    converter = CONVERTERS.get(call.target.overloadpacket)
    if converter is not None:
        result = converter(Site(builder, call, seen, used, _arguments(call)))
        if isinstance(result, Seen):
            return [result, *[None] * (len(call.outputs) - 1)]
        if result is not None:
            return [*result]
    return builder.call(call, seen)


def _arguments(call: Call) -> dict[str, Any]:
    """Return the arguments by name."""
    given: dict[str, Any] = {}
    schema = call.target._schema  # pyright: ignore[reportPrivateUsage]
    for index, argument in enumerate(schema.arguments):
        if index < len(call.args):
            given[argument.name] = call.args[index]
        else:
            given[argument.name] = call.kwargs.get(argument.name, argument.default_value)
    return given
