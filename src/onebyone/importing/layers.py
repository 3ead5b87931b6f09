"""Layers with weights, as PyTorch's own modules.

onnx2fx makes functions of them, whose weights are buffers. As modules they can be told apart and be
narrowed, and their weights are parameters. What is no ordinary layer is left to onnx2fx.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from math import inf
from threading import Lock
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

Pads = tuple[int, ...]
"""As `F.pad` has them: before and behind, the last dimension first."""


_ONE_AT_A_TIME = Lock()
"""What onnx2fx makes of operators is written down once for the process."""


@dataclass(slots=True)
class Layers:
    """The modules that a file's layers became.

    Attributes:
        nodes: The file's node of each module, by the name that onnx2fx has for the module.
    """

    nodes: dict[str, Any] = field(default_factory=dict)
    _twins: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def add(self, builder: Any, node: Any, make: Callable[[], nn.Module]) -> str:
        """Return the name of the module of a layer; weights that two layers share are one module's.

        Args:
            builder: onnx2fx's, which keeps the module.
            node: The file's.
            make: Makes the module.
        """
        settings = sorted(attribute.SerializeToString() for attribute in node.attribute)
        key = (node.op_type, *node.input[1:], *settings)
        if key not in self._twins:
            name = builder.register_submodule(f"layer_{len(self.nodes)}", make())
            self._twins[key] = name
            self.nodes[name] = node
        return self._twins[key]


@contextmanager
def layers_as_modules() -> Generator[Layers]:
    """Let onnx2fx make modules of layers, and give what became of which.

    Side effects:
        Until the end, onnx2fx converts these operators so for everybody in the process.
    """
    registry: Any = import_module("onnx2fx.op_registry")
    layers = Layers()
    with _ONE_AT_A_TIME, registry.registry_context():
        for operator, versions in _VERSIONS.items():
            for version in versions:
                ordinary = registry.get_handler(operator, "", version)
                convert = partial(_convert, layers, operator, ordinary)
                registry.register(operator, since_version=version)(convert)
        yield layers


def _convert(layers: Layers, operator: str, ordinary: Any, builder: Any, node: Any) -> fx.Node:
    """Return what stands for a layer: a module, if it can be one, or what onnx2fx makes of it."""
    found = _CONVERTERS[operator](_Layer(layers, builder, node))
    return ordinary(builder, node) if found is None else found


@dataclass(frozen=True, slots=True)
class _Layer:
    """A node of the file, and all that converting it needs."""

    layers: Layers
    builder: Any
    node: Any

    @property
    def given(self) -> Mapping[str, Any]:
        """The node's settings, by name."""
        from onnx.helper import get_attribute_value

        return {one.name: get_attribute_value(one) for one in self.node.attribute}

    def tensors(self, start: int = 1) -> list[Tensor | None] | None:
        """Return the inputs from `start` on if they are weights in float32; None where left out."""
        known = self.builder.initializer_map
        names = list(self.node.input)[start:]
        if any(name and name not in known for name in names):
            return None
        found = [known[name] if name else None for name in names]
        is_float = all(one is None or one.dtype == torch.float32 for one in found)
        return found if is_float else None

    def sides(self) -> tuple[int, ...] | None:
        """Return the sizes of the input behind batch and channels, if they are known."""
        shape, _ = self.builder.value_info_map.get(self.node.input[0], (None, None))
        return None if shape is None or None in shape[2:] else tuple(shape[2:])

    def read(self) -> fx.Node:
        """Return what stands for the first input."""
        return self.builder.get_value(self.node.input[0])

    def call(self, make: Callable[[], nn.Module], value: fx.Node | None = None) -> fx.Node:
        """Call the layer's module on its input, or on another value."""
        name = self.layers.add(self.builder, self.node, make)
        return self.builder.call_module(name, args=(self.read() if value is None else value,))

    def padded(self, value: fx.Node, pads: Pads) -> fx.Node:
        """Pad a value with zeros."""
        return self.builder.call_function(F.pad, args=(value, pads)) if any(pads) else value


def _convolution(layer: _Layer) -> fx.Node | None:
    found, given = layer.tensors(), layer.given
    if found is None or found[0] is None or found[0].dim() != 4:
        return None
    weight, bias = found[0], _at(found, 1)
    kernel = tuple(weight.shape[2:])
    stride, dilation = _both(given.get("strides")), _both(given.get("dilations"))
    pads = _pads(layer, kernel, stride, dilation)
    if pads is None:
        return None
    left, right, top, bottom = pads
    even = (left, top) == (right, bottom)
    groups = given.get("group", 1)

    def make() -> nn.Module:
        module = nn.Conv2d(
            weight.shape[1] * groups,
            weight.shape[0],
            kernel,  # pyright: ignore[reportArgumentType]
            stride,
            (top, left) if even else 0,
            dilation,
            groups,
            bias=bias is not None,
            device="meta",
        )
        return _with_weights(module, weight, bias)

    value = layer.read()
    return layer.call(make, value if even else layer.padded(value, pads))


