"""The engines that can be compared: one small adapter a file."""

from collections.abc import Iterable

from onebyone.bench.peers import eager, inductor, onnx_runtime, openvino_runtime, ours
from onebyone.bench.peers.engine import Engine, Runner
from onebyone.bench.peers.onnx_file import OnnxExport
from onebyone.errors import UnknownNameError, did_you_mean

OURS = "onebyone"
"""The engine that the others are compared with."""

PEERS = ("eager", "inductor", "onnxruntime", "openvino")
"""Names of the others."""

__all__ = ["OURS", "PEERS", "Engine", "OnnxExport", "Runner", "find_engines"]


def find_engines(peers: Iterable[str] = PEERS) -> list[Engine]:
    """Return our engine and the named peers; those that read ONNX share one export.

    Raises:
        UnknownNameError: If there is no peer of a name; says which there are.
    """
    export = OnnxExport()
    known = {
        "eager": Engine("eager", eager.build),
        "inductor": Engine("inductor", inductor.build),
        "onnxruntime": Engine("onnxruntime", onnx_runtime.builder(export)),
        "openvino": Engine("openvino", openvino_runtime.builder(export)),
    }
    engines = [Engine(OURS, ours.build, ours.remark)]
    for name in dict.fromkeys(peers):
        if name not in known:
            raise UnknownNameError(
                f"no engine {name!r} to compare with{did_you_mean(name, PEERS) or ';'} "
                f"there are {', '.join(PEERS)}"
            )
        engines.append(known[name])
    return engines
