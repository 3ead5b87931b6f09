"""Our own compiler, on the same terms as its peers."""

from functools import partial

from torch import Tensor, nn

from onebyone.bench.engine import Engine, Runner
from onebyone.bench.numerics import LARGEST_ERRORS

NAME = "onebyone"


def build(model: nn.Module, example: Tensor, threads: int, numerics: str) -> Runner:
    """Compile a network with OneByOne."""
    from onebyone.compiler import compile_model  # late: it loads LLVM

    return compile_model(model, example, threads=threads, numerics=numerics)


def remark(runner: Runner) -> str:
    """Say which operators have no native code, if there are any."""
    from onebyone.compiler import CompiledModel, describe_fallbacks

    fallbacks = runner.fallbacks if isinstance(runner, CompiledModel) else ()
    return describe_fallbacks(fallbacks) if fallbacks else ""


ENGINES = tuple(
    Engine(NAME, partial(build, numerics=numerics), remark, numerics) for numerics in LARGEST_ERRORS
)
"""The engine that the others are compared with, in all numerics that there are."""
