"""What differs from library to library, written in C: `tables.h`, which `c/runtime.c` includes."""

from collections.abc import Iterable, Sequence

from onebyone.compiler.abi import INPUT_WORDS, BaseWord, ContextWord
from onebyone.compiler.library.facts import TensorFacts
from onebyone.compiler.library.plan import LibraryPlan, TargetPlan

EMBEDDED_FILE = "embedded.weights"


def symbol_prefix(plan: LibraryPlan, one: TargetPlan) -> str:
    """Return what the machine code's names begin with."""
    return f"{plan.name}_{one.symbol}_"


def tables(plan: LibraryPlan, identity: bytes) -> str:
    """Return the text of `tables.h`, before names are put in."""
    return "\n".join(
        [
            *_interface(),
            f"#define WEIGHTS_IDENTITY {_braces(identity)}",
            *_embedded(plan),
            *_tensors("input", plan.inputs),
            *_tensors("output", plan.outputs),
            *_facts(plan),
            *(line for one in plan.targets for line in _programs(plan, one)),
            *_targets(plan),
            "",
        ]
    )


def _interface() -> list[str]:
    """Write the words that machine code and the runtime share."""
    numbers = {
        **{f"CONTEXT_{word.name}": int(word) for word in ContextWord},
        "CONTEXT_WORDS": len(ContextWord),
        **{name: int(BaseWord[name]) for name in ("ARENA", "CONSTANTS", "SCRATCH", "FIRST_TENSOR")},
        "INPUT_WORDS": INPUT_WORDS,
    }
    return [f"#define {name} {value}" for name, value in numbers.items()]


def _embedded(plan: LibraryPlan) -> list[str]:
    if not plan.embed:
        return ["#define EMBEDDED NULL", "#define EMBEDDED_BYTES 0"]
    start, end = f"{plan.name}_embedded_weights", f"{plan.name}_embedded_end"
    hidden = '__attribute__((visibility("hidden")))'
    return [
        '__asm__(".section .rodata\\n.balign 4096\\n"',
        f'        ".hidden {start}\\n.globl {start}\\n{start}:\\n"',
        f'        ".incbin \\"{EMBEDDED_FILE}\\"\\n"',
        f'        ".hidden {end}\\n.globl {end}\\n{end}:\\n"',
        '        ".byte 0\\n.previous");',
        *(f"extern const char {label}[] {hidden};" for label in (start, end)),
        f"#define EMBEDDED {start}",
        f"#define EMBEDDED_BYTES ((size_t)({end} - {start}))",
    ]


def _tensors(kind: str, tensors: Sequence[TensorFacts]) -> list[str]:
    values = (
        [
            _text(one.name),
            len(one.shape),
            _braces(one.shape),
            _braces(one.strides),
            one.per_image,
        ]
        for one in tensors
    )
    rows = (f"    {_braces(row)}," for row in values)
    slots = [one.slot for one in tensors]
    return [
        f"#define {kind.upper()}_COUNT {len(tensors)}",
        f"static const obo_tensor {kind}_tensors[] = {{",
        *rows,
        "};",
        f"static const int {kind}_slots[] = {_braces(slots)};",
    ]


def _facts(plan: LibraryPlan) -> list[str]:
    about = plan.about
    lists = {
        "batches": ("int", plan.batches),
        "mean": ("float", [_float(one) for one in about.mean]),
        "deviation": ("float", [_float(one) for one in about.deviation]),
        "classes": ("char *const", [_text(one) for one in about.classes]),
        "target_names": ("char *const", [_text(one.target.name) for one in plan.targets]),
    }
    lines = [
        f"static const {kind} {name}[] = {_braces(values)};"
        for name, (kind, values) in lists.items()
        if values
    ]
    values = {
        "name": _text(plan.name),
        "batch": plan.batch,
        "any_batch": int(plan.any_batch),
        "batch_count": len(plan.batches),
        "batches": "batches",
        "channels": len(about.mean),
        "mean": "mean" if about.mean else "NULL",
        "deviation": "deviation" if about.deviation else "NULL",
        "input_count": len(plan.inputs),
        "output_count": len(plan.outputs),
        "class_count": len(about.classes),
        "target_count": len(plan.targets),
        "inputs": "input_tensors",
        "outputs": "output_tensors",
        "classes": "classes" if about.classes else "NULL",
        "targets": "target_names",
    }
    fields = (f"    .{name} = {value}," for name, value in values.items())
    return [*lines, "static const obo_facts facts = {", *fields, "};"]


def _programs(plan: LibraryPlan, one: TargetPlan) -> list[str]:
    prefix = symbol_prefix(plan, one)
    hidden = '__attribute__((visibility("hidden")))'
    rows = (
        f"    {_braces((images, len(program.groups), 4 * program.arena_size))},"
        for images, program in zip(reversed(plan.batches), one.plans, strict=True)
    )
    return [
        f"void {prefix}run(int64_t *words, int64_t thread) {hidden};",
        f"void {prefix}prepare(int64_t *words) {hidden};",
        f"static const struct program {one.symbol}_programs[] = {{",
        *rows,
        "};",
    ]


def _targets(plan: LibraryPlan) -> list[str]:
    rows = (f"    {_braces(_target(plan, one))}," for one in plan.targets)
    return [
        f"#define TARGET_COUNT {len(plan.targets)}",
        "static const struct target targets[] = {",
        *rows,
        "};",
    ]


def _target(plan: LibraryPlan, one: TargetPlan) -> list[object]:
    """Return the fields of a `struct target`."""
    prefix = symbol_prefix(plan, one)
    functions = f"{prefix}run", f"{prefix}prepare"
    sizes = one.constant_bytes, one.scratch_bytes, len(one.plans)
    name, needs = _text(one.target.name), _needs(plan, one)
    return [name, needs, *functions, *sizes, f"{one.symbol}_programs"]


def _needs(plan: LibraryPlan, one: TargetPlan) -> str:
    features = sorted(name.upper() for name in one.target.needs)
    if plan.architecture == "aarch64":
        features.append("ASIMD")
    return " | ".join(features) or "0"


def _braces(values: Iterable[object]) -> str:
    return "{" + ", ".join(map(str, values)) + "}"


def _float(value: float) -> str:
    return f"{float(value)!r}f"


def _text(value: str) -> str:
    """Return a string of C; bytes that C could take for something else are written in octal."""
    plain = (
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in value.encode()
    )
    return '"' + "".join(plain) + '"'
