"""The files in C and for build systems, with a library's own names put in."""

import math
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from onebyone.compiler.library.facts import TensorFacts
from onebyone.compiler.library.plan import LibraryPlan

SOURCES = Path(__file__).with_name("c")

RUNTIME = ("runtime.c", "processor.h", "weights.h", "workers.h")
"""What is compiled with machine code, beside the header and tables."""

ABI = 1
"""`OBO_ABI_VERSION` of `c/network.h`."""

MOST_DEVIATION = {"fp32": 1e-3, "bf16": 0.2}
"""Relative RMS from PyTorch in float64 beyond which a library is not believed."""


def source(plan: LibraryPlan, name: str) -> str:
    """Return one of the files, for a library."""
    return with_names(plan, (SOURCES / name).read_text())


def with_names(plan: LibraryPlan, text: str) -> str:
    """Put a library's names in: functions begin with its name, and so do macros, in capitals."""
    where = "${CMAKE_CURRENT_SOURCE_DIR}", "${_folder}"
    places = ["" if plan.embed else f"{folder}/{plan.name}.weights" for folder in where]
    facts = {
        "NAME": plan.name,
        "TITLE": f"The network {plan.name}, compiled by OneByOne {version('onebyone')}",
        "TARGETS": ", ".join(one.target.name for one in plan.targets),
        "ABI": ABI,
        "BATCH": plan.batch,
        **_example_facts(plan),
        "MOST_DEVIATION": most_deviation(plan),
        "WEIGHTS_IN_CMAKE": places[0],
        "WEIGHTS_IN_CONFIG": places[1],
    }
    for name, value in facts.items():
        text = text.replace(f"@{name}@", str(value))
    text = text.replace('"network.h"', f'"{plan.name}.h"').replace('"obo_: ', f'"{plan.name}: ')
    return text.replace("OBO_", f"{plan.name.upper()}_").replace("obo_", f"{plan.name}_")


def most_deviation(plan: LibraryPlan) -> float:
    """Return how far the results of a library may be from PyTorch's."""
    return MOST_DEVIATION["bf16" if plan.targets[0].target.bf16 else "fp32"]


def version_script(plan: LibraryPlan) -> str:
    """Return which names a linker shows, and the version that they carry."""
    return f"{plan.name.upper()}_{ABI} {{ global: {plan.name}_*; local: *; }};\n"


def _example_facts(plan: LibraryPlan) -> dict[str, object]:
    """Return what `example.c` has for each input and output."""
    names = {
        kind: [f"{kind}{index}" for index, _ in enumerate(tensors)]
        for kind, tensors in (("input", plan.inputs), ("output", plan.outputs))
    }
    reads = (
        f'need((file = fopen(arguments[{2 + index}], "rb")) && '
        f'fread({name}, sizeof {name}, 1, file) == 1,\n         "cannot read {name}");\n'
        "    fclose(file);"
        for index, name in enumerate(names["input"])
    )
    return {
        "FILES": " ".join(name.upper() for name in names["input"]),
        "ARGUMENTS": 2 + len(plan.inputs),
        "READ_INPUTS": "\n    ".join(reads),
        "INPUT_NAMES": ", ".join(names["input"]),
        "OUTPUT_NAMES": ", ".join(names["output"]),
        "INPUT_BUFFERS": _buffers(names["input"], plan.inputs),
        "OUTPUT_BUFFERS": _buffers(names["output"], plan.outputs),
    }


def _buffers(names: Sequence[str], tensors: Sequence[TensorFacts]) -> str:
    sizes = (math.prod(one.shape) for one in tensors)
    return ", ".join(f"{name}[{size}]" for name, size in zip(names, sizes, strict=True))
