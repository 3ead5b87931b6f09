"""Engines by name: ours, and the peers that are asked for."""

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from onebyone.bench.engine import Engine
from onebyone.bench.numerics import FP32, LARGEST_ERRORS
from onebyone.bench.onnx_export import OnnxExport
from onebyone.bench.ours import ENGINES, NAME
from onebyone.bench.peers import DEFAULT_PEERS, PEERS
from onebyone.errors import UnknownNameError, check_choice, did_you_mean

OURS = NAME

ALL = "all"
"""What one says for all peers."""


def find_engines(peers: Iterable[str] = DEFAULT_PEERS, numerics: str = FP32) -> list[Engine]:
    """Return our engine and the named peers; those that read ONNX share one export.

    Each is there in float32 and, if others are asked for and it has them, in these numerics too.

    Raises:
        UnknownNameError: If there is no peer of a name, or no such numerics; says which there are.
    """
    check_choice("numerics", numerics, LARGEST_ERRORS)
    export = OnnxExport()
    engines = [*ENGINES]
    for name in check_peers(peers):
        engines += _peer(name).engines(export)
    return [engine for engine in engines if engine.numerics in (FP32, numerics)]


def find_engine(name: str, numerics: str = FP32) -> Engine:
    """Return one engine, ours or a peer, with some numerics.

    Raises:
        UnknownNameError: If there is none; says which there are.
    """
    found = find_engines([] if name == OURS else [name], numerics)
    for engine in found:
        if (engine.name, engine.numerics) == (name, numerics):
            return engine
    raise UnknownNameError(f"the engine {name!r} has no numerics {numerics!r}; it has {FP32!r}")


def check_peers(peers: Iterable[str]) -> list[str]:
    """Return the names, each once; `ALL` stands for those of all peers.

    Raises:
        UnknownNameError: If there is no peer of a name; says which there are.
    """
    names = list(dict.fromkeys(peers))
    if ALL in names:
        return list(PEERS)
    for name in names:
        if name not in PEERS:
            raise UnknownNameError(
                f"no engine {name!r} to compare with{did_you_mean(name, PEERS) or ';'} "
                f"there are {', '.join(PEERS)}"
            )
    return names


def peer_packages() -> tuple[str, ...]:
    """Return the packages that the peers come in, beside torch."""
    return tuple(filter(None, (_peer(name).PACKAGE for name in PEERS)))


def peer_extras() -> dict[str, str]:
    """Return which of our extras brings a package, for all packages that peers come in or need."""
    extras: dict[str, str] = {}
    for name in (*DEFAULT_PEERS, *PEERS):
        peer = _peer(name)
        extra = "bench" if name in DEFAULT_PEERS else name
        for package in filter(None, (peer.PACKAGE, *getattr(peer, "NEEDS", ()))):
            extras.setdefault(package, extra)
    return extras


def _peer(name: str) -> Any:
    return import_module(f"onebyone.bench.peers.{name}")
