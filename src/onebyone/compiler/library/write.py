"""From a plan to a folder: compiled, linked, tried, and only then put in its place."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from onebyone.compiler.library.parts import Parts
from onebyone.compiler.library.plan import LibraryPlan
from onebyone.compiler.library.sources import most_deviation, source, version_script
from onebyone.compiler.library.toolchain import Toolchain, find_toolchain
from onebyone.compiler.library.trial import Golden, Results, first_images, golden, try_targets
from onebyone.errors import ModelError
from onebyone.files import replacing_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A library that was written.

    Attributes:
        out: Its folder.
        plan: What it has.
        code_bytes: Of the shared library, without weights that lie inside.
        weights_bytes: Of the weights.
        tried: Targets that were run here before the folder was put in its place.
        deviation: Relative root mean square of what they give from what PyTorch gives in float64,
            the largest; None if none could be run here.
    """

    out: Path
    plan: LibraryPlan = field(repr=False)
    code_bytes: int
    weights_bytes: int
    tried: tuple[str, ...]
    deviation: float | None


@dataclass(frozen=True, slots=True)
class Exact:
    """What gives the bits that a target must give.

    Args:
        target: The target.
        run: From a number of images and inputs to outputs, in the plan's order.
    """

    target: str
    run: Callable[[int, Sequence[Tensor]], Sequence[Tensor]]


def write_library(
    plan: LibraryPlan,
    out: str | Path,
    *,
    cc: str | None = None,
    exact: Exact | None = None,
) -> Library:
    """Write a library; what was in its folder is replaced if it was one.

    Args:
        plan: What it has.
        out: The folder.
        cc: C compiler; by default the system's.
        exact: Who tells what one of the targets must give, bit by bit.

    Raises:
        CompileError: If there is no C compiler, or it or LLVM refuses.
        ModelError: If the folder cannot be written, or the library gives something else than the
            network.
    """
    out = Path(out)
    toolchain = find_toolchain(plan.architecture, cc)
    parts = Parts.of(plan)
    try:
        with replacing_folder(out, others_in=_others_in) as folder:
            _build(parts, toolchain, folder)
            _write_sources(plan, folder)
            found = golden(plan)
            found.write(folder / "selftest")
            tried = try_targets(plan, folder, found)
            _check(plan, tried, found, exact)
            code = (folder / f"lib{plan.name}.so").stat().st_size
    except OSError as error:
        raise ModelError(f"cannot write {out} ({error.strerror})") from error
    return Library(
        out=out,
        plan=plan,
        code_bytes=code - (len(parts.weights) if plan.embed else 0),
        weights_bytes=len(parts.weights),
        tried=tuple(tried),
        deviation=max(
            (found.deviation_of(one[plan.batch]) for one in tried.values()), default=None
        ),
    )


def _build(parts: Parts, toolchain: Toolchain, folder: Path) -> None:
    """Compile and link in a folder that is gone afterwards; only what is made of it stays."""
    name = parts.plan.name
    with TemporaryDirectory(dir=folder) as kept:
        work = Path(kept)
        objects = parts.write(work)
        (work / "version").write_text(version_script(parts.plan))
        toolchain.compile(work, "runtime.c", "runtime.o")
        toolchain.link(work, ["runtime.o", *objects], f"lib{name}.so", "version")
        toolchain.archive(work, ["runtime.o", *objects], f"lib{name}.a")
        for made in (f"{name}.h", f"lib{name}.so", f"lib{name}.a"):
            (work / made).rename(folder / made)
    if not parts.plan.embed:
        (folder / f"{name}.weights").write_bytes(parts.weights)


def _write_sources(plan: LibraryPlan, folder: Path) -> None:
    (folder / "selftest").mkdir()
    for name, wanted in (
        ("example.c", "example.c"),
        ("CMakeLists.txt", "CMakeLists.txt"),
        ("Config.cmake", f"{plan.name}Config.cmake"),
        ("network.pc", f"{plan.name}.pc"),
        ("selftest.c", "selftest/selftest.c"),
    ):
        (folder / wanted).write_text(source(plan, name))


def _check(
    plan: LibraryPlan, tried: Mapping[str, Results], given: Golden, exact: Exact | None
) -> None:
    for target, results in tried.items():
        deviation = given.deviation_of(results[plan.batch])
        if not deviation <= most_deviation(plan):
            raise ModelError(
                f"the library's code for {target} gives something else than the network (relative "
                f"RMS {deviation:.1e}); nothing was written"
            )
        _check_images(plan, target, results)
    if exact is None or exact.target not in tried:
        return
    for images in plan.batches:
        wanted = exact.run(images, first_images(images, plan.inputs, given.more))
        if not all(map(torch.equal, tried[exact.target][images], wanted)):
            raise ModelError(
                "the library gives other bits than the compiled network: its weights, or the "
                "choices that were made for it, have changed since; compile the network again"
            )


def _check_images(plan: LibraryPlan, target: str, results: Results) -> None:
    """Check that images have the same bits with any others beside them."""
    most = results[max(plan.tried)]
    for images in plan.tried:
        if not all(map(torch.equal, results[images], first_images(images, plan.outputs, most))):
            raise ModelError(
                f"the library's code for {target} gives other bits for {images} images than for "
                "the same among others; nothing was written"
            )


def _others_in(folder: Path) -> list[str]:
    """Return what is in a folder besides one library of ours."""
    present = {path.name for path in folder.iterdir()}
    names = {path.stem for path in folder.glob("*.pc")}
    name = names.pop() if len(names) == 1 else ""
    ours = {f"{name}{end}" for end in (".h", ".weights", ".pc", "Config.cmake")}
    ours |= {f"lib{name}.so", f"lib{name}.a", "CMakeLists.txt", "example.c", "selftest"}
    return sorted(present - ours if name else present)
