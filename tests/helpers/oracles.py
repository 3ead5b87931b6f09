"""timm and torchvision, the independent oracles.

torchvision's ordinary wheel carries compiled operators for a CUDA build of torch. Beside a CPU
build they do not load, and its import stops at operators that classifiers never use. Where that
happens, those operators are given a name, and no meaning, here and nowhere else.
"""

import importlib
import sys

import torch

_OPERATORS = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def _import_torchvision():
    try:
        return importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in _OPERATORS:
            _LIBRARY.define(operator + _SIGNATURE)
        return importlib.import_module("torchvision")


_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")

torchvision = _import_torchvision()
timm = importlib.import_module("timm")
