"""A compiled network as a file: machine code, packed weights, and how it is called.

The file is built like an entry of the cache. Whoever loads one runs the machine code in it, so it
is to be trusted like a library or a program.
"""

# pyright: reportImportCycles=false
# `save` imports the file's format when it is called.

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import torch
from torch.utils._pytree import treespec_dumps, treespec_loads

from onebyone.compiler.batched import BatchedModel
from onebyone.compiler.build import describe, load_built
from onebyone.compiler.cache import read_parts, write_parts
from onebyone.compiler.fallback import describe_fallbacks
from onebyone.compiler.fates import LayerFate, LayerFates
from onebyone.compiler.model import Batch, CompiledModel, NativeStep, Saved
from onebyone.compiler.options import CompileOptions
from onebyone.compiler.runtime.native import Memory, NativeFunction
from onebyone.compiler.shaped import ShapedModel
from onebyone.compiler.target import can_run, find_target, host_target
from onebyone.errors import CompileError, OneByOneError
from onebyone.files import check_file, replacing
from onebyone.graph import Captured, Graph, Input, Node, Pair, Ref, View
from onebyone.graph.calls import Value
from onebyone.graph.capture import CONSTANT, SLOT
from onebyone.store import PAGE, read_head

KEY = "onebyone compiled network, version 1"

Loaded = CompiledModel | BatchedModel | ShapedModel

PLAIN = (bool, int, float, str, type(None))
"""What may stand among arguments and results beside tensors."""


Several = Mapping[Pair | None, Mapping[int, CompiledModel]]
"""A network by sizes of images, the largest first, or None for its example's; then by numbers."""


def save(several: Several, path: Path, batch: Batch) -> Saved:
    """Write a network for one or several numbers and sizes of images to a file.

    Raises:
        CompileError: If operators run in PyTorch, what it is called with or returns has no place in
            a file, or the file cannot be written.
    """
    # As its programs were made.
    pairs, sizes = list(several), sorted(next(iter(several.values())), reverse=True)
    models = [several[pair][images] for pair in pairs for images in sizes]
    whole = models[0]
    if whole.fallbacks:
        raise CompileError(
            "only networks that are fully native can be saved; "
            f"{describe_fallbacks(whole.fallbacks)}"
        )
    steps = list(map(_only_step, models))
    binary = steps[0].function.memory.binary
    description = describe(
        [one.account for one in steps], [one.function.program for one in steps], binary.scratch_size
    ) | {
        "target": whole.target.name,
        "options": asdict(whole.options),
        "shapes": pairs,
        "sizes": sizes,
        "batch": batch,
        "takes": [one.takes for one in steps],
        "gives": [one.gives for one in steps],
        "captured": [_captured_as_json(model.captured) for model in models],
        "fates": [asdict(several[pair][sizes[0]].fates()) for pair in pairs],
    }
    summary = {"target": whole.target.name, "numerics": whole.options.numerics}
    try:
        with replacing(path) as temporary, temporary.open("r+b") as file:
            write_parts(
                file, KEY, description, binary.constants, lambda: binary.code, summary=summary
            )
            file.flush()
            digest = _head_digest(file)
    except OSError as error:
        raise CompileError(f"{path} cannot be written ({error.strerror})") from error
    return Saved(path.absolute(), digest)


def load_compiled(path: str | Path, *, threads: int | None = None) -> Loaded:
    """Load a network that `save` wrote; neither the network nor a compiler is needed.

    The file has machine code, which a call runs: load only what you would run as a program.

    Args:
        path: Of the file.
        threads: Threads to run on; what was asked for at compilation if None.

    Raises:
        CompileError: If there is no such file, if it is damaged or of another version, or if it is
            for another processor.
        ShapeError: If `threads` is no number of threads.
    """
    return _load(Path(path), threads, None)


def by_name(saved: Saved | None) -> tuple[Any, ...]:
    """Return how a pickle loads a network that was saved.

    Raises:
        CompileError: If it was not.
    """
    if saved is None:
        raise CompileError(
            "a compiled network is pickled as the name of its file, and has none: call "
            "`.save(path)` first"
        )
    return _load_same, (str(saved.path), saved.digest)


def _load_same(path: str, digest: str) -> Loaded:
    """Load the network that was pickled."""
    return _load(Path(path), None, digest)


def _load(path: Path, threads: int | None, digest: str | None) -> Loaded:
    wanted = "a compiled network (a file that `.save` wrote)"
    check_file(path, wanted, CompileError)
    try:
        with path.open("rb", buffering=0) as file:
            head = read_head(file)
            if head["key"] != KEY:
                raise CompileError(
                    f"{path} is {head['key']!r}, and this version reads {KEY!r}: compile the "
                    "network and save it again"
                )
            found = _head_digest(file)
            if digest not in (None, found):
                raise CompileError(
                    f"{path} has another network than the one that was pickled; save and pickle "
                    "it again"
                )
            target = find_target(head["summary"]["target"])
            if not can_run(target):
                raise CompileError(
                    f"{path} is for the target {target.name!r}, which this processor cannot run; "
                    f"compile it here, for {host_target().name!r}"
                )
            description, code, constants = read_parts(KEY, file)
        model = _model_of(description, code, constants, threads)
    except OneByOneError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CompileError(f"{path} is damaged, or not {wanted}: get it again") from error
    model.saved = Saved(path.absolute(), found)
    return model


