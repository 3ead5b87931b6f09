"""Our own compiler, on the same terms as its peers."""

from importlib import import_module

from torch import Tensor, nn

from onebyone.bench.peers.engine import Runner


def build(model: nn.Module, example: Tensor, threads: int) -> Runner:
    """Compile a network with OneByOne."""
    compiler = import_module("onebyone.compiler")  # late: it loads LLVM
    return compiler.compile_model(model, example, threads=threads)
