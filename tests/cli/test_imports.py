"""What each command loads, and what it does without."""

import json
import subprocess
import sys

import pytest

from onebyone.models import ZOO
from onebyone.models.reference import ZOO_NAMES
from tests.helpers.photos import COFFEE

HEAVY = {
    "huggingface_hub",
    "llvmlite",
    "onnx",
    "onnx2fx",
    "onnxruntime",
    "onnxscript",
    "openvino",
    "pyarrow",
    "ray",
    "timm",
    "torch",
    "torchvision",
}

SCRIPT = f"""
import json, sys
from onebyone.cli import main
try:
    main()
except SystemExit as end:
    loaded = [name for name in {sorted(HEAVY)} if name in sys.modules]
    print(json.dumps([end.code, loaded]), file=sys.stderr)
"""
NOTHING = set()

# What a command may load of the heavy packages, and how it ends.
ALLOWED = {
    "": (NOTHING, 0),
    "--help": (NOTHING, 0),
    "--version": (NOTHING, 0),
    "models --help": (NOTHING, 0),
    "predict --help": (NOTHING, 0),
    "bench --help": (NOTHING, 0),
    "demo --help": (NOTHING, 0),
    "explain --help": (NOTHING, 0),
    "explain resnet52": (NOTHING, 2),
    "explain resnet50 --images nowhere": (NOTHING, 2),
    "explain resnet50 --images tests": (NOTHING, 2),
    "explain resnet50 --input 3by224": (NOTHING, 2),
    "explain resnet50 --html nowhere/page.html": (NOTHING, 2),
    "explain nin_cifar10": ({"torch"}, 0),
    "train --help": (NOTHING, 0),
    "train": (NOTHING, 2),
    "train resnet52 --out no": (NOTHING, 2),
    "train --evaluate no.safetensors": (NOTHING, 2),
    "train --out no --recipe none": (NOTHING, 2),
    "study --help": (NOTHING, 0),
    "study --list": (NOTHING, 0),
    "study": (NOTHING, 2),
    "study botleneck": (NOTHING, 2),
    "cache": (NOTHING, 0),
    "cache clear": (NOTHING, 0),
    "cache burn": (NOTHING, 2),
    "forecast": (NOTHING, 2),
    "predict resnet52 PHOTO": (NOTHING, 2),
    "predict network.onnx PHOTO": (NOTHING, 2),
    "explain network.onnx:wide": (NOTHING, 2),
    "predict no.py:make PHOTO": (NOTHING, 2),
    "predict resnet50 no.jpg": (NOTHING, 2),
    "predict resnet50 PHOTO --top 0": (NOTHING, 2),
    "predict resnet50 PHOTO --engine none": (NOTHING, 2),
    "predict resnet50 tests": (NOTHING, 2),
    "predict resnet50 PHOTO --ray": (NOTHING, 2),
    "predict resnet50 src/onebyone/cli --out no.parquet": (NOTHING, 2),
    "predict resnet50 nowhere --out no.parquet": (NOTHING, 2),
    "predict resnet50 PHOTO --out no.csv": (NOTHING, 2),
    "bench resnet52": (NOTHING, 2),
    "bench resnet50 --threads 0": (NOTHING, 2),
    "bench resnet50 --numerics fp16": (NOTHING, 2),
    "models": ({"torch", "huggingface_hub"}, 0),
    "predict efficientnet_lite0 PHOTO --engine torch": ({"torch"}, 0),
    "predict efficientnet_lite0 PHOTO": ({"torch", "llvmlite"}, 0),
    "predict timm:resnet10 PHOTO": ({"torch", "timm", "torchvision", "huggingface_hub"}, 2),
    "bench nin_cifar10 --against eager --rounds 1": ({"torch", "llvmlite"}, 0),
    "bench resnet18 --against none": ({"torch"}, 2),
}


@pytest.mark.parametrize("command", ALLOWED)
def test_a_command_loads_what_it_needs(command):
    arguments = [str(COFFEE) if word == "PHOTO" else word for word in command.split()]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True
    )
    status, loaded = json.loads(done.stderr.splitlines()[-1])
    allowed, wanted = ALLOWED[command]
    assert status == wanted, done.stderr
    assert set(loaded) <= allowed


def test_the_names_that_are_known_before_torch_is_loaded_are_the_zoos():
    assert tuple(ZOO) == ZOO_NAMES
