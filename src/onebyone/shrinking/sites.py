"""Which layers of a network may be changed, and why others may not."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from math import prod

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from onebyone.graph import Convolution, Graph, Pair, Shape

LAYERS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)
"""Layers that have multiply-adds."""

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Where PyTorch keeps what users hang on a module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A convolution, as it runs in the network.

    Attributes:
        path: Where it is.
        in_channels: Channels that it reads.
        out_channels: Channels that it gives.
        kernel_size: Height and width of its kernel.
        stride: Rows and columns from one window to the next.
        padding: Rows and columns of zeros on each side.
        dilation: Rows and columns from one weight to the next.
        groups: Into how many groups its channels are divided.
        has_bias: Whether it adds a constant to each channel.
        in_shape: `(N, C, H, W)` of what it reads.
        out_shape: Of what it gives.
    """

    path: str
    in_channels: int
    out_channels: int
    kernel_size: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int = 1
    has_bias: bool = True
    in_shape: Shape
    out_shape: Shape

    @property
    def macs(self) -> int:
        """Multiply-adds for one image."""
        weights = self.in_channels // self.groups * prod(self.kernel_size)
        return self.out_channels * prod(self.out_shape[2:]) * weights


class Layers:
    """A network's modules beside the nodes of its graph that they are.

    Args:
        network: The user's, or a copy.
        graph: Of it, sharing its tensors.
    """

    def __init__(self, network: nn.Module, graph: Graph) -> None:
        self.graph = graph
        self.modules = dict(network.named_modules(remove_duplicate=False))
        self._ids = Counter(id(module) for module in self.modules.values())
        self._weights = Counter(
            _memory_of(module.weight) for module in network.modules() if isinstance(module, LAYERS)
        )
        self.calls: dict[str, list[Convolution]] = {}
        for node in graph:
            if isinstance(node, Convolution):
                self.calls.setdefault(node.path, []).append(node)

    def conv(self, node: Convolution) -> nn.Conv2d | None:
        """Return the module that is all that a node is, if there is one."""
        conv = self.modules.get(node.path)
        if not isinstance(conv, nn.Conv2d):
            return None
        return conv if _memory_of(conv.weight) == _memory_of(node.weight) else None

    def has_hooks(self, path: str) -> bool:
        """Whether a user listens to a module, or changes what it does."""
        module = self.modules[path]
        return any(getattr(module, kind) for kind in HOOKS)

    def why_not_changed(self, path: str) -> str:
        """Return why no other layer may come in a layer's place; "" if one may."""
        module = self.modules[path]
        calls = self.calls.get(path, [])
        if self._ids[id(module)] > 1:
            return "the network holds it under two names"
        if is_parametrized(module) or hasattr(module, "weight_g"):
            return "its weights are computed from others (parametrised)"
        if self.has_hooks(path):
            return "it has hooks"
        if not calls:
            return "the example does not run it as a convolution of its weights"
        if len(calls) > 1:
            return "it runs more than once"
        if self.conv(calls[0]) is None:
            return "its weights are changed before they are used"
        if self._weights[_memory_of(calls[0].weight)] > 1:
            return "it shares its weights with another layer"
        return ""

    def why_no_site(self, path: str) -> str:
        """Return why a layer cannot be factorised or narrowed by itself; "" if it can."""
        module = self.modules[path]
        if isinstance(module, nn.Linear):
            return "linear layers are left"
        if not isinstance(module, nn.Conv2d):
            return "only 2-d convolutions are changed"
        if why := self.why_not_changed(path):
            return why
        if module.groups > 1:
            is_depthwise = module.groups == module.in_channels
            return "a depthwise layer" if is_depthwise else "its channels are in groups"
        if module.padding_mode != "zeros":
            return f"it pads by {module.padding_mode}"
        (node,) = self.calls[path]
        top, bottom, left, right = node.padding
        if (top, left) != (bottom, right) or (top, left) != module.padding:
            return "it pads in a way of its own"
        if any(before.path == path for before in map(self.graph.__getitem__, node.inputs)):
            return "it does more than to convolve"
        return ""

    def site(self, path: str) -> Site:
        """Return a layer that runs once, as it runs."""
        (node,) = self.calls[path]
        top, _, left, _ = node.padding
        return Site(
            path=path,
            in_channels=node.weight.shape[1] * node.groups,
            out_channels=node.weight.shape[0],
            kernel_size=node.kernel_size,
            stride=node.stride,
            padding=(top, left),
            dilation=node.dilation,
            groups=node.groups,
            has_bias=node.bias is not None,
            in_shape=self.graph[node.inputs[0]].shape,
            out_shape=node.shape,
        )


def read_sites(layers: Layers, keep: Collection[str]) -> tuple[list[Site], dict[str, str]]:
    """Return the layers that may be changed, in the order in which they run, and why others not."""
    left_alone: dict[str, str] = {}
    sites: dict[str, Site] = {}
    for path in _candidates(layers.modules):
        why = "to be kept" if path in keep else layers.why_no_site(path)
        if why:
            left_alone[path] = why
        else:
            sites[path] = layers.site(path)
    return [sites[path] for path in layers.calls if path in sites], left_alone


def _candidates(modules: Mapping[str, nn.Module]) -> Iterator[str]:
    return (path for path, one in modules.items() if isinstance(one, LAYERS))


def _memory_of(tensor: Tensor) -> int:
    """Return what tells one tensor's memory from another's; on the meta device as well."""
    return tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]
