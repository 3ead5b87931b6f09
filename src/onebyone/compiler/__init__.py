"""The compiler: from a network to one native function for this CPU.

capture -> rewrites -> split -> plan -> emit -> jit -> runtime
"""

from onebyone.compiler.compile import compile_captured, compile_model
from onebyone.compiler.model import CompiledModel, Fallback
from onebyone.compiler.profile import Profile
from onebyone.compiler.target import TARGETS, Target, find_target, host_target, usable_cores

__all__ = [
    "TARGETS",
    "CompiledModel",
    "Fallback",
    "Profile",
    "Target",
    "compile_captured",
    "compile_model",
    "find_target",
    "host_target",
    "usable_cores",
]
