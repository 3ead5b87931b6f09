"""The compiler: from a network to one native function for this CPU.

capture -> rewrites -> split -> plan -> emit -> jit -> runtime
"""

from typing import TYPE_CHECKING

from onebyone.lazy import offer

if TYPE_CHECKING:
    from onebyone.compiler.batched import BatchedModel
    from onebyone.compiler.compile import compile_captured, compile_model, plan_model, tune_model
    from onebyone.compiler.door import compile_network
    from onebyone.compiler.fallback import Fallback, describe_fallbacks
    from onebyone.compiler.model import CompiledModel
    from onebyone.compiler.options import CompileOptions
    from onebyone.compiler.profile import Profile
    from onebyone.compiler.saved import load_compiled
    from onebyone.compiler.shaped import ShapedModel
    from onebyone.compiler.target import TARGETS, Target, find_target, host_target
    from onebyone.compiler.threads import usable_cores

__all__ = [
    "TARGETS",
    "BatchedModel",
    "CompileOptions",
    "CompiledModel",
    "Fallback",
    "Profile",
    "ShapedModel",
    "Target",
    "compile_captured",
    "compile_model",
    "compile_network",
    "describe_fallbacks",
    "find_target",
    "host_target",
    "load_compiled",
    "plan_model",
    "tune_model",
    "usable_cores",
]

# Late, because the road to native code loads LLVM, and what is beside it does not need that.
__getattr__, __dir__ = offer(
    __name__,
    {
        "onebyone.compiler.batched": "BatchedModel",
        "onebyone.compiler.compile": "compile_captured compile_model plan_model tune_model",
        "onebyone.compiler.door": "compile_network",
        "onebyone.compiler.fallback": "Fallback describe_fallbacks",
        "onebyone.compiler.model": "CompiledModel",
        "onebyone.compiler.options": "CompileOptions",
        "onebyone.compiler.profile": "Profile",
        "onebyone.compiler.saved": "load_compiled",
        "onebyone.compiler.shaped": "ShapedModel",
        "onebyone.compiler.target": "TARGETS Target find_target host_target",
        "onebyone.compiler.threads": "usable_cores",
    },
)
