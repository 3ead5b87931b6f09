"""Our own compiler, on the same terms as its peers."""

from torch import Tensor, nn

from onebyone.bench.engine import Engine, Runner


def build(model: nn.Module, example: Tensor, threads: int) -> Runner:
    """Compile a network with OneByOne."""
    from onebyone.compiler import compile_model  # late: it loads LLVM

    return compile_model(model, example, threads=threads)


def remark(runner: Runner) -> str:
    """Say which operators have no native code, if there are any."""
    from onebyone.compiler import CompiledModel, describe_fallbacks

    fallbacks = runner.fallbacks if isinstance(runner, CompiledModel) else ()
    return describe_fallbacks(fallbacks) if fallbacks else ""


ENGINE = Engine("onebyone", build, remark)
"""The engine that the others are compared with."""
