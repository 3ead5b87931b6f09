"""Engines by name: ours, and the peers that are asked for."""

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from onebyone.bench.engine import Engine
from onebyone.bench.onnx_export import OnnxExport
from onebyone.bench.ours import ENGINE
from onebyone.bench.peers import PEERS
from onebyone.errors import UnknownNameError, did_you_mean

OURS = ENGINE.name


def find_engines(peers: Iterable[str] = PEERS) -> list[Engine]:
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
    """Return the names, each once.

    Raises:
        UnknownNameError: If there is no peer of a name; says which there are.
    """
    names = list(dict.fromkeys(peers))
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


def _peer(name: str) -> Any:
    return import_module(f"onebyone.bench.peers.{name}")
