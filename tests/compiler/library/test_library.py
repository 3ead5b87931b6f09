"""Libraries without Python: they give the bits of the compiled network, and refuse what is wrong.

Programs in C beside this file, and those that are exported, are what runs here.
"""

import math
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import onebyone
from onebyone.compiler import TARGETS, compile_model
from onebyone.compiler.library.names import check_name, name_for
from onebyone.compiler.library.parts import Parts
from onebyone.compiler.library.plan import plan_library
from onebyone.compiler.library.sources import SOURCES
from onebyone.compiler.library.write import write_library
from onebyone.compiler.processor import this_processor
from onebyone.errors import CompileError, ModelError, NativeError, UnknownNameError
from onebyone.graph import capture
from onebyone.models import create_model
from tests.helpers.cross import COMPILER, EMULATOR
from tests.helpers.cross import missing as missing_for_aarch64
from tests.helpers.library import ABOUT, HERE, checked, need, small_network, small_plan
from tests.helpers.networks import randomize

CC = next(filter(shutil.which, ("cc", "gcc", "clang")), "")
pytestmark = pytest.mark.skipif(not CC, reason="no C compiler: apt-get install gcc libc6-dev")
BESIDE = Path(__file__).parent
SANITIZE = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover")
STRICT = ("-std=gnu99", "-Wall", "-Wextra", "-Werror", "-pthread")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A folder for all float32 targets that run here, in calls of any number of images."""
    return write_library(
        small_plan(HERE, batches=(1, 2, 3)), tmp_path_factory.mktemp("library") / "net"
    )


@pytest.fixture(scope="module")
def built(library, tmp_path_factory):
    """Programs that CMake has built from the folder."""
    need("cmake", "cmake")
    folder = tmp_path_factory.mktemp("build")
    checked("cmake", "-S", library.out, "-B", folder)
    checked("cmake", "--build", folder)
    return folder


def images(count=1):
    return torch.randn(count, 3, 18, 14)


@pytest.mark.parametrize("target", HERE)
@pytest.mark.parametrize("threads", [1, 3])
def test_python_and_the_library_give_the_same_bits(library, target, threads):
    x = images()
    wanted = compile_model(small_network(), x, target=TARGETS[target])(x)
    with onebyone.open_native(library.out, target=target, threads=threads) as network:
        assert network.target == target
        for given, one in zip(network(x.numpy()), wanted, strict=True):
            assert given.shape == one.shape
            assert given.strides == tuple(4 * step for step in one.stride())
            np.testing.assert_array_equal(given, one)


def test_several_images_are_the_images_one_by_one(library):
    x = images(5).numpy()
    with onebyone.open_native(library.out) as network:
        for all_at_once, *one_by_one in zip(
            network(x), *(network(x[i : i + 1]) for i in range(5)), strict=True
        ):
            np.testing.assert_array_equal(all_at_once, np.concatenate(one_by_one))


def test_a_batch_of_two_takes_any_even_number_of_images(tmp_path):
    write_library(small_plan(batch=2), tmp_path / "net")
    x = images(4)
    wanted = compile_model(small_network(), images(1), target=TARGETS[HERE[0]])
    with onebyone.open_native(tmp_path / "net") as network:
        for i, score in enumerate(network(x.numpy())[0]):
            np.testing.assert_array_equal(score, wanted(x[i : i + 1])[0][0])
        with pytest.raises(NativeError, match=r"of shape \(2, 3, 18, 14\), or several times"):
            network(x[:3].numpy())


def test_many_python_threads_at_once(library):
    inputs = [images().numpy() for _ in range(8)]
    with (
        onebyone.open_native(library.out) as network,
        ThreadPoolExecutor(max_workers=8) as threads,
    ):
        wanted = [network(x)[0] for x in inputs]
        for _ in range(5):
            for one, other in zip(threads.map(network, inputs), wanted, strict=True):
                np.testing.assert_array_equal(one[0], other)


def test_facts_are_told(library):
    with onebyone.open_native(library.out) as network:
        assert network.name == "net"
        assert network.targets == tuple(HERE)
        np.testing.assert_allclose(network.mean, ABOUT.mean, rtol=1e-7)
        np.testing.assert_allclose(network.deviation, ABOUT.deviation, rtol=1e-7)
        assert network.classes == ABOUT.classes
        assert [one.shape for one in network.inputs] == [(1, 3, 18, 14)]
        assert [one.shape for one in network.outputs] == [(1, 5), (1, 9, 7, 20)]


def test_inputs_that_do_not_fit_are_refused(library):
    x = images().numpy()
    network = onebyone.open_native(library.out)
    for wrong in (x.astype(np.float64), x[0], x[:, :2], x[:0]):
        with pytest.raises(NativeError, match="must be float32 of shape"):
            network(wrong)
    with pytest.raises(NativeError, match="reads 1 arrays"):
        network(x, x)
    network.close()
    with pytest.raises(NativeError, match="closed"):
        network(x)


def test_what_cannot_be_opened_is_told(library, tmp_path):
    with pytest.raises(NativeError, match="there are 0 files"):
        onebyone.open_native(tmp_path)
    with pytest.raises(NativeError, match="no target of that name"):
        onebyone.open_native(library.out, target="z80")
    with pytest.raises(NativeError, match="threads must be"):
        onebyone.open_native(library.out, threads=-1)(images().numpy())
    folder = shutil.copytree(library.out, tmp_path / "net")
    (folder / "net.weights").write_bytes((folder / "net.weights").read_bytes()[:5000])
    with pytest.raises(NativeError, match="damaged, cut off"):
        onebyone.open_native(folder)
    (folder / "net.weights").unlink()
    (folder / "net.weights").mkdir()
    with pytest.raises(NativeError, match="errno says why"):
        onebyone.open_native(folder)
    (folder / "libnet.so").unlink()  # the file itself is in use
    (folder / "libnet.so").write_bytes(b"no library")
    with pytest.raises(NativeError, match="is no library for this machine"):
        onebyone.open_native(folder)


def test_open_native_needs_no_torch(library):
    script = (
        "import sys, numpy, onebyone\n"
        f"network = onebyone.open_native({str(library.out)!r})\n"
        "network(numpy.zeros((1, 3, 18, 14), numpy.float32))\n"
        "assert 'torch' not in sys.modules"
    )
    checked(os.sys.executable, "-c", script)


def test_programs_that_cmake_builds(library, built):
    for name in ("selftest", "selftest_static"):
        told = checked(built / name, library.out / "net.weights", library.out / "selftest")
        assert re.findall(r"^(\S+) +passed; the same bits", told, re.MULTILINE) == HERE
    told = checked(
        built / "example", library.out / "net.weights", library.out / "selftest/input0.f32"
    )
    scores = np.fromfile(library.out / f"selftest/output0.{HERE[0]}.f32", np.float32)
    best = scores.argmax()
    assert told.startswith(f"{HERE[0]}: number {best} of 5 is the largest, ")
    assert math.isclose(float(told.split()[-1]), scores[best], rel_tol=1e-4)


def test_the_self_test_sees_other_bits(library, built, tmp_path):
    folder = shutil.copytree(library.out / "selftest", tmp_path / "selftest")
    file = folder / f"output0.{HERE[-1]}.f32"
    scores = np.fromfile(file, np.float32)
    np.nextafter(scores, np.float32(9)).tofile(file)
    with pytest.raises(AssertionError, match="other bits than where the library was exported"):
        checked(built / "selftest", library.out / "net.weights", folder)
    file.unlink()
    checked(built / "selftest", library.out / "net.weights", folder)
    (np.fromfile(folder / "output0.f32", np.float32) * 1.01).tofile(folder / "output0.f32")
    with pytest.raises(AssertionError, match="too far from PyTorch's"):
        checked(built / "selftest", library.out / "net.weights", folder)


def test_the_library_needs_the_c_library_only_and_shows_its_own_names(library):
    need("ldd", "libc-bin")
    needed = re.findall(r"^\s*(\S+?)\.so", checked("ldd", library.out / "libnet.so"), re.MULTILINE)
    assert {Path(one).name for one in needed} <= {
        "linux-vdso",
        "libc",
        "libm",
        "ld-linux-x86-64",
        "ld-linux-aarch64",
    }
    need("nm", "binutils")
    shown = checked("nm", "-D", "--defined-only", library.out / "libnet.so").split("\n")
    names = {line.split()[2] for line in shown if " T " in line}
    assert names
    assert all(re.fullmatch(r"net_\w+@@NET_1", name) for name in names)
    assert library.code_bytes < 1e6


def test_valgrind_finds_nothing(library, built):
    need("valgrind", "valgrind")
    told = checked(
        "valgrind", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=all",
        built / "selftest", library.out / "net.weights", library.out / "selftest",
    )  # fmt: skip
    assert "passed; the same bits" in told
    assert "avx512       not for this processor" in told or "avx512" not in HERE


def test_the_header_is_for_c99_and_c_plus_plus(library, tmp_path):
    for language, compiler in (("c", CC), ("c++", "g++")):
        if shutil.which(compiler):
            strict = ("-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror")
            standard = f"-std={language}{99 if language == 'c' else 11}"
            checked(
                compiler, "-x", language, standard, *strict, "-fsyntax-only",
                library.out / "net.h", folder=tmp_path,
            )  # fmt: skip
    example = library.out / "example.c"
    checked(CC, "-std=c99", "-pedantic", *STRICT[1:4], "-c", example, "-o", tmp_path / "example.o")
    assert len(example.read_text().splitlines()) <= 40


def test_pkg_config_knows_it(library, tmp_path):
    need("pkg-config", "pkg-config")
    found = checked(
        "env", f"PKG_CONFIG_PATH={library.out}", "pkg-config", "--cflags", "--libs", "net"
    )
    where = f"-Wl,-rpath,{library.out}"
    checked(CC, library.out / "example.c", *found.split(), where, "-o", tmp_path / "example")
    checked(tmp_path / "example", library.out / "net.weights", library.out / "selftest/input0.f32")


def test_what_is_refused_in_c(library, tmp_path):
    """Each error code, two opens, forks: `errors.c`, under the sanitizers."""
    foreign = write_library(small_plan(batch=2, name="other"), tmp_path / "other").out
    flags = (*STRICT, f"-I{library.out}", f"-Wl,-rpath,{library.out}", *SANITIZE)
    program, library_file = tmp_path / "errors", library.out / "libnet.so"
    checked(CC, *flags, BESIDE / "errors.c", library_file, "-o", program)
    told = checked(
        program, library.out / "net.weights", foreign / "other.weights", tmp_path / "broken"
    )
    assert told == "all as it should be\n"


def test_damaged_weights_are_refused(tmp_path):
    """A few hundred of what `benchmarks/native_damage.py` does 10,000 times."""
    build_damage(tmp_path)
    told = checked("./damage", "net.weights", "broken", "400", "1", folder=tmp_path)
    refused, harmless = map(int, re.findall(r"\d+", told))
    assert refused > 350
    assert refused + harmless == 400


def build_damage(folder):
    """Compile `damage.c` with the runtime, under the sanitizers."""
    parts = Parts.of(small_plan())
    objects = parts.write(folder)
    (folder / "net.weights").write_bytes(parts.weights)
    checked(
        CC, *STRICT, "-I.", *SANITIZE, BESIDE / "damage.c", *objects, "-o", "damage", folder=folder
    )


def test_weights_inside_the_library(library, tmp_path):
    embedded = write_library(small_plan(HERE, batches=(1, 2, 3), embed=True), tmp_path / "net")
    assert not (embedded.out / "net.weights").exists()
    assert embedded.weights_bytes == library.weights_bytes
    assert embedded.code_bytes < 1e6
    x = images().numpy()
    with onebyone.open_native(library.out) as one, onebyone.open_native(embedded.out) as other:
        np.testing.assert_array_equal(one(x)[0], other(x)[0])


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="about processors of x86_64")
def test_the_processor_is_asked_what_linux_tells(tmp_path):
    (tmp_path / "features.c").write_text(
        "#define _GNU_SOURCE\n#include <stdio.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n"
        f'#include "{SOURCES / "processor.h"}"\n'
        'int main(void) { printf("%u", processor_features()); return can_run(1 << 30); }\n'
    )
    checked(CC, *STRICT, "-Wno-unused-function", "features.c", "-o", "features", folder=tmp_path)
    found = int(checked(tmp_path / "features"))
    (features,) = re.findall(
        r"enum {\n    AVX2.*?}", (SOURCES / "processor.h").read_text(), re.DOTALL
    )
    bits = re.findall(r"(\w+) = 1 << (\d+)", features)
    told = {name.lower() for name, place in bits if found >> int(place) & 1}
    known = {name.lower() for name, _ in bits}
    assert set().union(*(target.needs for target in TARGETS.values())) <= known
    assert told == known & this_processor().features


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="about processors of x86_64")
def test_a_processor_that_is_too_old_gets_an_error_and_no_signal(tmp_path):
    need("qemu-x86_64", "qemu-user")
    for targets, wanted in ((["avx2"], "this processor cannot run"), (["avx2", "baseline"], "")):
        folder = write_library(small_plan(targets), tmp_path / "net").out
        program = tmp_path / "example"
        where = f"-Wl,-rpath,{folder}"
        checked(CC, f"-I{folder}", folder / "example.c", folder / "libnet.so", where, "-o", program)
        command = ("qemu-x86_64", "-cpu", "Nehalem", program, folder / "net.weights")
        if wanted:
            with pytest.raises(AssertionError, match=f"ended with 1: net: {wanted}"):
                checked(*command, folder / "selftest/input0.f32")
        else:
            assert checked(*command, folder / "selftest/input0.f32").startswith("baseline: ")


@pytest.mark.skipif(bool(missing_for_aarch64()), reason=missing_for_aarch64())
def test_a_library_for_aarch64_runs_in_an_emulator(tmp_path):
    found = write_library(small_plan(["neon"], batches=(1, 3)), tmp_path / "net")
    assert (found.tried == ()) == (os.uname().machine != "aarch64")
    folder = found.out
    test = folder / "selftest/selftest.c"
    flags = (*STRICT, "-static", f"-I{folder}")
    checked(COMPILER, *flags, test, folder / "libnet.a", "-lm", "-o", tmp_path / "selftest")
    told = checked(EMULATOR, tmp_path / "selftest", folder / "net.weights", folder / "selftest")
    assert re.match(r"neon +passed; ", told)
    checked(
        COMPILER, *STRICT, f"-I{folder}", folder / "example.c", folder / "libnet.so",
        f"-Wl,-rpath,{folder}", "-o", tmp_path / "example",
    )  # fmt: skip
    libraries = Path(checked(COMPILER, "-print-file-name=libc.so.6").strip()).resolve().parents[1]
    command = (EMULATOR, "-L", libraries, tmp_path / "example")
    told = checked(*command, folder / "net.weights", folder / "selftest/input0.f32")
    assert told.startswith("neon: ")


def test_a_network_of_the_zoo(tmp_path):
    """The way of a user: compile, export, run."""
    network = create_model("mobilenet_v2")
    randomize(network, 32)
    x = torch.randn(1, 3, 32, 32)
    compiled = onebyone.compile(network, x, threads=2)
    found = compiled.export(tmp_path / "mobile")
    assert found.code_bytes < 1e6
    assert found.tried == (compiled.target.name,)
    for threads in (1, 2):
        with onebyone.open_native(found.out, threads=threads) as native:
            np.testing.assert_array_equal(native(x.numpy()), compiled(x))
    network.classifier.weight.data.mul_(2)
    with pytest.raises(ModelError, match="compile the network again"):
        compiled.export(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_cannot_be_a_library_is_refused(tmp_path):
    x = images()

    def plan(network, *names, name="net"):
        return plan_library(
            capture(network.eval(), (x,)), [TARGETS[one] for one in names or ["avx2"]], name=name
        )

    class Cumulative(nn.Module):
        def forward(self, x):
            return x.relu().cumsum(1)

    class Writing(nn.Module):
        def forward(self, x):
            return x.mul_(2) + 1

    with pytest.raises(CompileError, match=r"no native code: aten\.cumsum\.default"):
        plan(Cumulative())
    with pytest.raises(CompileError, match="writes into its inputs"):
        plan(Writing())
    with pytest.raises(CompileError, match="gives back its input"):
        plan(nn.Identity())
    with pytest.raises(CompileError, match="for one architecture"):
        plan(nn.Conv2d(3, 4, 1), "avx2", "neon")
    for name in ("Net", "2d", "a-b", "", "int", "m", "x" * 64):
        with pytest.raises(UnknownNameError, match="`name`"):
            plan(nn.Conv2d(3, 4, 1), name=name)
    with pytest.raises(CompileError, match="no program 'no-such-cc'"):
        write_library(small_plan(), tmp_path / "net", cc="no-such-cc")
    with pytest.raises(CompileError, match="false ended with status 1"):
        write_library(small_plan(), tmp_path / "net", cc="false")
    assert not list(tmp_path.iterdir())


def test_a_library_that_gives_something_else_is_not_written(tmp_path):
    plan = small_plan()
    other = capture(small_network().apply(_halve), (images(),)).graph
    with pytest.raises(ModelError, match="something else than the network"):
        write_library(replace(plan, graph=other), tmp_path / "net")
    assert not list(tmp_path.iterdir())


def _halve(module):
    if isinstance(module, nn.Linear):
        module.weight.data.mul_(0.5)


def test_only_what_an_export_wrote_is_replaced(tmp_path):
    folder = write_library(small_plan(), tmp_path / "net").out
    before = (folder / "net.weights").stat().st_ino
    write_library(small_plan(), folder)
    assert (folder / "net.weights").stat().st_ino != before
    (folder / "mine.txt").write_text("keep")
    (folder / "mine.h").write_text("keep")
    with pytest.raises(ModelError, match="has other files, such as mine.h"):
        write_library(small_plan(), folder)
    assert (folder / "mine.txt").read_text() == "keep"
    assert [one.name for one in tmp_path.iterdir()] == ["net"]


@pytest.mark.parametrize(
    "text", ["timm:MobileNetV3_large.075", "2-nets", "int", "m", "", "ß", "a" * 90, "runs/x.y"]
)
def test_every_name_becomes_one_that_c_takes(text):
    assert check_name(name_for(text)) == name_for(name_for(text))


def test_a_plan_shows_targets_and_tensors():
    shown = str(small_plan(HERE))
    assert "library net for" in shown
    assert "1 image at once, in calls of any size" in shown
    assert "reads input 1x3x18x14; gives head 1x5, " in shown
    assert all(re.search(rf"^{name} +\d+ ", shown, re.MULTILINE) for name in HERE)
