"""Engines by name: ours, and the peers that are asked for."""

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from onebyone.bench.engine import Engine
from onebyone.bench.onnx_export import OnnxExport
from onebyone.bench.ours import ENGINE
from onebyone.bench.peers import DEFAULT_PEERS, PEERS
from onebyone.errors import UnknownNameError, did_you_mean

OURS = ENGINE.name

ALL = "all"
"""What one says for all peers."""


def find_engines(peers: Iterable[str] = DEFAULT_PEERS) -> list[Engine]:
    """Return our engine and the named peers; those that read ONNX share one export.

    Raises:
        UnknownNameError: If there is no peer of a name; says which there are.
    """
    names = check_peers(peers)
    export = OnnxExport()
    return [ENGINE, *(_peer(name).engine(export) for name in names)]


def find_engine(name: str) -> Engine:
    """Return one engine, ours or a peer; raises as `find_engines`."""
    return ENGINE if name == OURS else find_engines([name])[1]


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