def _model_of(
    description: dict[str, Any], code: bytes, constants: torch.Tensor, threads: int | None
) -> Loaded:
    asked = description["options"] | ({} if threads is None else {"threads": threads})
    options = CompileOptions.named(asked)
    target = find_target(description["target"])
    built = load_built(description, code, constants)
    memory = Memory(built.binary, options.thread_count)
    pairs, sizes = description["shapes"], description["sizes"]
    fates = list(map(_read_fates, description["fates"]))

    def program(number: int) -> CompiledModel:
        takes, gives = (tuple(description[name][number]) for name in ("takes", "gives"))
        function = NativeFunction(memory, number)
        return CompiledModel(
            _read_captured(description["captured"][number]),
            [NativeStep(function, takes, gives, built.accounts[number])],
            target=target,
            options=options,
            fates=fates[number // len(sizes)],
        )

    def of_size(place: int) -> CompiledModel | BatchedModel:
        models = {
            images: program(place * len(sizes) + number) for number, images in enumerate(sizes)
        }
        if description["batch"] == "one":
            return models[sizes[0]]
        return BatchedModel(models, is_any=description["batch"] == "any")

    if pairs == [None]:
        return of_size(0)
    return ShapedModel({(pair[0], pair[1]): of_size(place) for place, pair in enumerate(pairs)})


def _only_step(model: CompiledModel) -> NativeStep:
    steps = model.native_steps
    if len(steps) != 1:
        raise CompileError("a network that computes nothing cannot be saved")
    return steps[0]


def _head_digest(file: IO[bytes]) -> str:
    """Return a digest of the head, which has digests of all that follows."""
    return hashlib.sha256(os.pread(file.fileno(), PAGE, 0)).hexdigest()


def _captured_as_json(captured: Captured) -> dict[str, Any]:
    """Return how the network is called, as `json` can write it; the graph's inside stays behind."""
    graph = captured.graph
    inputs = [[node.name, list(node.shape)] for node in graph.inputs]
    try:
        specs = [treespec_dumps(captured.in_spec), treespec_dumps(captured.out_spec)]
    except (NotImplementedError, TypeError) as error:
        raise CompileError(
            f"the nesting of its arguments or results cannot be saved ({error}); return tensors, "
            "tuples, lists and dicts"
        ) from error
    return {
        "specs": specs,
        "inputs": inputs,
        "outputs": [
            [
                ref.name,
                ref.view.value,
                ref.is_contiguous,
                list(graph[ref.name].shape),
                _reached(graph, ref),
            ]
            for ref in graph.outputs
        ],
        "in_leaves": [_leaf_as_json(leaf) for leaf in captured.in_leaves],
        "out_leaves": [_leaf_as_json(leaf) for leaf in captured.out_leaves],
        "written": list(captured.written),
    }


def _read_captured(facts: Mapping[str, Any]) -> Captured:
    inputs = [
        Input(name=name, shape=tuple(shape), index=index)
        for index, (name, shape) in enumerate(facts["inputs"])
    ]
    given = {node.name for node in inputs}
    # Of what is between, only is told which inputs an output depends on.
    results = {
        name: Node(name=name, shape=tuple(shape), inputs=tuple(reached))
        for name, _, _, shape, reached in facts["outputs"]
        if name not in given
    }
    refs = [Ref(name, View(view), flat) for name, view, flat, _, _ in facts["outputs"]]
    in_spec, out_spec = map(treespec_loads, facts["specs"])
    return Captured(
        Graph.of([*inputs, *results.values()], refs),
        in_spec,
        out_spec,
        in_leaves=tuple(map(_read_leaf, facts["in_leaves"])),
        out_leaves=tuple(map(_read_leaf, facts["out_leaves"])),
        written=tuple(facts["written"]),
    )


def _reached(graph: Graph, ref: Ref) -> list[str]:
    """Return the inputs that an output depends on."""
    found, left = dict[str, None](), [ref.name]
    seen: set[str] = set()
    while left:
        node = graph[left.pop()]
        if isinstance(node, Input):
            found[node.name] = None
        elif node.name not in seen:
            seen.add(node.name)
            left += node.inputs
    return list(found)


def _leaf_as_json(leaf: Any) -> Any:
    if isinstance(leaf, Value):
        return [
            "tensor",
            list(leaf.shape),
            str(leaf.dtype).removeprefix("torch."),
            leaf.is_contiguous,
        ]
    for mark in (CONSTANT, SLOT):
        if leaf is mark:
            return [repr(mark)]
    if type(leaf) in PLAIN:
        return ["plain", leaf]
    raise CompileError(
        f"it is called with or returns {leaf!r:.60}, which has no place in a file; tensors, "
        "numbers and words have"
    )


def _read_leaf(facts: Any) -> Any:
    match facts:
        case ["tensor", shape, dtype, flat]:
            return Value(tuple(shape), getattr(torch, dtype), flat)
        case ["plain", value]:
            return value
        case [name]:
            return {repr(mark): mark for mark in (CONSTANT, SLOT)}[name]
        case _:
            raise ValueError(f"no leaf: {json.dumps(facts)}")


def _read_fates(facts: Mapping[str, Any]) -> LayerFates:
    rows = tuple(_read_fate(row) for row in facts["rows"])
    helpers = tuple((kind, count) for kind, count in facts["helpers"])
    return LayerFates(rows, facts["operations"], helpers)


def _read_fate(facts: Mapping[str, Any]) -> LayerFate:
    known: dict[str, Any] = {**facts, "operations": tuple(facts["operations"])}
    return LayerFate(**known)
