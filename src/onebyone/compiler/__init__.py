"""The compiler: from a network to one native function for this CPU.

capture -> rewrites -> split -> plan -> emit -> jit -> runtime
"""

from onebyone.compiler.compile import compile_captured, compile_model
from onebyone.compiler.door import compile_network
from onebyone.compiler.fallback import Fallback, describe_fallbacks
from onebyone.compiler.model import CompiledModel
from onebyone.compiler.options import CompileOptions
from onebyone.compiler.profile import Profile
from onebyone.compiler.target import TARGETS, Target, find_target, host_target, usable_cores

__all__ = [
    "TARGETS",
    "CompileOptions",
    "CompiledModel",
    "Fallback",
    "Profile",
    "Target",
    "compile_captured",
    "compile_model",
    "compile_network",
    "describe_fallbacks",
    "find_target",
    "host_target",
    "usable_cores",
]
