"""What others than the cost model choose: checked, so that no choice can change a result."""

from collections.abc import Iterable, Mapping
from math import prod
from typing import cast, get_args

from onebyone.compiler.choose.bands import may_run_together
from onebyone.compiler.choose.choices import Choices
from onebyone.compiler.choose.filtering import winograds_for
from onebyone.compiler.choose.grouped import may_run_along_rows
from onebyone.compiler.choose.matrices import MATRIX_TILE
from onebyone.compiler.choose.units import Converted, Unit, unit_of
from onebyone.compiler.options import CompileOptions
from onebyone.compiler.target import Target
from onebyone.errors import CompileError, did_you_mean, located
from onebyone.graph import Convolution, Graph, Node

MOST_CHUNKS = 1 << 20
"""Threads count them in 32 bits, and no machine has a use for nearly as many."""


def check_choices(
    graph: Graph,
    target: Target,
    options: CompileOptions,
    choices: Mapping[str, Choices],
    chosen: Iterable[str],
) -> None:
    """Check what was chosen for some nodes, beside what the others do.

    Raises:
        CompileError: If a node cannot run so, with its name.
    """
    names = tuple(chosen)
    for name in names:
        with located(name):
            check_way(choices[name], target)
    for name in names:
        if name in graph.nodes:
            with located(name):
                _check_node(graph[name], target, options, choices[name])
                _check_band(graph, choices, name)


def check_names(chosen: Iterable[str], known: Iterable[str]) -> None:
    """Check that there is a node for each choice.

    Raises:
        CompileError: If there is none of a name.
    """
    known = set(known)
    for name in chosen:
        if name not in known:
            raise CompileError(
                f"there is nothing to choose for {name!r}{did_you_mean(name, known) or ';'} "
                "`plan.choices` has the names"
            )


def check_way(one: object, target: Target) -> None:
    """Check what does not depend on the node.

    Raises:
        CompileError: If no node can run so.
    """
    if not isinstance(one, Choices):
        raise CompileError(f"`Choices` were wanted, and {one!r} came")
    for pair in (one.parts, one.transform_parts):
        _check_pair(pair)
    counts = [*one.parts, *one.transform_parts, one.together, one.kernel_parts]
    counts += [one.tile.pixels, one.tile.vectors] if one.tile else []
    counts += [one.band.rows_at_once] if one.band else []
    if any(type(count) is not int or count < 1 for count in counts):
        raise CompileError(f"all counts must be whole numbers of at least 1; got {one}")
    if max(prod(one.parts), prod(one.transform_parts)) > MOST_CHUNKS:
        raise CompileError(f"a node may have {MOST_CHUNKS} chunks at most; got {one}")
    if one.transforms not in ("before", "inside"):
        raise CompileError(f"`transforms` (={one.transforms!r}) must be 'before' or 'inside'")
    for name, word in (("inner", one.inner), ("shared", one.shared)):
        if word not in ("channels", "pixels"):
            raise CompileError(f"`{name}` (={word!r}) must be 'channels' or 'pixels'")
    if one.converted not in get_args(Converted):
        raise CompileError(
            f"`converted` (={one.converted!r}) must be one of {', '.join(get_args(Converted))}"
        )
    if one.converted == "by panels" and one.band:
        raise CompileError(
            "weights of a band are not converted by panels: rows have none in common"
        )
    if one.unit not in get_args(Unit):
        raise CompileError(f"`unit` (={one.unit!r}) must be one of {', '.join(get_args(Unit))}")
    registers = one.tile.pixels * one.tile.vectors if one.tile else 0
    if one.unit != "matrix" and registers > target.registers:
        raise CompileError(
            f"a `tile` of {registers} registers was chosen, and {target.name} has "
            f"{target.registers}"
        )


def _check_pair(pair: object) -> None:
    if not (isinstance(pair, tuple) and len(cast("tuple[object, ...]", pair)) == 2):
        raise CompileError(f"parts (={pair!r}) must be a pair of counts")


def _check_node(node: Node, target: Target, options: CompileOptions, one: Choices) -> None:
    if node.shape[0] % one.together:
        raise CompileError(f"`together` (={one.together}) must divide {node.shape[0]} images")
    if isinstance(node, Convolution) and one.tile is None:
        raise CompileError("a convolution needs a `tile`")
    if one.kernel_parts > 1 and not (
        isinstance(node, Convolution)
        and node.kernel_size[0] % one.kernel_parts == 0
        and not (one.winograd or one.band or one.along_rows or node.is_depthwise)
        and one.converted != "by panels"
        and one.unit != "matrix"
        and one.inner == "pixels"
    ):
        raise CompileError(
            f"`kernel_parts` (={one.kernel_parts}) must divide the rows of a dense kernel, whose "
            "chunks go through pixels inside, without Winograd, bands, panels of halves or matrix "
            "tiles"
        )
    if one.unit != "vector" and not (
        isinstance(node, Convolution) and unit_of(node, target, options) == one.unit
    ):
        raise CompileError(
            f"the `unit` {one.unit!r} is not for this node, the target {target.name!r} and "
            f"`numerics` (={options.numerics!r})"
        )
    if one.along_rows and not (
        isinstance(node, Convolution)
        and may_run_along_rows(node, target)
        and one.unit in ("vector", "halves")
    ):
        raise CompileError("this node cannot run along rows")
    if one.unit == "matrix":
        _check_matrix(one)
    if one.winograd and not (
        isinstance(node, Convolution)
        and node.is_plain
        and one.winograd in winograds_for(node.kernel_size)
        and options.allows_winograd
    ):
        raise CompileError(f"Winograd {one.winograd} is not for this node and these `numerics`")


def _check_matrix(one: Choices) -> None:
    most, tile = MATRIX_TILE, one.tile
    is_larger = tile and (tile.pixels > most.pixels or tile.vectors > most.vectors)
    if one.winograd or is_larger:
        raise CompileError(
            f"matrix tiles are of at most {most.pixels} pixels and {most.vectors} vectors, and not "
            f"for Winograd; got {one}"
        )


def _check_band(graph: Graph, choices: Mapping[str, Choices], name: str) -> None:
    """Check that a node is in one band: else it would run twice, or never."""
    bands = {band for other in choices.values() if (band := other.band) and name in band.names}
    for band in bands:
        if not may_run_together(graph, band):
            raise CompileError(f"{', '.join(band.names)} cannot run by rows together")
        for other in band.names:
            if choices[other].band != band or choices[other].winograd or choices[other].along_rows:
                raise CompileError(
                    f"{other!r} is to run in another way than by rows with it; "
                    "choose the same `band` for all of its convolutions"
                )