def _transposed(layer: _Layer) -> fx.Node | None:
    found, given = layer.tensors(), layer.given
    if found is None or found[0] is None or found[0].dim() != 4:
        return None
    if given.get("auto_pad", b"NOTSET") != b"NOTSET" or "output_shape" in given:
        return None
    weight, bias = found[0], _at(found, 1)
    top, left, bottom, right = given.get("pads") or (0, 0, 0, 0)
    if (top, left) != (bottom, right):
        return None
    groups = given.get("group", 1)

    def make() -> nn.Module:
        module = nn.ConvTranspose2d(
            weight.shape[0],
            weight.shape[1] * groups,
            tuple(weight.shape[2:]),  # pyright: ignore[reportArgumentType]
            _both(given.get("strides")),
            (top, left),
            _both(given.get("output_padding"), 0),
            groups,
            bias=bias is not None,
            dilation=_both(given.get("dilations")),
            device="meta",
        )
        return _with_weights(module, weight, bias)

    return layer.call(make)


def _gemm(layer: _Layer) -> fx.Node | None:
    found, given = layer.tensors(), layer.given
    if found is None or found[0] is None or given.get("transA", 0):
        return None
    weight, bias = found[0], _at(found, 1)
    weight = weight if given.get("transB", 0) else weight.t()
    weight = weight * given.get("alpha", 1.0)
    if bias is not None:
        if bias.numel() not in (1, len(weight)):
            return None
        bias = (bias.reshape(-1) * given.get("beta", 1.0)).expand(len(weight))
    return layer.call(lambda: _linear(weight, bias))


def _matrix_product(layer: _Layer) -> fx.Node | None:
    found = layer.tensors()
    if found is None or found[0] is None or found[0].dim() != 2:
        return None
    weight = found[0].t()
    return layer.call(lambda: _linear(weight, None))


def _batch_norm(layer: _Layer) -> fx.Node | None:
    found, given = layer.tensors(), layer.given
    shape, _ = layer.builder.value_info_map.get(layer.node.input[0], (None, None))
    if found is None or given.get("training_mode", 0) or shape is None or len(shape) != 4:
        return None
    scale, shift, mean, var = found
    if scale is None or shift is None or mean is None or var is None:
        return None

    def make() -> nn.Module:
        norm = nn.BatchNorm2d(len(scale), eps=given.get("epsilon", 1e-5), device="meta")
        norm.running_mean, norm.running_var = mean.clone(), var.clone()
        norm.num_batches_tracked = torch.tensor(0)
        return _with_weights(norm, scale, shift)

    return layer.call(make)


def _clip(layer: _Layer) -> fx.Node | None:
    """Clip with bounds that are known, which are numbers and not tensors then."""
    found, given = layer.tensors(), layer.given
    if found is None:
        return None
    low, high = (
        given.get(word, default) if (bound := _at(found, index)) is None else float(bound)
        for index, (word, default) in enumerate((("min", -inf), ("max", inf)))
    )
    if (low, high) == (0, 6):
        return layer.builder.call_function(F.relu6, args=(layer.read(),))
    return layer.builder.call_function(torch.clamp, args=(layer.read(), low, high))


_CONVERTERS: Mapping[str, Callable[[_Layer], fx.Node | None]] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "Gemm": _gemm,
    "MatMul": _matrix_product,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
}

# The versions from which on onnx2fx converts an operator in another way.
_VERSIONS = {operator: (1, 11) if operator == "Clip" else (1,) for operator in _CONVERTERS}


def _pads(
    layer: _Layer, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Pads | None:
    """Return the padding of a convolution; None if it depends on sizes that are not known."""
    given = layer.given
    rule = given.get("auto_pad", b"NOTSET").decode()
    if rule == "NOTSET":
        top, left, bottom, right = given.get("pads") or (0, 0, 0, 0)
        return (left, right, top, bottom)
    if rule == "VALID":
        return (0, 0, 0, 0)
    sides = layer.sides()
    if sides is None:
        return None
    pads: list[int] = []
    for side, size, step, spread in zip(sides, kernel, stride, dilation, strict=True):
        missing = max(0, (-(-side // step) - 1) * step + (size - 1) * spread + 1 - side)
        fewer, more = missing // 2, missing - missing // 2
        pads = [*((fewer, more) if rule == "SAME_UPPER" else (more, fewer)), *pads]
    return tuple(pads)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Module:
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    return _with_weights(module, weight, bias)


def _with_weights(module: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    module.weight = nn.Parameter(weight.clone(memory_format=torch.contiguous_format))
    if bias is not None:
        module.bias = nn.Parameter(bias.clone(memory_format=torch.contiguous_format))
    return module


def _at(values: Sequence[Tensor | None], index: int) -> Tensor | None:
    return values[index] if index < len(values) else None


def _both(values: Sequence[int] | None, default: int = 1) -> tuple[int, int]:
    """Return a setting of two dimensions, which is left out where it is the default."""
    first, second = values or (default, default)
    return (first, second)
