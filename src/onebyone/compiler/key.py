"""What a compiled network depends on, as a name: what has the same name is the same."""

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from onebyone.compiler.jit import llvm_version
from onebyone.graph import Graph, Node

SLICES = 16
"""Into how many parts weights are cut for hashing: enough to keep both threads busy to the end."""

SOURCES = (Path(__file__).parent, Path(__file__).parents[1] / "graph")
"""Folders of the code that decides what is generated."""


def graphs_key(graphs: Sequence[Graph], *facts: str) -> str:
    """Return what compiled graphs depend on, as a name: nodes, weights and further facts.

    A tensor that several of them have is read once.
    """
    digest = hashlib.sha256(json.dumps([compiler_version(), *facts]).encode())
    held = {id(tensor): tensor for graph in graphs for node in graph for tensor in node.tensors()}
    tensors, digests = list(held.values()), dict[int, bytes]()
    # One at a time, small tensors would cost more to hand to a thread than to hash.
    slices = [tensors[first::SLICES] for first in range(SLICES)]
    with ThreadPoolExecutor(max_workers=2) as threads:  # hashing leaves Python's lock free
        for part in threads.map(_tensor_digests, slices):
            digests |= part
    for graph in graphs:
        for node in graph:
            digest.update(_describe(node).encode())
            digest.update(b"".join(digests[id(tensor)] for tensor in node.tensors()))
        digest.update(repr(graph.outputs).encode())
    return digest.hexdigest()


@functools.cache
def compiler_version() -> str:
    """Return a digest of what generates code: our own source, LLVM, and PyTorch, which packs."""
    facts = [llvm_version(), torch.__version__, *map(source_digest, SOURCES)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def source_digest(folder: Path) -> str:
    """Return a digest of the Python files in a folder: what they are called, and what they say."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        text = path.read_bytes()
        digest.update(f"{path.relative_to(folder)} {len(text)}\n".encode() + text)
    return digest.hexdigest()


def _values(node: Node) -> list[Any]:
    return [getattr(node, one.name) for one in fields(node)]


def _tensor_digests(tensors: Iterable[Tensor]) -> dict[int, bytes]:
    return {id(tensor): tensor_digest(tensor) for tensor in tensors}


def tensor_digest(tensor: Tensor) -> bytes:
    """Return a digest of a tensor's type, shape and numbers, in whatever order they lie."""
    plain = tensor.detach().contiguous()
    facts = f"{plain.dtype} {tuple(plain.shape)}"
    digest = hashlib.sha256(facts.encode())
    if plain.numel():
        digest.update(plain.view(-1).view(torch.uint8).numpy().data)
    return digest.digest()


def _describe(node: Node) -> str:
    def plain(value: Any) -> str:
        if isinstance(value, Tensor):
            return "tensor"
        if isinstance(value, Mapping):
            value = [part for pair in value.items() for part in pair]
        if isinstance(value, (list, tuple)):
            return f"[{' '.join(map(plain, value))}]"
        return str(value) if callable(value) else repr(value)

    shown = (plain(value) for value in _values(node))
    return f"{node.kind} {' '.join(shown)}\n"
