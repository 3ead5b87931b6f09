"""Build the wheel and the sdist, and try the wheel where nothing else is installed.

    .venv/bin/python .ci/package.py

Nothing is downloaded: packages that .venv has are linked into the fresh environment, those that the
wheel asks for and no others, and pip checks that it asks for nothing else.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.helpers.light import CORE, needed_by, requirements_of  # noqa: E402

TRY = """
import sys, torch, onebyone as obo
from onebyone.models.samples import SAMPLE_PHOTOS
assert "site-packages" in obo.__file__, obo.__file__
network = obo.create_model("nin_cifar10")
x = torch.randn(1, 3, 32, 32)
with torch.inference_mode():
    compiled = obo.compile(network, x, strict=True)
    torch.testing.assert_close(compiled(x), network(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.compile(network, backend="onebyone")(x), network(x))
    obo.save(network, "network.safetensors")
    assert torch.equal(obo.load("network.safetensors")(x), network(x))
assert len(SAMPLE_PHOTOS) == 6 and all(photo.is_file() for photo in SAMPLE_PHOTOS)
assert not {"PIL", "rich", "typer", "pydantic"} & set(sys.modules)
"""
NEEDS_CLI = (
    "onebyone: the command `onebyone` needs typer and rich, which are not installed; "
    "pip install 'onebyone[cli]'\n"
)


def build(folder: Path) -> tuple[Path, Path]:
    """Return a wheel and an sdist of this tree."""
    run(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def build_from(sdist: Path, folder: Path) -> Path:
    """Return the wheel that pip makes of an sdist."""
    pip("wheel", "--no-index", "--no-deps", "--no-build-isolation", "-w", folder, sdist)
    (wheel,) = folder.glob("*.whl")
    return wheel


def content(wheel: Path) -> dict[str, int]:
    """Return the files of a wheel, with their checksums."""
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.CRC for info in archive.infolist()}


def make_environment(folder: Path) -> Path:
    """Return the interpreter of a fresh environment with nothing in it, not even pip."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    return folder / "bin" / "python"


def link(names: Iterable[str], python: Path) -> None:
    """Let an environment have distributions that this one has."""
    site = site_of(python)
    for name in names:
        distribution = metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
        for top in tops:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))))


def site_of(python: Path) -> Path:
    """Return the folder of an environment that packages lie in."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return python.parents[1] / "lib" / version / "site-packages"


def pip(*words: object) -> None:
    """Run this environment's pip."""
    run(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words)


def run(*words: object, cwd: Path | None = None) -> str:
    """Run a program, and return what it printed; end, with all that it said, if it fails."""
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode:
        sys.exit(f"{words[0]} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def check(is_right: bool, wanted: str) -> None:
    """End if something is not as it should be."""
    if not is_right:
        sys.exit(f".ci/package.py: {wanted}")


def main() -> None:
    """Build, compare, install and try."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["ONEBYONE_CACHE_DIR"] = str(folder / "cache")
        os.environ.pop("PYTHONPATH", None)
        wheel, sdist = build(folder / "dist")
        same = content(wheel) == content(build_from(sdist, folder / "again"))
        check(same, "the sdist was to give the same wheel")

        python = make_environment(folder / "light")
        link(needed_by(CORE), python)
        pip("--python", python, "install", "--no-index", wheel)
        run(python, "-c", TRY, cwd=folder)
        program = python.with_name("onebyone")
        done = subprocess.run([program], capture_output=True, text=True, check=False, cwd=folder)
        ended = done.returncode, done.stdout, done.stderr
        check(ended == (2, "", NEEDS_CLI), f"one line and status 2 were wanted, and came {ended}")

        link(needed_by(requirements_of("full")), python)
        pip("--python", python, "install", "--no-index", f"onebyone[full] @ file://{wheel}")
        photo = site_of(python) / "onebyone" / "models" / "sample_photos" / "coffee.jpg"
        seen = run(program, "predict", "efficientnet_lite0", photo, cwd=folder)
        check("espresso 967" in seen, f"a coffee was to be seen, and seen was\n{seen}")
    sizes = f"{wheel.name}, {sdist.name}"
    print(f"{sizes}: built, installed and tried")  # noqa: T201


if __name__ == "__main__":
    main()
